"""The hub's folders: the same tiny weights in each layout give the same model as the authors' single file.

The folders are written here, from the reference cases, as the converters in their makers' repositories write them.
"""

import json

import pytest
import torch
from parity.reference import SHARED, close
from safetensors.torch import save_file

from dreamlift.priors import published
from dreamlift.priors.configs import ImageDreamConfig, MVDreamConfig
from dreamlift.priors.files import MissingWeights, WrongFamily
from dreamlift.priors.imagedream import ImageContext, ImageDreamPrior
from dreamlift.priors.mvdream import MVDreamPrior

CASES = SHARED / "parity"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the reference answers are not at {CASES}")


@pytest.fixture(scope="module")
def mvdream():
    case = torch.load(CASES / "mvdream_v21_tiny.pt", weights_only=True)
    config = MVDreamConfig.from_reference(case["config"], text=case["text"])
    return case, config, MVDreamPrior.from_published(case["state_dict"], config=config)


@pytest.fixture(scope="module")
def imagedream():
    case = torch.load(CASES / "imagedream_pixel_tiny.pt", weights_only=True)
    sizes = {name: case[name] for name in ("text", "vision", "resampler")}
    config = ImageDreamConfig.from_reference(case["config"], **sizes)
    return case, config, ImageDreamPrior.from_published(case["state_dict"], config=config)


def put(folder, component, name, tensors):
    (folder / component).mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / component / f"{name}.safetensors")


def put_encoders(folder, prior):
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    vae = {}
    for key, value in prior.vae.state_dict().items():
        for new, before in old.items():
            key = key.replace(new, before)
        vae[key] = value
    put(folder, "vae", "diffusion_pytorch_model", vae)
    text = {f"text_model.{key}": value for key, value in prior.text_encoder.state_dict().items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    put(folder, "text_encoder", "model", text)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "MVDreamPipeline"}))


def unet_of(layout, case, prior):
    """Tensors of `unet/`, and of `camera_proj/` where the layout has one."""
    ldm = published.below(case["state_dict"], published.UNET)
    if layout == "authors' keys":
        return ldm, {}
    if layout == "below unet.":
        return {f"unet.{key}": value for key, value in ldm.items()}, {}
    own = prior.unet.state_dict()
    camera = published.below(own, "class_embedding.")
    return {key: value for key, value in own.items() if not key.startswith("class_embedding.")}, camera


@pytest.mark.parametrize("layout", ["authors' keys", "below unet.", "diffusers' keys"])
def test_mvdream_in_a_folder_is_the_same_model(layout, mvdream, tmp_path):
    case, config, prior = mvdream
    unet, camera = unet_of(layout, case, prior)
    put(tmp_path, "unet", "diffusion_pytorch_model", unet)
    if camera:
        put(tmp_path, "camera_proj", "diffusion_pytorch_model", camera)
    put_encoders(tmp_path, prior)
    again = MVDreamPrior.from_published(tmp_path, config=config)
    mine, theirs = again.state_dict(), prior.state_dict()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)
    given = case["inputs"]
    close(again.predict(given["x"], given["t"], given["context"], given["camera"]), case["outputs"]["eps"])


def test_imagedream_in_a_folder_without_its_last_projection_is_the_same_model(imagedream, tmp_path):
    case, config, prior = imagedream
    put(tmp_path, "unet", "diffusion_pytorch_model", published.below(case["state_dict"], published.UNET))
    put_encoders(tmp_path, prior)
    vision = prior.image_encoder.state_dict()
    vision = {key: value for key, value in vision.items() if key != "visual_projection.weight"}
    put(tmp_path, "image_encoder", "model", vision)
    again = ImageDreamPrior.from_published(tmp_path, config=config)
    given = case["inputs"]
    close(again.image_features(given["clip_pixels"]), case["outputs"]["image_features"])
    told = ImageContext(given["context"], again.image_tokens(given["ip"]), given["ip_img"])
    close(again.predict_frames(given["x"], given["t"], told, given["camera"]), case["outputs"]["eps"])


def test_a_folder_without_cameras_says_that_it_is_no_multi_view_model(mvdream, tmp_path):
    case, config, prior = mvdream
    put(tmp_path, "unet", "diffusion_pytorch_model", unet_of("diffusers' keys", case, prior)[0])
    with pytest.raises(MissingWeights, match="no camera_proj"):
        MVDreamPrior.from_published(tmp_path, config=config)


def test_a_folder_without_a_part_says_which(mvdream, tmp_path):
    case, config, _ = mvdream
    put(tmp_path, "unet", "diffusion_pytorch_model", published.below(case["state_dict"], published.UNET))
    with pytest.raises(MissingWeights, match="vae"):
        MVDreamPrior.from_published(tmp_path, config=config)


def test_the_single_file_and_its_tensors_give_the_same_model(mvdream, tmp_path):
    case, config, prior = mvdream
    path = tmp_path / "sd-v2.1-base-4view.pt"
    torch.save(case["state_dict"], path)
    again = MVDreamPrior.from_published(path, config=config)
    assert torch.equal(again.unet.conv_in.weight, prior.unet.conv_in.weight)
    with pytest.raises(FileNotFoundError, match="vocab.json is missing"):
        again.encode_text(["a chair"])


def test_a_file_of_the_other_family_says_so(mvdream, imagedream, tmp_path):
    for (case, *_), (_, config, prior) in ((mvdream, imagedream), (imagedream, mvdream)):
        path = tmp_path / f"{type(prior).__name__}.pt"
        torch.save(case["state_dict"], path)
        with pytest.raises(WrongFamily):
            type(prior).from_published(path, config=config)


@pytest.mark.parametrize("family", ["mvdream", "imagedream"])
def test_saved_published_weights_come_back_exactly_with_their_configuration(family, request, tmp_path):
    _, config, prior = request.getfixturevalue(family)
    prior.save(tmp_path, "published", dtype=torch.float32)
    again = type(prior).from_folder(tmp_path)
    mine, theirs = again.state_dict(), prior.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    assert again.name == f"{config.name} published" and again.licence == config.licence
    assert again.config.unet["cross_attention_dim"] == config.unet["cross_attention_dim"]
