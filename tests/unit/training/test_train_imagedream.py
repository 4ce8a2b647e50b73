"""Trainers of the image-text model and of ImageDream's controllers: they run, resume and write what is their own."""

import pytest
import torch

from dreamlift.priors.attention import ImageAttention
from dreamlift.priors.image_text import ImageTextModel
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.priors.latent import read_folder
from dreamlift.priors.mvdream import MINI_FOLDER, MVDreamPrior
from dreamlift.rendering.cameras import orthogonal_views
from dreamlift.training.dataset import render_shard
from dreamlift.training.image_prompts import render_prompts
from dreamlift.training.prompts import describe, parse_prompt
from dreamlift.training.runner import load_checkpoint
from dreamlift.training.train_image_text import ImageTextTraining, contrast, train_image_text
from dreamlift.training.train_imagedream import ImageDreamTrainer, ImageDreamTraining, train_imagedream


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    paths = [folder / f"sets-{number:03d}.npz" for number in range(2)]
    for number, path in enumerate(paths):
        render_shard(path, 12, seed=number)
        render_prompts(path)
    return paths


def short(controller, seconds=2.0):
    return ImageDreamTraining(
        seconds=seconds,
        caption_steps=3,
        sheet=1,
        controller=controller,
        low_share=0.5,
        low_batch=2,
        batch=2,
        sync_seconds=0.5,
    )


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for controller in ("local", "pixel"):
        train_imagedream(shards, folder, short(controller), "test")
    return folder


def told_of(prior):
    return prior.encode(["a red cube"], torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))


def test_an_adapter_is_all_that_a_local_controller_writes(trained):
    own, _ = read_folder(trained / "local")
    assert own and all("encoder_hid_proj" in key or "processor" in key for key in own)
    assert (trained / "local" / "samples.png").is_file()


def test_a_pixel_controller_writes_its_whole_unet_and_neither_codec_nor_encoders(trained):
    own, _ = read_folder(trained / "pixel")
    shared, _ = read_folder(MINI_FOLDER)
    assert {key for key in shared if key.startswith("unet.")} <= own.keys()
    assert all(key.startswith("unet.") for key in own)
    changed = [key for key in own if key in shared and not torch.equal(own[key], shared[key])]
    assert len(changed) > 100


@pytest.mark.parametrize("controller", ["local", "pixel"])
def test_a_written_controller_is_read_again(trained, controller):
    prior = ImageDreamPrior.mini(controller, trained / controller)
    assert prior.name == "mini-imagedream test" and prior.config.controller == controller
    x, t = torch.randn(4, 8, 16, 16), torch.full((4,), 600)
    cameras = orthogonal_views(0.0, 10.0, 2.7, 40.0, 4)
    first = prior.predict_x0(x, t, told_of(prior), cameras)
    other = prior.predict_x0(x, t, prior.encode(["a red cube"], None), cameras)
    assert first.isfinite().all() and not torch.allclose(first, other, atol=1e-4)  # it sees the picture


def test_without_training_an_adapter_alone_leaves_the_shared_weights_as_they_are():
    prior, shared = ImageDreamPrior.from_parts_of_mini("local", None, ""), MVDreamPrior.mini().state_dict()
    own = prior.state_dict()
    assert all(torch.equal(own[key], value) for key, value in shared.items())


def test_an_adapter_starts_with_the_texts_keys_and_reads_pictures_as_captions(shards, tmp_path):
    untaught = ImageDreamTrainer(shards, tmp_path, ImageDreamTraining(controller="local", caption_steps=0))
    unet = untaught.prior.unet
    name, processor = next((n, p) for n, p in unet.attn_processors.items() if isinstance(p, ImageAttention))
    attention = unet.get_submodule(name.removesuffix(".processor"))
    assert torch.equal(processor.to_k_ip[0].weight, attention.to_k.weight)
    assert torch.equal(processor.to_v_ip[0].weight, attention.to_v.weight)
    taught = ImageDreamTrainer(shards, tmp_path, ImageDreamTraining(controller="local", caption_steps=40))
    captions = [describe(parse_prompt(about["prompt"])) for about in taught.sets.meta]
    wanted = taught.prior.encode_text(captions)[:, :16]
    errors = []
    for trainer in (untaught, taught):
        tokens = trainer.prior.image_tokens(trainer.pictures.get("features", torch.arange(len(captions))))
        errors.append(float((tokens - wanted).square().mean()))
    assert errors[1] < 0.8 * errors[0]


def test_a_run_resumes_where_it_stopped(shards, trained):
    before = load_checkpoint(trained / "local-training.pt")
    train_imagedream(shards, trained, short("local", before["spent"] + 2), "test")
    after = load_checkpoint(trained / "local-training.pt")
    assert after["step"] > before["step"] and after["spent"] > before["spent"]


def test_pictures_and_prompts_drop_out_as_often_as_said(shards, tmp_path):
    settings = ImageDreamTraining(
        controller="global", caption_steps=0, both_dropout=0.5, picture_dropout=0.0, plain_share=0
    )
    trainer = ImageDreamTrainer(shards, tmp_path, settings)
    index = torch.arange(12).repeat(20)
    told = trainer.told(index, 16)
    empty = trainer.prior.encode_text([""])[0]
    no_text = (told.text - empty).abs().amax((1, 2)) < 1e-5
    no_picture = (told.image - trainer.prior.zero_tokens()[0]).abs().amax((1, 2)) < 1e-5
    assert 0.35 < no_picture.float().mean() < 0.65
    assert (no_text | ~no_picture).all()  # the unconditional side has neither
    assert no_text.float().mean() > no_picture.float().mean()  # prompts also drop out alone


def test_the_image_text_model_learns_and_resumes(shards, tmp_path):
    train_image_text(shards, tmp_path, ImageTextTraining(seconds=2, batch=4), "a")
    before = load_checkpoint(tmp_path / "image-text-training.pt")
    model = train_image_text(shards, tmp_path, ImageTextTraining(seconds=before["spent"] + 1, batch=4), "b")
    assert load_checkpoint(tmp_path / "image-text-training.pt")["step"] > before["step"]
    assert ImageTextModel.from_folder(tmp_path / "image_text").version == "b"
    assert model.embed_texts(["a red cube"]).isfinite().all()


def test_the_contrast_counts_every_picture_that_means_the_same_as_right():
    one = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    meaning = torch.tensor([0, 0, 1])
    same = meaning[:, None] == meaning[None]
    scale = torch.tensor(50.0)
    right = contrast(one, one, scale, same)
    assert torch.allclose(right, torch.tensor(2 * 0.6931 / 3), atol=1e-3)  # two of three share their row with one more
    assert contrast(one, one.roll(1, 0), scale, same) > right + 1
