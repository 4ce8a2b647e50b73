"""The examples of docs/models.md run as they stand there, and print errors within the tolerance."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from parity.reference import SHARED

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(block, id=f"{title} {number}")
    for title, text in SECTIONS
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    if "shared/parity/" in block
]
ALLOWED = {"ddim": 2e-5, "sample": 2e-5}  # a forward has 5e-6


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the reference answers are not at {SHARED}")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_and_its_errors_are_small(example):
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    run = subprocess.run(
        [sys.executable, "-c", example], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr[-2000:]
    errors = re.findall(r"^(\w+) ([\d.e+-]+)$", run.stdout, re.MULTILINE)
    assert errors, f"it printed no error as 'name number': {run.stdout[-500:]}"
    for name, value in errors:
        assert float(value) < ALLOWED.get(name, 5e-6), f"{name}: {value}"


def test_the_page_has_an_example_for_each_of_our_families():
    titles = " ".join(title for title, _ in SECTIONS)
    assert "MVDream" in titles and "ImageDream" in titles
    assert len(EXAMPLES) >= 2
