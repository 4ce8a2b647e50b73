"""The small image-text model: it is saved and read exactly, and its embedded weights tell objects apart."""

import pytest
import torch

from dreamlift.priors.image_text import ImageTextModel
from dreamlift.rendering.cameras import orbit
from dreamlift.training.objects import COLOURS
from dreamlift.training.prompts import parse_prompt
from dreamlift.training.render import over, render


def test_what_is_saved_is_read_again(tmp_path):
    torch.manual_seed(0)
    model = ImageTextModel(["a", "red", "cube"])
    model.save(tmp_path, "7")
    again = ImageTextModel.from_folder(tmp_path)
    pictures = torch.rand(2, 3, 80, 64)
    assert again.version == "7" and again.tokenizer.words == ("a", "red", "cube")
    assert torch.allclose(again.embed_images(pictures), model.embed_images(pictures), atol=2e-3)
    assert torch.allclose(again.embed_texts(["a red cube"]), model.embed_texts(["a red cube"]), atol=2e-3)


def test_embeddings_are_unit_vectors():
    model = ImageTextModel(["a"])
    for vectors in (model.embed_images(torch.rand(3, 3, 64, 64)), model.embed_texts(["a", ""])):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(len(vectors)), atol=1e-5)


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json"):
        ImageTextModel.from_folder(tmp_path)


def pictures_of(prompts):
    camera = orbit([25.0], 15.0, 2.7, 40.0)
    return torch.cat([over(render(parse_prompt(text), camera), torch.tensor(0.5)) for text in prompts])


def test_the_embedded_model_finds_the_colour_and_the_class_of_objects_it_never_saw():
    model = ImageTextModel.mini()
    unseen = ["a blue chair", "a green car", "an orange mug", "a red duck", "a pink tree", "a green snowman"]
    seen = model.embed_images(pictures_of(unseen))
    classes = model.embed_texts(unseen)
    assert (seen @ classes.T).argmax(1).tolist() == list(range(len(unseen)))
    for k, text in enumerate(unseen):
        colours = [f"a {colour} {text.split()[-1]}" for colour in COLOURS]
        ranked = (seen[k] @ model.embed_texts(colours).T).argsort(descending=True)[:3].tolist()
        assert text.split()[1] in [list(COLOURS)[i] for i in ranked]
