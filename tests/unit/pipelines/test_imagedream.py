"""The ImageDream pipeline with a prior that draws what the picture shows, and with random weights and everything on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes.taken_pictures import taken
from fakes.tiny_view_models import IMAGEDREAM, LARGE, as_file, cut_out
from PIL import Image

from dreamlift.memory.plan import Plan
from dreamlift.pipelines import field_optimisation, imagedream
from dreamlift.pipelines.context import Request, RequestError, Stop, Stopped
from dreamlift.pipelines.field_optimisation import Moment
from dreamlift.pipelines.field_settings import AssetSettings
from dreamlift.pipelines.imagedream import ImagePrompt, behind_picture
from dreamlift.pipelines.imagedream_prior import caption_of
from dreamlift.pipelines.imagedream_settings import FULL, MINI, PictureSettings
from dreamlift.preprocessing.subject import subject
from dreamlift.priors.imagedream import ImageContext, ImageDreamPrior
from dreamlift.priors.random_weights import randomise
from dreamlift.rendering.cameras import camera_rays, orbit
from dreamlift.rendering.volume import VolumeSettings
from dreamlift.representations._hash_grid_torch import HashGridSettings

BALL = 0.6
PICTURE = {"reference": as_file(cut_out(*LARGE))}  # red on nothing
REQUEST = Request("imagedream", "mini", "a red box", images=PICTURE)
ASSET = AssetSettings(grid=40, triangles=500, texture_size=128, size_m=0.5)
SETTINGS = replace(MINI.with_steps(24), asset=ASSET, texture=None)


class SeesBalls:
    """Takes any picture for one of a ball: of the colour in its middle, before the colour in its corner."""

    name, licence, commercial_use, image_size = "sees balls", "CC0-1.0", True, 64
    alphas_cumprod = torch.linspace(0.9999, 0.0, 1000)
    config = SimpleNamespace(pixel=True)
    tokenizer = SimpleNamespace(words=("a", "red", "box"))

    def __init__(self):
        self.pictures, self.grounds = [], []

    def unknown_words(self, prompt):
        return [word for word in prompt.lower().split() if word not in self.tokenizer.words]

    def encode_text(self, prompts):
        return torch.tensor([float(bool(prompt)) for prompt in prompts]).view(-1, 1, 1)

    def context(self, text, images, generator=None, size=None):
        if images is None:
            return ImageContext(text, torch.zeros(len(text), 2, 3), torch.zeros(len(text), 1, 2, 2))
        side = images.shape[-1]
        self.pictures.append((images[0, :, 0, 0], size, generator))
        seen = torch.stack([images[:, :, side // 2, side // 2], images[:, :, 0, 0]], 1)
        return ImageContext(text, seen, images[:, :1, :2, :2])

    def encode_images(self, images, generator=None):
        self.grounds.append(images.detach()[0, :, 0, 0])
        self.seen = images.shape[-1]
        return torch.nn.functional.interpolate(images, (32, 32), mode="area") * 3

    def decode_latents(self, latents):
        return torch.nn.functional.interpolate(latents / 3, (self.seen, self.seen), mode="nearest")

    def predict_x0(self, x_t, t, context, cameras, views=4):
        origins, directions = camera_rays(cameras, 32)
        along = (origins * directions).sum(-1)
        hit = (along**2 - (origins * origins).sum(-1) + BALL**2 > 0)[:, None].float()
        ball, ground = (context.image[:, k, :, None, None] for k in (0, 1))
        drawn = ball * hit + ground * (1 - hit)
        half = len(x_t) // 2
        return torch.cat([drawn[:half], drawn[:half]]) * 3  # no picture says nothing else: the guidance moves nothing


class Recording:
    """Keeps what it is told; asked to stop after some steps where told so."""

    device = torch.device("cpu")

    def __init__(self, stop=None, stop_after=0, saved=None, plan=None):
        self.stop, self.stop_after, self.saved, self.plan = stop, stop_after, saved, plan
        self.steps, self.published, self.warnings = [], [], []

    def progress(self, progress):
        self.steps.append(progress)

    def publish(self, preview):
        self.published.append(preview)

    def wants_preview(self):
        return len(self.steps) == 12

    def warn(self, code, what, remedy):
        self.warnings.append(code)

    def checkpoint(self, state):
        self.saved = {key: value.clone() if hasattr(value, "clone") else value for key, value in state.items()}

    def restore(self):
        return self.saved

    def should_stop(self):
        return self.stop if len(self.steps) >= self.stop_after else None


def run(context, request=REQUEST, prior=None, settings=SETTINGS):
    return imagedream.run(request, context, prior or SeesBalls(), settings)


@pytest.fixture(scope="module")
def finished():
    context, prior = Recording(), SeesBalls()
    return run(context, prior=prior), context, prior


def test_the_object_takes_the_picture_s_colour_and_the_shape_that_the_prior_sees(finished):
    asset, context, _ = finished
    np.testing.assert_allclose(asset.vertices.max(0) - asset.vertices.min(0), 0.5, atol=0.06)  # a ball
    red, green, blue = asset.texture.reshape(-1, 3).mean(0)
    assert red > 150 and green < 90 and blue < 90
    assert not context.warnings and len(context.published) == 2
    assert (asset.provenance.pipeline, asset.provenance.weights) == ("imagedream", "sees balls")


def test_the_picture_stands_before_the_colour_that_is_behind_the_renderings(finished):
    prior = finished[2]
    assert len(prior.grounds) == SETTINGS.steps
    shown = {tuple(round(float(c), 2) for c in ground) for ground, _, _ in prior.pictures}
    behind = {tuple(round(round(float(c) * 64) / 64, 2) for c in ground) for ground in prior.grounds}
    assert shown == behind and len(shown) > 3
    assert {size for _, size, _ in prior.pictures} == {32, None}, "the first stage is seen at half its size"


def test_a_paused_job_that_is_resumed_equals_one_that_never_stopped(finished):
    pausing = Recording(Stop.PAUSE, 15)
    with pytest.raises(Stopped):
        run(pausing)
    resumed = run(Recording(saved=pausing.saved))
    np.testing.assert_array_equal(resumed.vertices, finished[0].vertices)
    np.testing.assert_array_equal(resumed.texture, finished[0].texture)


def test_use_now_and_cancel_end_a_job():
    context = Recording(Stop.FINISH, 10)
    assert len(run(context).faces) > 100 and sum(p.stage != "asset" for p in context.steps) == 10
    context = Recording(Stop.CANCEL, 2)
    with pytest.raises(Stopped):
        run(context)
    assert context.saved is None and len(context.steps) == 2


def moment(behind, seen=None):
    return Moment(0, torch.tensor(behind), seen, torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("match", "colour"), [("rgb", (0.8, 0.2, 0.5)), ("grey", (0.5, 0.5, 0.5)), ("off", (0.5, 0.5, 0.5))]
)
def test_what_stands_behind_the_picture_is_as_the_setting_says(match, colour):
    other = behind_picture(torch.tensor([0.9, 0.9, 0.6]), PictureSettings(match))
    assert torch.allclose(behind_picture(torch.tensor([0.8, 0.2, 0.5]), PictureSettings(match)), torch.tensor(colour))
    assert torch.allclose(other, torch.tensor({"rgb": (0.9, 0.9, 0.6), "grey": [0.8] * 3, "off": [0.5] * 3}[match]))
    prior = SeesBalls()
    square = torch.zeros(4, 8, 8)
    told = ImagePrompt(prior, square, prior.encode_text(["a", ""]), PictureSettings(match))(moment((0.8, 0.2, 0.5)))
    assert torch.allclose(told.positive.image[0, 1], torch.tensor(colour))


def test_the_unconditional_side_is_the_negative_text_with_no_picture():
    prior = SeesBalls()
    told = ImagePrompt(prior, torch.ones(4, 8, 8), prior.encode_text(["a", ""]), PictureSettings())(moment((0.1,) * 3))
    assert told.positive.text.item() == 1 and told.negative.text.item() == 0
    assert not told.negative.image.any() and not told.negative.pixels.any() and told.positive.image.any()


def test_rounded_colours_are_encoded_once_and_exact_ones_at_every_step_with_a_fresh_sample():
    counts, drawn = {}, {}
    for colours in (0, 8):
        prior = SeesBalls()
        told = ImagePrompt(prior, torch.ones(4, 8, 8), prior.encode_text(["a", ""]), PictureSettings(colours=colours))
        for grey in (0.50, 0.51, 0.49, 0.75):
            told(moment((grey,) * 3))
        told(moment((0.5,) * 3, 32))
        counts[colours] = len(prior.pictures)
        drawn[colours] = {generator is None for *_, generator in prior.pictures}
    assert counts == {0: 5, 8: 3} and drawn == {0: {False}, 8: {True}}


def test_the_mean_colour_of_a_learned_environment_reaches_the_picture():
    settings, prior = _toy(), _tiny()
    seen = []
    context = Recording()
    told = lambda at: seen.append(at.behind) or ImagePrompt(prior, torch.ones(4, 32, 32), text, PictureSettings())(at)  # noqa: E731
    text = prior.encode_text(["a red box", ""])
    settings = replace(settings, background=replace(settings.background, random_probability=0.0))
    job = field_optimisation.Optimisation(settings, prior, told, 0, context, 5)
    field_optimisation.mv_sds_step(job, settings.stages[0])
    assert seen[0].shape == (3,) and not seen[0].requires_grad and 0 < float(seen[0].min()) < 1


def test_a_caption_may_be_missing_and_words_that_are_not_known_stop_nothing():
    context = Recording(Stop.CANCEL, 0)
    for request, told in (
        (replace(REQUEST, prompt=""), ["read_caption"]),
        (replace(REQUEST, prompt="a dragon"), ["unknown_words", "read_caption"]),
        (replace(REQUEST, prompt=" ", preset="full"), ["no_caption"]),
        (replace(REQUEST, negative_prompt="a chair"), ["negative_prompt_unused"]),
    ):
        context.warnings = []
        with pytest.raises(Stopped):
            run(context, request)
        assert context.warnings == told


@pytest.mark.parametrize(
    ("prompt", "caption"),
    [
        ("a red mug", "a red mug"),
        ("a red cup", "a red cup"),
        ("a mug", "an orange mug"),
        ("a cup", "an orange mug"),
        ("orange", "an orange mug"),
        ("", "an orange mug"),
    ],
)
def test_words_without_colour_or_class_are_completed_from_the_picture(prompt, caption):
    """The mini model never met a thing without its colour, and makes another thing of it; nor an orange mug."""
    context, knowing = Recording(), SimpleNamespace(unknown_words=lambda words: [])
    found = subject(as_file(Image.fromarray(taken("an orange mug", 50.0, 14.0), "RGBA")), None)
    assert caption_of(knowing, replace(REQUEST, prompt=prompt), found, context) == caption
    assert context.warnings == ([] if caption == prompt else ["read_caption"])


def test_a_mask_says_what_the_subject_is():
    image = Image.new("RGB", (200, 200), (30, 30, 200))
    image.paste((200, 30, 30), (40, 40, 160, 160))
    mask = Image.new("L", (200, 200), 0)
    mask.paste(255, (40, 40, 160, 160))
    asset = run(
        Recording(Stop.FINISH, 12), replace(REQUEST, images={"reference": as_file(image), "mask": as_file(mask)})
    )
    red, _, blue = asset.texture.reshape(-1, 3).mean(0)
    assert red > 100 > blue


@pytest.mark.parametrize(
    ("images", "code"),
    [({}, "missing_image"), ({"mask": PICTURE["reference"]}, "missing_image"), ({"reference": b"no"}, "bad_image")],
)
def test_a_picture_that_cannot_be_used_is_refused_before_a_model_is_opened(images, code):
    with pytest.raises(RequestError) as caught:
        imagedream.run(replace(REQUEST, images=images), Recording())
    assert caught.value.code == code and caught.value.remedy


def _toy(**changes):
    small = FULL.with_steps(6)
    return replace(
        small,
        field=replace(FULL.field, grid=HashGridSettings(levels=4, log2_table=10, base=4, growth=1.5), width=8, level=2),
        stages=tuple(
            replace(stage, steps=2, resolution=size, volume=VolumeSettings(samples=48))
            for stage, size in zip(small.stages, (8, 12, 16), strict=True)
        ),
        asset=AssetSettings(grid=24, triangles=200, texture_size=64),
        **{"preview_grid": 16, "preview_resolution": 8, **changes},
    )


def _tiny(controller="pixel"):
    config = replace(IMAGEDREAM, controller=controller)
    return randomise(ImageDreamPrior.random(config, ["a", "red", "box"]), seed=1).requires_grad_(False).eval()


@pytest.mark.parametrize("controller", ["pixel", "local", "global"])
def test_the_full_preset_runs_at_toy_size_with_random_weights_and_everything_on(controller):
    request = replace(REQUEST, preset="full", seed=5)
    assets = []
    for plan in (None, Plan(rows=5 if controller == "pixel" else 4, release_encoders=True)):
        context = Recording(plan=plan)
        assets.append(imagedream.run(request, context, _tiny(controller), _toy()))
        assert [p.stage for p in context.steps][:6:2] == ["shape", "detail", "fine"]
    assert len(assets[0].faces) > 20
    # One object's views at a time, its text encoder gone: the same object up to rounding.
    np.testing.assert_allclose(assets[0].vertices.max(0), assets[1].vertices.max(0), atol=0.02)


@pytest.mark.parametrize("controller", ["pixel", "global"])
def test_the_mini_preset_runs_on_the_mini_model_in_all_its_stages(controller):
    prior = ImageDreamPrior.from_parts_of_mini(controller, None, "untrained").requires_grad_(False).eval()
    context = Recording(Stop.FINISH, 6)
    request = replace(REQUEST, settings={"steps": 10, "controller": controller, "triangles": 300, "texture_size": 512})
    asset = imagedream.run(request, context, prior)
    stages = {progress.stage for progress in context.steps}
    assert stages == {"form", "shape", "asset"} and len(asset.faces) > 20
    assert context.warnings == [] and "untrained" in asset.provenance.weights


@pytest.mark.parametrize(("pixel", "rows", "expected"), [(1, 5, 4), (1, 10, 8), (0, 4, 4), (1, 0, 0)])
def test_a_plan_s_frames_are_counted_in_views(pixel, rows, expected):
    context = Recording(plan=Plan(rows=rows))
    job = field_optimisation.Optimisation(_toy(), SeesBalls(), lambda _: None, 0, context, 4 + pixel)
    assert job.rows() == expected


def test_what_the_field_is_shown_under_is_known_at_every_step_and_taken_off_once():
    settings = replace(SETTINGS, reference=None)
    job = field_optimisation.Optimisation(settings, SeesBalls(), None, 0, Recording())
    first = settings.stages[0].steps
    for job.step, expected in ((1, False), (first, False), (first + 1, True), (settings.steps, True)):
        assert job.painted is expected
    job.step = settings.steps
    job.field.softness = 0.02
    stage, chance = settings.stages[-1], torch.Generator().manual_seed(0)
    cameras = orbit([0.0, 180.0], -40.0, 2.7, 40.0)
    dark, plain = (
        field_optimisation.render_views(job, which, cameras, None, chance, torch.Generator().manual_seed(0))
        for which in (stage, replace(stage, painted=False))
    )
    light, hit = settings.painted_light, plain.opacity[:, 0] > 0.9
    ratio = (dark.volume.colour[hit] / plain.volume.colour[hit]).mean()
    assert light.ambient - light.underside < ratio < light.ambient + light.diffuse and ratio < 0.85, "seen from below"
