"""MVDream by a memory plan: random weights from request to asset, smaller batches, and an out-of-memory on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dreamlift.memory import shelf
from dreamlift.memory.cards import GIB, computer
from dreamlift.memory.plan import Plan
from dreamlift.memory.step_down import run_planned
from dreamlift.pipelines import field_optimisation, mvdream
from dreamlift.pipelines.context import RANDOM, Request
from dreamlift.pipelines.field_settings import AssetSettings
from dreamlift.pipelines.mvdream_settings import FULL
from dreamlift.priors.configs import MVDREAM_SD21
from dreamlift.rendering.volume import VolumeSettings
from dreamlift.representations._hash_grid_torch import HashGridSettings

# The published model's shape with a 16th of its width.
SHRUNK = replace(
    MVDREAM_SD21,
    image_size=64,
    unet={
        **MVDREAM_SD21.unet,
        "sample_size": 8,
        "block_out_channels": (32, 32, 64, 64),
        "attention_head_dim": (2, 2, 4, 4),
        "cross_attention_dim": 32,
        "norm_num_groups": 8,
    },
    vae={**MVDREAM_SD21.vae, "block_out_channels": (16, 16, 32, 32), "norm_num_groups": 8, "sample_size": 64},
    text={
        **MVDREAM_SD21.text,
        "vocab_size": 100,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    },
)
STEPS = 6
SETTINGS = FULL.with_steps(STEPS)
SETTINGS = replace(
    SETTINGS,
    field=replace(FULL.field, grid=HashGridSettings(levels=4, log2_table=10, base=4, growth=1.5), width=8, level=2.0),
    stages=tuple(
        replace(stage, resolution=size, volume=VolumeSettings(samples=48))
        for stage, size in zip(SETTINGS.stages, (8, 16), strict=True)
    ),
    asset=AssetSettings(grid=24, triangles=200, texture_size=64),
)
REQUEST = Request(preset="full", prompt="any words at all", seed=3, weights=RANDOM)


class Context:
    """Checkpoints after every step, in memory."""

    device = torch.device("cpu")

    def __init__(self, plan=None):
        self.plan, self.saved, self.warnings, self.steps = plan, None, [], []

    def progress(self, progress):
        self.steps.append((progress.stage, progress.step))

    def wants_preview(self):
        return False

    def warn(self, code, what, remedy):
        self.warnings.append(code)

    def checkpoint(self, state):
        self.saved = {key: value.clone() if hasattr(value, "clone") else value for key, value in state.items()}

    def restore(self):
        return self.saved

    def should_stop(self):
        return None


@pytest.fixture(autouse=True)
def empty_shelf():
    yield
    shelf.clear()


def opened(plan, request=REQUEST):
    return mvdream.load_prior(request, "cpu", plan, SHRUNK)


def test_the_full_preset_runs_from_request_to_asset_with_random_weights():
    context = Context(Plan(vae="recomputed", rows=4))
    asset = mvdream.run(REQUEST, context, opened(context.plan), SETTINGS)
    assert len(asset.faces) > 20
    assert "random weights" in asset.provenance.weights
    assert "4 rows at once" in asset.provenance.memory and context.warnings == []


def test_the_seed_decides_the_random_weights():
    first = opened(None).unet.conv_in.weight.clone()
    assert torch.equal(first, opened(None).unet.conv_in.weight)
    assert not torch.equal(first, opened(None, replace(REQUEST, seed=4)).unet.conv_in.weight)


def test_the_mini_preset_with_random_weights_has_the_embedded_words_and_nothing_it_learned():
    request = Request(prompt="a red mushroom", weights=RANDOM)
    learned = mvdream.load_prior(Request(), "cpu")
    weight = learned.unet.conv_in.weight.clone()
    random = mvdream.load_prior(request, "cpu")
    assert "random weights" in random.name and random.unknown_words("a red mushroom") == []
    assert not torch.equal(weight, random.unet.conv_in.weight)


def test_one_model_is_kept_and_another_takes_its_place():
    kept = mvdream.load_prior(Request(), "cpu")
    assert mvdream.load_prior(Request(seed=5), "cpu", Plan(rows=4)) is kept
    opened(None)
    assert mvdream.load_prior(Request(), "cpu") is not kept


def test_smaller_batches_give_the_same_object_up_to_rounding():
    states = []
    for plan in (None, Plan(rows=4)):
        job = field_optimisation.Optimisation(SETTINGS, opened(plan), *_condition(plan), context=Context(plan))
        field_optimisation.mv_sds_step(job, SETTINGS.stages[0])
        states.append(job.field.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=2e-3, rtol=0)  # one step of Adam at rate 0.01


def _condition(plan):
    condition = mvdream.encode_condition(opened(plan), REQUEST, SETTINGS)
    return field_optimisation.always(condition), REQUEST.seed


class RunsOut:
    """A prior that runs out of memory at one call, and is whole otherwise."""

    def __init__(self, prior, call):
        self.prior, self.left = prior, call

    def __getattr__(self, name):
        return getattr(self.prior, name)

    def predict_x0(self, *arguments, **named):
        self.left -= 1
        if self.left == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.prior.predict_x0(*arguments, **named)


def test_an_out_of_memory_on_the_way_steps_down_and_goes_on_from_the_checkpoint(monkeypatch):
    monkeypatch.setattr(field_optimisation, "CHECKPOINT_SECONDS", 0.0)
    context = Context()
    prior = RunsOut(opened(None), call=4)

    def work():
        return mvdream.run(REQUEST, context, prior, SETTINGS)

    asset = run_planned(work, REQUEST, context, computer(64 * GIB))
    assert context.warnings == ["stepped_down"]
    assert "one step down after an out-of-memory" in asset.provenance.memory
    steps = [step for stage, step in context.steps if stage != "asset"]
    assert steps == [1, 2, 3, 1, 2, 3], "steps before the checkpoint are not done again"
