"""The command `dreamlift` as a newcomer meets it: help, errors in words, exit codes, no torch before it is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dreamlift import __version__
from dreamlift.cli import build_parser, main
from dreamlift.commands.generate import check_output, file_name
from dreamlift.commands.outcomes import CommandError, Exit

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "numpy", "warp", "diffusers", "transformers", "rich", "scipy"}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def run(capsys, *words):
    """Exit code, stdout, stderr of one command in this process."""
    code = main(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def imported(*words):
    """Top packages that a command imports, by the interpreter's own account."""
    command = [sys.executable, "-X", "importtime", "-m", "dreamlift.cli", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    return {line.rpartition("|")[2].strip().split(".")[0] for line in result.stderr.splitlines() if "|" in line}


def test_help_and_version_import_nothing_heavy():
    assert not imported("--help") & HEAVY
    assert not imported("generate", "--help") & HEAVY
    assert not imported("--version") & HEAVY


def test_serve_loads_no_torch_and_says_where_it_listens(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "dreamlift.cli", "serve", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        event = json.loads(process.stdout.readline())
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert event["event"] == "serving" and event["port"] > 0 and event["home"] == str(tmp_path / "home")
    assert process.returncode == Exit.OK
    names = {line.rpartition("|")[2].strip() for line in errors.splitlines() if line.startswith("import time:")}
    assert "zmq" in names and not names & {"torch", "warp", "diffusers", "scipy", "rich"}


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"dreamlift {__version__}\n"


@pytest.mark.parametrize("words", [[], ["genrate"], ["generate"], ["jobs"], ["train", "maxi"], ["--log-level", "loud"]])
def test_a_wrong_command_line_ends_with_usage(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == Exit.USAGE and "usage: dreamlift" in capsys.readouterr().err


def test_every_command_and_exit_code_is_documented():
    text = (ROOT / "docs" / "cli.md").read_text()
    for code in Exit:
        assert f"| {int(code)} | {code.name} |" in text
    commands = build_parser()._subparsers._group_actions[0].choices
    for name in commands:
        assert f"`{name}" in text, f"docs/cli.md does not mention {name}"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["generate", ""], Exit.USAGE, "The prompt is empty."),
        (["generate", "a red cube", "-o", "cube.obj"], Exit.USAGE, "does not end in .glb"),
        (["generate", "a red cube", "-o", "nowhere/cube.glb"], Exit.USAGE, "does not exist"),
        (["generate", "a red cube", "--sheet", "sheet.jpg"], Exit.USAGE, "does not end in .png"),
        (["generate", "a red cube", "--preset", "mni"], Exit.USAGE, "Did you mean 'mini'?"),
        (["generate", "a red cube", "--set", "stpes=3"], Exit.USAGE, "Did you mean 'steps'?"),
        (["generate", "a red cube", "--set", "steps=1"], Exit.USAGE, "--set steps=10"),
        (["generate", "a red cube", "--seed", "-4"], Exit.USAGE, "The seed -4 is out of range."),
        (["generate", "a red cube", "--device", "tpu9"], Exit.USAGE, "is not a device"),
        (["generate", "a red cube", "--device", "cuda:99"], Exit.USAGE, "There is no cuda:99"),
        (["generate", "a red cube", "--server"], Exit.UNREACHABLE, "dreamlift serve"),
        (["generate", "a red cube", "--server", "studio"], Exit.UNREACHABLE, "dreamlift keys pair studio"),
        (["generate", "a red cube", "--server", "dreamlift-1.xyz"], Exit.USAGE, "cut off or mistyped"),
        (["jobs", "list"], Exit.UNREACHABLE, "dreamlift serve"),
        (["keys", "add", "anna"], Exit.USAGE, "Give --port"),
        (["keys", "pair", "studio", "hello"], Exit.USAGE, "starts with dreamlift-1."),
        (["keys", "revoke", "bob"], Exit.USAGE, "There is no key named bob."),
        (["keys", "forget", "bob"], Exit.USAGE, "No server is called 'bob'."),
        (["serve", "--insecure-loopback", "--host", "0.0.0.0"], Exit.USAGE, "loopback only"),
        (["train", "mini-mvdream", "--shards", "1"], Exit.USAGE, "at least 2"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_do(capsys, words, code, said):
    ended, out, err = run(capsys, *words)
    assert (ended, out) == (code, "")
    assert said in err and "Traceback" not in err
    assert len(err.strip().splitlines()) <= 4


def test_with_json_an_error_is_one_line_on_stdout(capsys):
    code, out, err = run(capsys, "generate", "a red cube", "--preset", "mni", "--json")
    event = json.loads(out)
    assert code == Exit.USAGE and err == ""
    assert event["event"] == "error" and event["code"] == "unknown_preset" and event["remedy"]


def test_a_port_in_use_is_named():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "dreamlift.cli", "serve", "--port", str(port)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == Exit.USAGE
    assert str(port) in result.stderr and "--port" in result.stderr and "Traceback" not in result.stderr


def test_keys_are_made_listed_paired_and_revoked(capsys):
    assert run(capsys, "keys", "add", "anna", "--host", "node.example", "--port", "47826")[0] == Exit.OK
    assert run(capsys, "keys", "add", "anna", "--host", "node.example", "--port", "47826")[0] == Exit.USAGE
    _, out, _ = run(capsys, "keys", "add", "ben", "--host", "node.example", "--port", "47826", "--json")
    pairing = json.loads(out)["pairing"]
    assert run(capsys, "keys", "pair", "studio", pairing)[0] == Exit.OK
    code, out, _ = run(capsys, "keys", "list")
    assert code == Exit.OK and "anna" in out and "ben" in out and "node.example:47826" in out
    assert run(capsys, "keys", "revoke", "anna")[0] == Exit.OK
    assert run(capsys, "keys", "forget", "studio")[0] == Exit.OK
    code, out, _ = run(capsys, "keys", "list", "--json")
    entries = [json.loads(line) for line in out.splitlines()]
    assert {entry["name"] for entry in entries} == {"this-computer", "ben"}
    assert pairing not in out


def test_no_secret_is_shown_and_files_are_private(capsys, tmp_path):
    run(capsys, "keys", "add", "anna", "--host", "node.example", "--port", "47826")
    _, out, _ = run(capsys, "keys", "show")
    secrets = json.loads((tmp_path / "home/keys/server.json").read_text())["secret"]
    assert secrets not in out and re.search(r"public key  \S{40}", out)
    for path in (tmp_path / "home" / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red mushroom!", "a-red-mushroom.glb"),
        ("../../etc", "etc.glb"),
        ("赤い", "dreamlift.glb"),
        ("x" * 99, "x" * 60 + ".glb"),
    ],
)
def test_a_file_is_named_after_the_prompt(prompt, name):
    assert file_name(prompt) == name


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with pytest.raises(CommandError, match="Cannot write"):
        check_output(closed / "x.glb", ".glb")


def test_checking_the_output_leaves_nothing(tmp_path):
    assert check_output(tmp_path / "x.GLB", ".glb") == tmp_path / "x.GLB"
    assert list(tmp_path.iterdir()) == []
