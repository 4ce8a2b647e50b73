"""ImageDream and V3D draw the views of several seeds from a picture: tiny models with random weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes.tiny_view_models import IMAGEDREAM, LARGE, V3D, as_file, cut_out

from dreamlift.memory import shelf
from dreamlift.memory.apply import place
from dreamlift.memory.plan import Plan
from dreamlift.pipelines import catalog, imagedream, imagedream_prior, imagedream_views, v3d
from dreamlift.pipelines.context import Request, RequestError, Stop, Stopped
from dreamlift.pipelines.imagedream_views import ImageDreamViews
from dreamlift.pipelines.picture_views import as_images, encoding_chance
from dreamlift.pipelines.v3d import Batches, OrbitViews
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.priors.random_weights import randomise
from dreamlift.priors.sampling import seed_noise
from dreamlift.priors.v3d import V3DPrior

PICTURE = as_file(cut_out(*LARGE))
MODULES = {"imagedream": imagedream, "v3d": v3d}


class Quiet:
    """A context that keeps previews and warnings, and may wish for a stop."""

    device = torch.device("cpu")
    plan = None

    def __init__(self, stop=None):
        self.shown, self.warned, self.stop, self.steps = [], [], stop, 0

    def progress(self, progress):
        self.steps += 1

    def publish(self, preview):
        self.shown.append(preview)

    def wants_preview(self):
        return True

    def warn(self, code, what, remedy):
        self.warned.append(code)

    def should_stop(self):
        return self.stop if self.steps else None


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    sampling = imagedream_views.SAMPLING_FULL
    imagedream_views.SAMPLING_FULL = replace(sampling, steps=4)
    yield
    imagedream_views.SAMPLING_FULL = sampling


@pytest.fixture(scope="module")
def priors():
    # Beyond their constructors: there the last layers are zero, and no condition would show.
    return {
        "imagedream": randomise(ImageDreamPrior.random(IMAGEDREAM, ["a", "red", "box"]), seed=1),
        "v3d": randomise(V3DPrior.random(V3D), seed=1),
    }


def request(name, **changes):
    words = "a red box" if name == "imagedream" else ""
    given = {"prompt": words, "goal": "views", "seeds": (3, 7), "images": {"reference": PICTURE}, **changes}
    return Request(name, "full", **given)


def sources(priors, **changes):
    """Both sources with a picture."""
    image = as_images(np.full((32, 32, 3), 90, np.uint8))
    together = changes.get("together", True)
    return (
        ImageDreamViews(priors["imagedream"], image, ("a red box", ""), together, 4),
        OrbitViews(priors["v3d"], image, Batches(4, together, changes.get("decoded"))),
    )


def last(source, seeds):
    *_, look = source.draw(seeds)
    return look().unflatten(0, (len(seeds), -1))


@pytest.mark.parametrize(("name", "views"), [("imagedream", 4), ("v3d", 18)])
def test_every_seed_gets_its_row_and_says_where_it_came_from(priors, name, views):
    context = Quiet()
    drawn = MODULES[name].sample_views(request(name), context, priors[name])
    assert drawn.images.shape == (2, views, 32, 32, 3) and drawn.seeds == (3, 7)
    assert drawn.names == catalog.PIPELINES[name].view_names and len(drawn.names) == views
    assert np.abs(drawn.images[0].astype(int) - drawn.images[1]).mean() > 1, "two seeds are two rows"
    assert context.shown[-1].seeds == (3, 7) and not context.warned
    assert (drawn.provenance.pipeline, drawn.provenance.seed) == (name, 3)
    assert not drawn.provenance.commercial_use and drawn.provenance.licence


def test_a_seed_s_row_is_the_same_whatever_stands_beside_it(priors):
    for source in sources(priors):
        both, alone = last(source, (3, 7)), last(source, (7,))
        assert torch.allclose(both[1], alone[0], atol=1e-3), type(source).__name__


def test_both_sides_one_by_one_and_frames_in_groups_draw_the_same(priors):
    whole, parts = sources(priors), sources(priors, together=False)
    for one, other in zip(whole, parts, strict=True):
        assert torch.allclose(last(one, (3,)), last(other, (3,)), atol=1e-3), type(one).__name__
    grouped = sources(priors, decoded=6)[1]
    assert last(grouped, (3,)).shape == (1, 18, 3, 32, 32)


def test_imagedream_s_rows_are_those_of_the_published_sampler(priors):
    prior, (source, _) = priors["imagedream"], sources(priors)
    told, negative = source.condition((3,)), source._negative
    numbers = torch.nn.functional.pad(prior.camera_numbers(source._cameras), (0, 0, 0, 1))
    start = torch.nn.functional.pad(seed_noise((3,), (4, 4, 4, 4)), (0, 0, 0, 0, 0, 0, 0, 1))
    latents = prior.ddim_frames(start, told, negative, numbers, steps=source.steps, guidance=5.0)[:4]
    assert torch.allclose(prior.decode_latents(latents), last(source, (3,))[0], atol=1e-4)


def test_v3d_s_rows_are_those_of_the_published_sampler(priors):
    prior, (_, source) = priors["v3d"], sources(priors)
    told = prior.encode(source._picture, encoding_chance(3))
    latents = prior.sample(told, noise=seed_noise((3,), (18, 4, 4, 4)))
    assert torch.allclose(prior.decode_latents(latents), last(source, (3,))[0], atol=1e-4)


@pytest.mark.parametrize("name", MODULES)
def test_half_precision_with_released_encoders_draws_nearly_the_same(name):
    plans = (Plan(), Plan(dtype="bfloat16", codec_dtype="float32", release_encoders=True, rows=1))
    drawn = []
    for plan in plans:
        context = Quiet()
        context.plan = plan
        family, config = (ImageDreamPrior, IMAGEDREAM) if name == "imagedream" else (V3DPrior, V3D)
        prior = place(randomise(family.random(config), seed=1), plan, "cpu")
        drawn.append(MODULES[name].sample_views(request(name, seeds=(3,)), context, prior))
    assert np.abs(drawn[0].images.astype(int) - drawn[1].images).mean() < 12
    assert "bfloat16" in drawn[1].provenance.memory


def test_the_picture_matters(priors):
    other = {"images": {"reference": as_file(cut_out((180, 120), (15, 15, 150, 36)))}}
    for name, module in MODULES.items():
        one, two = (
            module.sample_views(request(name, seeds=(3,), **change), Quiet(), priors[name]).images.astype(int)
            for change in ({}, other)
        )
        assert np.abs(one - two).max() > 3, name


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("reason", [Stop.CANCEL, Stop.PAUSE])
def test_a_cancelled_request_keeps_nothing(priors, name, reason):
    context = Quiet(reason)
    with pytest.raises(Stopped) as caught:
        MODULES[name].sample_views(request(name), context, priors[name])
    assert caught.value.reason is reason and context.steps == 1 and not context.shown


def test_what_v3d_cannot_see_is_told(priors):
    opaque = {"reference": as_file(cut_out().convert("RGB"), "JPEG")}
    context = Quiet()
    v3d.sample_views(request("v3d", prompt="a box", seeds=(3,), images=opaque), context, priors["v3d"])
    assert context.warned == ["no_alpha", "prompt_unused"]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"images": {}}, "missing_image"),
        ({"images": {"reference": b"\x89PNG\r\n\x1a\n"}}, "bad_image"),
        ({"seeds": ()}, "bad_seeds"),
        ({"settings": {"steps": 5}}, "unknown_setting"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_a_model_is_opened(name, changes, code):
    with pytest.raises(RequestError) as caught:
        MODULES[name].sample_views(request(name, **changes), Quiet())
    assert caught.value.code == code and caught.value.remedy


def test_imagedream_draws_without_words_and_says_that_they_would_help(priors):
    context = Quiet()
    imagedream.sample_views(request("imagedream", prompt=" ", seeds=(3,)), context, priors["imagedream"])
    assert context.warned == ["no_caption"]


def test_a_model_whose_noise_ends_in_nothing_but_noise_is_guided_in_clean_latents():
    config = replace(IMAGEDREAM, prediction="v_prediction", zero_terminal_snr=True)
    prior = randomise(ImageDreamPrior.random(config, ["a", "box"]), seed=1)
    source = ImageDreamViews(prior, as_images(np.full((32, 32, 3), 90, np.uint8)), ("a box", ""), True, 4)
    drawn = last(source, (3, 7))
    assert source.steps == 20 and torch.isfinite(drawn).all()
    assert torch.allclose(drawn[1], last(source, (7,))[0], atol=1e-3)


@pytest.mark.parametrize(("name", "model"), [("imagedream", "imagedream-pixel"), ("v3d", "v3d")])
def test_weights_that_are_not_here_are_named_with_the_command_that_fetches_them(name, model, tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMLIFT_MODELS", str(tmp_path))
    with pytest.raises(RequestError) as caught:
        MODULES[name].sample_views(request(name), Quiet())
    assert caught.value.code == "weights_missing" and f"dreamlift models pull {model}" in caught.value.remedy
    shelf.clear()


def test_v3d_without_the_file_of_its_encoders_names_it(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.setenv("DREAMLIFT_MODELS", str(tmp_path))
    (tmp_path / "v3d").mkdir()
    save_file({"model.diffusion_model.time_mixer.x": torch.zeros(1)}, tmp_path / "v3d" / "V3D.ckpt")
    with pytest.raises(RequestError) as caught:
        v3d.sample_views(request("v3d"), Quiet())
    assert caught.value.code.startswith("weights_") and "dreamlift models" in caught.value.remedy
    shelf.clear()


def test_the_store_s_own_copy_is_opened(tmp_path, monkeypatch, priors):
    monkeypatch.setenv("DREAMLIFT_MODELS", str(tmp_path))
    priors["imagedream"].save(tmp_path / "imagedream-pixel" / "converted", "of a test", torch.float32)
    drawn = imagedream.sample_views(request("imagedream", seeds=(3,)), Quiet())
    again = imagedream.sample_views(request("imagedream", seeds=(3,)), Quiet(), priors["imagedream"])
    assert drawn.provenance.weights.endswith("of a test")
    assert np.abs(drawn.images.astype(int) - again.images).max() <= 1
    shelf.clear()


def test_the_published_numbers_are_the_defaults():
    full = v3d.CONFIG
    assert (full.steps, full.guidance, full.frames, v3d.BORDER, v3d.WHITE) == (25, (3.5, 3.5), 18, 0.3, 255)
    assert replace(full, steps=3).steps == 3 and imagedream_prior.PUBLISHED["pixel"][0].pixel
