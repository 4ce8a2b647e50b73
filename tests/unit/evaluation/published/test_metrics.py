"""The papers' metrics with small fixed networks: equal pictures have the best value, others do not, formulas hold."""

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from dreamlift.evaluation.published.clip import LocalClip, image_scores, r_precision, text_scores
from dreamlift.evaluation.published.contextual import Contextual
from dreamlift.evaluation.published.inception import quality_scores
from dreamlift.evaluation.published.lpips import Lpips, read_lpips
from dreamlift.evaluation.published.networks import alexnet, vgg
from dreamlift.priors.clip_images import clip_pixels
from dreamlift.priors.weight_errors import WeightsError

PICTURES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def random_backbone():
    torch.manual_seed(0)
    return vgg((8, "M", 12), (1, 4))


def test_lpips_is_nothing_between_equal_pictures_and_grows_with_noise():
    distance = Lpips(random_backbone(), [torch.ones(8), torch.ones(12)])
    assert torch.equal(distance(PICTURES, PICTURES), torch.zeros(3))
    noise = torch.randn(PICTURES.shape, generator=torch.Generator().manual_seed(2))
    little, much = (distance(PICTURES, (PICTURES + spread * noise).clamp(0, 1)) for spread in (0.05, 0.5))
    assert (0 < little).all() and (little < much).all()


def test_lpips_is_the_formula_of_the_paper():
    """With the picture itself as activations and one head of ones: the mean squared distance of unit colours."""
    distance = Lpips(lambda images: [images], [torch.ones(3)])
    one, other = torch.tensor([[0.485, 0.456, 0.406]]), torch.tensor([[1.0, 0.0, 0.0]])
    scaled = [(2 * colour - 1 - torch.tensor([-0.030, -0.088, -0.188])) / torch.tensor([0.458, 0.448, 0.450])
              for colour in (one, other)]  # fmt: skip
    known = (F.normalize(scaled[0], dim=1) - F.normalize(scaled[1], dim=1)).square().sum()
    images = [colour.view(1, 3, 1, 1).expand(1, 3, 4, 4) for colour in (one, other)]
    assert float(distance(*images)) == pytest.approx(float(known), rel=1e-5)


def test_lpips_is_read_from_one_file_of_backbone_and_heads(tmp_path):
    torch.manual_seed(0)
    network = alexnet()
    tensors = {f"net.slice1.{key}": value for key, value in network.features.state_dict().items()}
    heads = {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1) for k, c in enumerate((64, 192, 384, 256, 256))}
    save_file({**tensors, **heads}, tmp_path / "lpips.safetensors")
    distance = read_lpips(tmp_path / "lpips.safetensors", "alex")
    pair = torch.rand(2, 1, 3, 64, 64)
    known = Lpips(network.eval(), [head.flatten() for head in heads.values()])(*pair)
    assert torch.allclose(distance(*pair), known) and float(known) > 0
    save_file(tensors, tmp_path / "half.safetensors")
    with pytest.raises(WeightsError, match=r"no lin0\.model\.1\.weight"):
        read_lpips(tmp_path / "half.safetensors", "alex")


def test_the_contextual_distance_does_not_mind_where_features_are():
    distance = Contextual(lambda images: [F.avg_pool2d(images, 4)])
    picture = PICTURES[0]
    assert distance(picture, picture) == pytest.approx(0, abs=1e-3)
    moved = picture.roll((8, 12), dims=(1, 2))
    assert distance(moved, picture) == pytest.approx(0, abs=1e-3)
    assert distance(PICTURES[1], picture) > 0.2


def test_a_wider_band_lets_more_features_count():
    one, other = PICTURES[:2]
    narrow, wide = (Contextual(lambda images: [F.avg_pool2d(images, 4)], h)(one, other) for h in (0.1, 0.5))
    assert narrow < wide


def test_the_quality_score_runs_from_one_to_the_number_of_classes():
    unsure = quality_scores(lambda images: torch.zeros(len(images), 1000), PICTURES)
    sure = quality_scores(lambda images: F.one_hot(torch.tensor([1, 2, 3]), 1000) * 1e4, PICTURES)
    assert unsure == pytest.approx(torch.ones(3), rel=1e-4) and sure == pytest.approx(
        torch.full((3,), 1000.0), rel=1e-4
    )
    half = quality_scores(lambda images: torch.tensor([[50.0, 50.0, -50.0, -50.0]]), PICTURES[:1])
    assert float(half) == pytest.approx(2), "two of four classes"


class Towers:
    """Pictures and words by their mean colour."""

    def embed_images(self, images):
        return F.normalize(images.mean((2, 3)), dim=-1)

    def embed_texts(self, prompts):
        return torch.stack([torch.eye(3)[("red", "green", "blue").index(prompt)] for prompt in prompts])


def test_clip_scores_are_cosines_times_a_hundred():
    red, grey = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    red[:, 0] = 1
    images = torch.cat([red, grey])
    assert text_scores(Towers(), images, "red").tolist() == pytest.approx([100, 100 / math.sqrt(3)])
    assert image_scores(Towers(), images, red[0]).tolist() == pytest.approx([100, 100 / math.sqrt(3)])


def test_r_precision_counts_the_right_prompts_and_equal_ones_once():
    red, green = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    red[:, 0], green[:, 1] = 1, 1
    images = torch.cat([red, red, green, red])
    assert r_precision(Towers(), images, "red", ["green", "red", "red", "blue"]) == 0.75
    assert r_precision(Towers(), images, "blue", ["green", "red"]) == 0.0


def test_a_local_clip_is_read_and_gives_unit_vectors(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 7, "max_position_embeddings": 16, "bos_token_id": 5, "eos_token_id": 6}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(tmp_path)
    vocabulary = {"r": 0, "e": 1, "d</w>": 2, "re": 3, "red</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}
    CLIPTokenizer(vocab=vocabulary, merges=[("r", "e"), ("re", "d</w>")]).save_pretrained(tmp_path)
    towers = LocalClip(tmp_path)
    images, texts = towers.embed_images(PICTURES), towers.embed_texts(["red", "red red"])
    assert images.shape == (3, 8) and texts.shape == (2, 8)
    assert torch.allclose(images.norm(dim=1), torch.ones(3)) and not torch.allclose(texts[0], texts[1])
    known = towers.model.get_image_features(clip_pixels(PICTURES, 32))
    assert torch.allclose(images, F.normalize(getattr(known, "pooler_output", known), dim=-1), atol=1e-6)
    with pytest.raises(FileNotFoundError, match="CLIP"):
        LocalClip(tmp_path / "nowhere")
