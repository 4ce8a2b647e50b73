"""README's promises that a machine can check: its commands are what CI runs, and what it points to is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"```sh\n(.*?)```", re.S)


def test_ci_runs_readmes_test_command():
    marked = README.split("<!-- test command -->")[1].split("<!-- end of test command -->")[0]
    (command,) = FENCE.findall(marked)
    printed = subprocess.run([ROOT / ".ci" / "run", "--print"], capture_output=True, text=True, timeout=30, check=True)
    assert printed.stdout == command
    assert "pytest" in command and command.count("\n") == 1


def test_the_first_command_is_one_line_that_installs_and_generates():
    command = FENCE.findall(README)[0]
    assert command.count("\n") == 1
    assert "-c constraints.txt" in command and "dreamlift generate" in command


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_every_link_to_a_file_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
    missing = [t for t in targets if "://" not in t and not (ROOT / page).parent.joinpath(t).exists()]
    assert not missing, f"{page} points to {missing}"


def test_constraints_pin_every_dependency_and_no_torchvision():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in wanted}
    assert not names - pinned.keys(), f"constraints.txt does not pin {names - pinned.keys()}"
    assert "torchvision" not in pinned


def test_readme_names_what_the_embedded_model_was_trained_on():
    from dreamlift.training.objects import CLASSES, COLOURS, PATTERNS

    for row, words in (("objects", CLASSES), ("colours", COLOURS), ("patterns, on some of them", PATTERNS)):
        assert f"| {row} | {', '.join(words)} |" in README


def test_the_documentations_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert not {page for page in pages if f"({page})" not in index}
