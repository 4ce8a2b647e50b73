"""benchmarks/priors.py runs every family at toy size where there is no GPU, and counts what it says it counts."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from dreamlift.priors.random_weights import empty_parameters

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "priors.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("priors_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_family_runs_forward_and_sampling_and_the_last_line_is_json(script, capsys, tmp_path):
    result = script.main(["--steps", "2", "--device", "cpu", "--out", str(tmp_path / "out.json")])
    said = capsys.readouterr().out.strip().splitlines()
    assert json.loads(said[-1]) == json.loads((tmp_path / "out.json").read_text()) == result
    assert set(result["rows"]) == set(script.cases())
    assert "TOY SIZES" in said[0] and not result["full_size"]
    for name, row in result["rows"].items():
        assert row["forward_operations"] > 0 and row["forward_s"] > 0 and row["share_of_limit"] > 0, name
        assert row["parameters"] < 20e6, name
        if name != "t5-xxl":
            assert row["finite"] and row["steps"] == 2, name


def test_operations_are_counted_exactly(script):
    a, b = torch.zeros(30, 40), torch.zeros(40, 50)
    assert script.operations(lambda: a @ b) == 2 * 30 * 40 * 50


def test_every_full_size_case_builds_on_the_meta_device(script):
    least = {"mvdream": 1.2e9, "v3d": 2.0e9, "if-i-xl": 4.2e9, "sd-1.5": 1.0e9}
    for name, floor in least.items():
        family, config = script.FULL[name]
        with empty_parameters():
            prior = family.random(config, seed=0)
        assert sum(parameter.numel() for parameter in prior.parameters()) > floor, name
