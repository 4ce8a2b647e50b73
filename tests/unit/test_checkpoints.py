"""A checkpoint comes back as it was saved, and a bad file is refused in words."""

from __future__ import annotations

import pytest
import torch

from dreamlift.checkpoints import load_checkpoint, save_checkpoint


def test_everything_a_pipeline_may_save_comes_back(tmp_path):
    shared = torch.arange(6, dtype=torch.float32)
    state = {
        "step": 7,
        "stage": "shape",
        "done": False,
        "nothing": None,
        "rate": 1e-3,
        "grid": shared.reshape(2, 3),
        "view": shared[1:],
        "flags": torch.tensor([True, False]),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "param_groups": [{"betas": (0.9, 0.99)}]},
    }
    save_checkpoint(tmp_path / "x", state)
    loaded = load_checkpoint(tmp_path / "x")
    assert loaded.keys() == state.keys()
    for name in ("grid", "view", "flags", "half"):
        assert torch.equal(loaded[name], state[name]) and loaded[name].dtype == state[name].dtype
    assert loaded["optimizer"]["param_groups"] == [{"betas": (0.9, 0.99)}]
    assert loaded["optimizer"]["state"][0]["step"] == 3
    assert [loaded[name] for name in ("step", "stage", "done", "nothing", "rate")] == [7, "shape", False, None, 1e-3]


def test_what_cannot_be_saved_is_named_and_the_old_file_stays(tmp_path):
    save_checkpoint(tmp_path / "x", {"step": 1})
    with pytest.raises(TypeError, match=r"state\['deep'\]\[1\] is a object"):
        save_checkpoint(tmp_path / "x", {"deep": [1, object()]})
    assert load_checkpoint(tmp_path / "x") == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ValueError, match="delete it"):
        load_checkpoint(tmp_path / "x")
