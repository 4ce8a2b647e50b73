"""docs/architecture.md names every file of backend/, protocol/ and blender_addon/ once, and none that is gone."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/architecture.md"
SECTION = "## Every file"
FOLDERS = ("backend", "protocol", "blender_addon")


def named(page: str) -> Counter[str]:
    """How often each path is named in the section: its own line with some words, below its folder's heading."""
    section = page.split(f"\n{SECTION}\n", 1)[1].split("\n## ", 1)[0]
    found: Counter[str] = Counter()
    folder = ""
    for line in section.splitlines():
        if heading := re.fullmatch(r"### `(\S+/)`", line):
            folder = heading[1]
        elif entry := re.fullmatch(r"- `(\w+\.py)`: \S.*", line):
            found[folder + entry[1]] += 1
    return found


def existing() -> set[str]:
    """Every Python file of ours; an `__init__.py` only re-exports and is not named."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "__init__.py"
    }


def problems(page: str, files: set[str]) -> list[str]:
    """What somebody has to do to the page, one sentence each."""
    names = named(page)
    found = []
    for path in sorted(files - names.keys()):
        folder, _, name = path.rpartition("/")
        line = f"- `{name}`: what it is for, in a few words"
        found.append(f"{path} is not named: add the line '{line}' below '### `{folder}/`' (in alphabetical order).")
    found += [f"{path} does not exist: take its line away, or rename it." for path in sorted(names.keys() - files)]
    found += [f"{path} is named {count} times: keep one line." for path, count in names.items() if count > 1]
    return found


def test_every_file_is_named_once():
    wrong = problems((ROOT / PAGE).read_text(encoding="utf-8"), existing())
    assert not wrong, f"{PAGE}, section '{SECTION}':\n" + "\n".join(wrong)


def test_the_lists_are_in_alphabetical_order():
    names = list(named((ROOT / PAGE).read_text(encoding="utf-8")))
    for folder in {name.rpartition("/")[0] for name in names}:
        of_folder = [name for name in names if name.rpartition("/")[0] == folder]
        assert of_folder == sorted(of_folder), f"{PAGE}, '### `{folder}/`' is not in alphabetical order"


def test_a_missing_a_gone_and_a_doubled_file_are_found():
    lines = ("- `a.py`: one", "- `a.py`: again", "- `gone.py`: was", "- `empty.py`:")
    page = "\n".join(("", SECTION, "", "### `backend/x/`", "", *lines, "", "## Next", ""))
    said = "\n".join(problems(page, {"backend/x/a.py", "backend/x/new.py", "backend/x/empty.py"}))
    assert "backend/x/new.py is not named: add the line '- `new.py`: what" in said and "'### `backend/x/`'" in said
    assert "backend/x/empty.py is not named" in said, "a name without words does not count"
    assert "backend/x/gone.py does not exist" in said and "backend/x/a.py is named 2 times" in said
