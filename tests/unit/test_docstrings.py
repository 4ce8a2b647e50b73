"""Docstrings tell the truth: the public has one, its arguments exist and are all named, its defaults are the code's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("Args:", "Returns:", "Raises:", "Yields:", "Example:", "Examples:", "Note:", "Notes:", "Attributes:")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented(docstring: str) -> dict[str, str]:
    """Entries of the Args section: name to text. `a, b: text` documents two."""
    lines = docstring.expandtabs().splitlines()
    starts = [number for number, line in enumerate(lines) if line.strip() == "Args:"]
    if not starts:
        return {}
    start = starts[0]
    section_indent = len(lines[start]) - len(lines[start].lstrip())
    entries: dict[str, str] = {}
    entry_indent, current = None, []
    for line in lines[start + 1 :]:
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= section_indent:
            break
        if not line.strip():
            continue
        entry_indent = indent if entry_indent is None else entry_indent
        match = re.match(r"\s*(\*{0,2}\w+(?:\s*(?:,|and)\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?:\s*(.*)", line)
        if indent == entry_indent and match:
            current = [name.lstrip("*") for name in re.split(r"\s*,\s*|\s+and\s+", match.group(1))]
            entries.update(dict.fromkeys(current, match.group(2)))
        else:
            for name in current:
                entries[name] += " " + line.strip()
    return entries


def arguments(function: Function) -> dict[str, ast.expr | None]:
    """Arguments by name with their defaults, without self and cls."""
    spec = function.args
    positional = spec.posonlyargs + spec.args
    defaults = [None] * (len(positional) - len(spec.defaults)) + list(spec.defaults)
    found = {argument.arg: default for argument, default in zip(positional, defaults, strict=True)}
    found |= {a.arg: d for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)}
    found |= {extra.arg: None for extra in (spec.vararg, spec.kwarg) if extra is not None}
    return {name: default for name, default in found.items() if name not in ("self", "cls")}


def fields(cls: ast.ClassDef) -> dict[str, ast.expr | None]:
    """What a class is made with: `__init__`'s arguments, or a dataclass's fields."""
    for node in cls.body:
        if isinstance(node, Function) and node.name == "__init__":
            return arguments(node)
    return {
        node.target.id: node.value
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def wrong_default(text: str, default: ast.expr | None) -> str | None:
    """The default that `text` states, where it is a literal and not the code's; None where all is well."""
    match = re.search(r"[Dd]efault(?:s to|s|:| is|)\s+(-?[\w.+]+|\"[^\"]*\"|'[^']*')", text)
    if not match:
        return None
    try:
        stated = ast.literal_eval(match.group(1).rstrip("."))
    except (ValueError, SyntaxError):
        return None  # words, such as "default is the preset's"
    try:
        actual = ast.literal_eval(default) if default is not None else "no default"
    except ValueError:
        return None  # a constant's name: nothing to compare without running it
    return None if stated == actual and type(stated) is type(actual) else f"says {stated!r}, code has {actual!r}"


def docstring_problems(source: str, private: bool = False) -> list[str]:
    """Everything wrong with the docstrings of one file; a private file's functions need none, but may not lie."""
    found = []
    tree = ast.parse(source)
    for node, needs in _definitions(tree, private):
        text = ast.get_docstring(node)
        where = f"{node.lineno}: {node.name}"
        if not text:
            found += [f"{where} has no docstring"] if needs else []
            continue
        entries = documented(text)
        is_class = isinstance(node, ast.ClassDef)
        there = fields(node) if is_class else arguments(node)
        unknown = [] if is_class and not there and node.bases else [name for name in entries if name not in there]
        found += [f"{where} documents {name!r}, which is not there" for name in unknown]
        if entries and not is_class:
            found += [f"{where} does not document {name!r}" for name in there if name not in entries]
        for name, entry in entries.items():
            wrong = wrong_default(entry, there[name]) if name in there else None
            found += [f"{where}: default of {name!r} {wrong}"] if wrong else []
    return found


def _definitions(tree: ast.Module, private: bool) -> Iterator[tuple[Function | ast.ClassDef, bool]]:
    """Functions, classes and their methods; whether each must have a docstring."""
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef):
            continue
        yield node, not private and not node.name.startswith("_")
        if isinstance(node, ast.ClassDef):
            yield from ((method, False) for method in node.body if isinstance(method, Function))


FILES = sorted(path for folder in ("backend", "protocol") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_docstrings_of_a_file_are_true(path):
    source = path.read_text(encoding="utf-8")
    private = path.name.startswith("_") and path.name != "__init__.py"
    problems = docstring_problems(source, private)
    if source.strip() and not ast.get_docstring(ast.parse(source)):
        problems.insert(0, "1: the module has no docstring")
    assert not problems, "\n".join(f"{path.relative_to(ROOT)}:{problem}" for problem in problems)


GOOD = '''
def scale(image, factor: float = 2.0, *, mode="area"):
    """Scale a picture.

    Args:
        image: The picture, whose long
            description goes on: here.
        factor: How much; default 2.0.
        mode: "area" or "nearest" (default: "area").

    Returns:
        A picture: larger.
    """
'''


def test_a_true_docstring_passes():
    assert docstring_problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("default 2.0", "default 3.0", "says 3.0"),
        ('(default: "area")', '(default: "nearest")', "says 'nearest'"),
        ("        factor: How much; default 2.0.\n", "", "does not document 'factor'"),
        ("        image: The", "        picture: The", "documents 'picture'"),
        ('"""Scale a picture.', 'x = """', "has no docstring"),
    ],
)
def test_a_planted_lie_is_found(old, new, complaint):
    assert old in GOOD
    assert any(complaint in problem for problem in docstring_problems(GOOD.replace(old, new)))
