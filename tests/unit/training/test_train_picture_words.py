"""The trainer of what reads a picture's caption."""

import numpy as np
import pytest
import torch

from dreamlift.priors.picture_words import PictureWords
from dreamlift.training.objects import COLOURS, ProceduralObject
from dreamlift.training.posed_pictures import described, ensure_posed
from dreamlift.training.prompts import template_of, templates
from dreamlift.training.runner import load_checkpoint
from dreamlift.training.train_picture_words import (
    DescribedPictures,
    PictureWordsTraining,
    reading,
    train_picture_words,
    words_loss,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return ensure_posed(tmp_path_factory.mktemp("described"), 2, count=16, processes=1)


def test_captions_go_with_their_colours():
    plain, colours = described(ProceduralObject("tree", "orange"))
    assert plain == "an orange tree with a brown trunk" and colours == (COLOURS["orange"], COLOURS["brown"])
    plain, colours = described(ProceduralObject("chair", "orange"))
    assert plain == "an orange chair" and colours == (COLOURS["orange"],) * 2
    assert described(ProceduralObject("tree", "brown"))[0] == "a brown tree with a black trunk"
    parted, colours = described(ProceduralObject("tree", "green", "red"))
    assert parted == "a green tree with a red trunk" and colours == (COLOURS["green"], COLOURS["red"])
    dotted, colours = described(ProceduralObject("ball", "green", "red", "dotted"))
    assert template_of(dotted) == "a _ ball with _ dots" and colours == (COLOURS["green"], COLOURS["red"])


def test_what_is_shown_and_what_is_to_be_read_are_varied_alike(files):
    described = DescribedPictures(files)
    described.pictures[0] = torch.tensor([255, 0, 128, 255]).view(4, 1, 1)
    described.colours[0] = torch.tensor([1.0, 0.0, 0.5])
    pictures, number, colours, named = described.varied(
        torch.zeros(30, dtype=torch.long), torch.Generator().manual_seed(0)
    )
    assert torch.allclose(pictures[:, :3, 0, 0], colours[:, 0], atol=0.01) and (pictures[:, 3] == 1).all()
    assert colours[:, 0, 1].unique().tolist() == [0.0] and colours[:, 0, 2].std() > 0.05
    assert [templates()[k] for k in number.unique()] == [template_of(described.captions[0])]
    assert named[:, 0].all() and (named[:, 1] == described.both[0]).all()
    left = torch.zeros(4, 64, 64, dtype=torch.uint8)
    left[:, :, :32] = 255
    described.pictures[0] = left
    sides = described.varied(torch.zeros(30, dtype=torch.long), torch.Generator().manual_seed(0))[0][:, 3, 0, 0]
    assert sides.unique().tolist() == [0.0, 1.0]


def test_the_loss_is_least_at_the_truth_and_asks_for_no_second_colour_where_there_is_none():
    number, true, named = torch.tensor([1, 2]), torch.rand(2, 2, 3), torch.tensor([[True, False], [True, True]])
    logits = 10 * torch.nn.functional.one_hot(number, 4).float()
    right = words_loss(logits, true, number, true, named)
    assert right < words_loss(logits.roll(1, 1), true, number, true, named) - 1
    for row, column, counts in ((0, 0, True), (0, 1, False), (1, 1, True)):
        other = true.clone()
        other[row, column] += 0.5
        assert (words_loss(logits, other, number, true, named) > right + 0.1) == counts


def test_it_trains_resumes_and_writes(files, tmp_path):
    train_picture_words(files, tmp_path, PictureWordsTraining(seconds=1.0, batch=4), "a")
    before = load_checkpoint(tmp_path / "picture-words-training.pt")
    assert before["step"] > 0
    train_picture_words(files, tmp_path, PictureWordsTraining(seconds=before["spent"] + 1.0, batch=4), "b")
    assert load_checkpoint(tmp_path / "picture-words-training.pt")["step"] > before["step"]
    written = PictureWords.from_folder(tmp_path / "picture_words")
    assert written.version == "b" and list(written.templates) == templates()
    found = reading(written, DescribedPictures(files[1:]))
    assert set(found) == {"classes", "templates", "captions", "told"}
    assert 0 <= found["captions"] <= found["templates"] <= found["classes"] <= 1
    with np.load(files[0]) as file:
        assert file["captions"].shape == (16,) and file["colours"].shape == (16, 2, 3)
