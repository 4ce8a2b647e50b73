"""The pictures of some seeds: what arrives is put to its seed, and what is chosen is what was drawn."""

import numpy as np
import pytest
from blender_addon.protocol.messages import JobRequest, Views

from blender_addon.jobs.job import Job
from blender_addon.jobs.seed_preview import SHOWN_VIEWS, SeedPreview

NAMES = ("front", "right", "back", "left")


def preview(seeds=(3, 7, 11)) -> SeedPreview:
    request = JobRequest(prompt="a red mushroom", preset="full", goal="views", seeds=seeds, seed=3, name="Red mushroom")
    return SeedPreview(Job("", request.name, request))


def views(seeds, shade, names=NAMES) -> Views:
    return Views(names=names, seeds=seeds, images=np.full((len(seeds) * len(names), 2, 2, 3), shade, np.uint8))


def test_pictures_go_to_their_seeds_as_they_arrive():
    shown = preview()
    assert shown.rows() == [(3, []), (7, []), (11, [])] and not shown.fresh
    shown.take(views((3, 7), 10))
    assert [len(pictures) for _, pictures in shown.rows()] == [4, 4, 0] and shown.fresh
    shown.take(views((3, 7, 11), 20))
    assert [pictures[0].max() for _, pictures in shown.rows()] == [20, 20, 20]


def test_the_finished_pictures_stay():
    shown = preview()
    shown.finish(np.full((3, 4, 2, 2, 3), 90, np.uint8))
    shown.take(views((3,), 10))
    assert shown.complete and all(pictures[3].max() == 90 for _, pictures in shown.rows())


def test_a_preview_that_was_ended_early_has_fewer_rows():
    shown = preview()
    shown.finish(np.full((2, 4, 2, 2, 3), 90, np.uint8))
    assert [len(pictures) for _, pictures in shown.rows()] == [4, 4, 0]


@pytest.mark.parametrize(
    "message",
    [
        views((), 9),
        views((99,), 9),
        Views(names=NAMES, seeds=(3, 7), images=np.zeros((4, 2, 2, 3), np.uint8)),
        Views(names=(), seeds=(3,), images=np.zeros((0, 2, 2, 3), np.uint8)),
    ],
    ids=["no seeds", "another's seed", "too few pictures", "no pictures"],
)
def test_pictures_that_do_not_fit_are_left_alone(message):
    shown = preview()
    shown.take(message)
    assert all(pictures == [] for _, pictures in shown.rows())


def test_an_orbit_is_thinned_out_evenly():
    shown = preview((3,))
    images = np.arange(18, dtype=np.uint8).reshape(1, 18, 1, 1, 1).repeat(3, axis=4)
    shown.finish(images)
    ((_, pictures),) = shown.rows()
    assert [int(picture.max()) for picture in pictures] == [0, 4, 9, 13] and len(pictures) == SHOWN_VIEWS


def test_the_chosen_seed_makes_an_object_of_the_prompt_that_was_drawn():
    request = preview().chosen(7, {"size_m": 2.0})
    assert (request.goal, request.seed, request.seeds) == ("object", 7, ())
    assert (request.prompt, request.preset, request.settings) == ("a red mushroom", "full", {"size_m": 2.0})
    with pytest.raises(ValueError, match="99"):
        preview().chosen(99, {})
