"""What reads a picture's caption: saved and read exactly, kept to what is told, and the embedded one knows things."""

import pytest
import torch
from fakes.taken_pictures import framed, taken

from dreamlift.priors.picture_words import MINI_FOLDER, PictureWords, filled, hueless
from dreamlift.priors.published import CheckpointMismatch
from dreamlift.training.objects import COLOURS
from dreamlift.training.prompts import SAID, templates, usual_colours

TEMPLATES = ["a _ mug", "a _ mug with a _ handle", "a _ and _ striped mug", "a _ ball"]


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return PictureWords(TEMPLATES, COLOURS, {TEMPLATES[1]: "white"}, {"cup": "mug"}).eval()


@pytest.fixture(scope="module")
def embedded():
    return PictureWords.mini()


def test_what_is_saved_is_read_again(untrained, tmp_path):
    untrained.save(tmp_path, "7")
    again = PictureWords.from_folder(tmp_path)
    assert again.version == "7" and not again.training
    for name in ("templates", "colours", "usual", "synonyms"):
        assert getattr(again, name) == getattr(untrained, name)
    pictures = torch.rand(2, 4, 64, 64)
    for ours, theirs in zip(untrained(pictures), again(pictures), strict=True):
        assert torch.allclose(ours, theirs, atol=2e-2)


def test_other_weights_are_refused(tmp_path):
    PictureWords(TEMPLATES, COLOURS).save(tmp_path, "1")
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace(', "a _ ball"', "").replace('"a _ ball"', '"a _ ball", "a _ cube"'))
    with pytest.raises(CheckpointMismatch, match="sentence"):
        PictureWords.from_folder(tmp_path)


def test_colours_and_classes_that_a_prompt_names_are_known_by_their_synonyms(untrained):
    assert untrained.named("A yellow Cup, or a red thing") == (["yellow", "red"], {"mug"})
    assert untrained.named("a dragon with dots") == ([], set())


def test_what_is_told_is_kept(untrained):
    picture = torch.rand(4, 80, 80, generator=torch.Generator().manual_seed(0))
    assert untrained.caption(picture, "ball").endswith(" ball")
    assert untrained.caption(picture, "a striped cup").endswith(" striped mug")
    assert untrained.caption(picture, "mug with a handle").endswith(" handle")
    assert untrained.caption(picture, "red ball") == "a red ball"
    both = untrained.caption(picture, "orange and red striped").split()
    assert {word for word in both if word in COLOURS} == {"orange", "red"}
    assert untrained.caption(picture, "a dragon") == untrained.caption(picture)


def test_a_colour_is_read_where_the_network_looks(untrained):
    """In a picture of one colour all places say it, times the gain; what is outside of it does not matter."""
    picture = torch.zeros(4, 64, 64)
    picture[:, 16:48, 16:48] = torch.tensor([0.8, 0.1, 0.1, 1.0]).view(4, 1, 1)
    _, colours = untrained(picture[None])
    gains = colours[0] / torch.tensor([0.8, 0.1, 0.1])
    assert torch.allclose(gains, gains[:, :1].expand(2, 3), rtol=1e-3) and (gains > 0).all()


def test_it_sees_no_hues(untrained):
    generator = torch.Generator().manual_seed(3)
    opacity = (torch.rand(2, 1, 64, 64, generator=generator) > 0.3).float()
    pictures = torch.cat([torch.rand(2, 3, 64, 64, generator=generator) * opacity, opacity], 1)
    other = pictures[:, [2, 0, 1, 3]]
    assert torch.allclose(hueless(other), hueless(pictures), atol=1e-5)
    (logits, colours), (again, turned) = untrained(pictures), untrained(other)
    assert torch.allclose(again, logits, atol=1e-4) and torch.allclose(turned, colours[..., [2, 0, 1]], atol=1e-4)


def test_where_colours_change_is_seen_under_any_light():
    picture = torch.ones(1, 4, 64, 64)
    picture[0, :3] = torch.tensor([0.2, 0.4, 0.8]).view(3, 1, 1) * torch.linspace(0.5, 1.0, 64)
    plain = hueless(picture)[0, 4]
    picture[0, :3, 20:24, 20:24] = torch.tensor([0.8, 0.4, 0.2]).view(3, 1, 1)
    seen = hueless(picture)[0, 4]
    assert seen[20:24, 20:24].min() > 0.4 and plain.max() < 0.05 and seen[:16].max() < 0.05


def test_an_empty_picture_says_something_finite(untrained):
    _, colours = untrained(torch.zeros(1, 4, 64, 64))
    assert colours.isfinite().all() and untrained.caption(torch.zeros(4, 64, 64))


def test_what_goes_without_saying_is_not_said(untrained):
    assert untrained.said(TEMPLATES[1], ["red", "white"]) == "a red mug"
    assert untrained.said(TEMPLATES[1], ["red", "blue"]) == "a red mug with a blue handle"
    assert untrained.said(TEMPLATES[2], ["red", "white"]) == "a red and white striped mug"


def test_articles_agree():
    assert filled("a _ mug with a _ handle", ["orange", "blue"]) == "an orange mug with a blue handle"
    assert filled("a _ and _ striped ball", ["red", "orange"]) == "a red and orange striped ball"


def test_the_embedded_model_speaks_the_language_of_the_mini_models(embedded):
    assert list(embedded.templates) == templates() and embedded.colours == COLOURS
    assert embedded.usual == usual_colours() and embedded.synonyms == SAID
    assert (MINI_FOLDER / "README.md").exists()


# None of these pairs of class and colour was trained on.
@pytest.mark.parametrize(
    ("caption", "azimuth", "elevation"),
    [
        ("a blue chair", -35, 12),
        ("a green car with a white roof", 40, 8),
        ("an orange mug with a blue handle", 50, 14),
        ("a red duck", -20, 6),
        ("a cyan house", 25, 10),
        ("a red table with white legs", -30, 20),
        ("a brown and yellow striped ball", 30, 20),
        ("a purple rocket with yellow fins", 10, 5),
    ],
)
def test_the_embedded_model_says_what_it_sees_of_things_it_never_saw(embedded, caption, azimuth, elevation):
    assert embedded.caption(framed(taken(caption, azimuth, elevation))) == caption
