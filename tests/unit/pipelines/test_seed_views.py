"""Views of seeds: batches, what is shown meanwhile, and how it ends early. The models here are scripted."""

import numpy as np
import pytest
import torch

from dreamlift.pipelines.context import Stop, Stopped
from dreamlift.pipelines.seed_views import PREVIEW_SIZE, sample_seeds


class Orbit:
    """Draws 18 grey pictures a seed, as V3D's orbit has them; the grey is the seed's and grows with the steps."""

    names = tuple(f"{20 * k}" for k in range(18))
    steps = 5

    def __init__(self, most_at_once=2, size=8):
        self.most_at_once, self.size = most_at_once, size
        self.batches = []

    def draw(self, seeds):
        self.batches.append(seeds)
        for step in range(1, self.steps + 1):
            shades = torch.tensor(seeds, dtype=torch.float32) / 10 * step / self.steps
            yield lambda shades=shades: shades.repeat_interleave(18).view(-1, 1, 1, 1).expand(-1, 3, *[self.size] * 2)


class Watching:
    """A context that keeps what it is told and wishes for a stop after some steps."""

    def __init__(self, stop=None, after=0):
        self.stop, self.after = stop, after
        self.steps, self.shown = [], []

    def progress(self, progress):
        self.steps.append(progress)

    def publish(self, preview):
        self.shown.append(preview)

    def wants_preview(self):
        return len(self.steps) % 2 == 0

    def should_stop(self):
        return self.stop if len(self.steps) >= self.after else None


def test_every_seed_of_every_batch_comes_back_in_order():
    source, context = Orbit(), Watching()
    images, seeds = sample_seeds(source, (1, 2, 3), context)
    assert source.batches == [(1, 2), (3,)] and seeds == (1, 2, 3)
    assert images.shape == (3, 18, 8, 8, 3) and images.dtype == np.uint8
    assert [int(row.max()) for row in images] == [26, 51, 76] and images[1].min() == 51


def test_progress_runs_over_all_batches_and_says_the_time_left():
    context = Watching()
    sample_seeds(Orbit(), (1, 2, 3), context)
    assert [progress.step for progress in context.steps] == list(range(1, 11))
    assert context.steps[-1].fraction == 1 and context.steps[-1].seconds_left == 0


def test_what_is_shown_names_the_seeds_drawn_so_far_and_ends_with_all():
    context = Watching()
    sample_seeds(Orbit(), (1, 2, 3), context)
    assert [preview.seeds for preview in context.shown] == [(1, 2)] * 2 + [(1, 2, 3)] * 3
    for preview in context.shown:
        assert len(preview.images) == len(preview.seeds) * len(preview.names)


def test_pictures_on_the_way_are_small_and_the_result_is_not():
    context = Watching()
    images, _ = sample_seeds(Orbit(size=512), (1,), context)
    assert max(context.shown[0].images.shape[1:3]) <= PREVIEW_SIZE and images.shape[2:4] == (512, 512)


@pytest.mark.parametrize("reason", [Stop.CANCEL, Stop.PAUSE])
def test_cancel_and_pause_end_it_at_once(reason):
    context = Watching(reason, after=3)
    with pytest.raises(Stopped) as caught:
        sample_seeds(Orbit(), (1, 2, 3), context)
    assert caught.value.reason is reason and len(context.steps) == 3


def test_finish_keeps_the_pictures_as_far_as_they_are():
    source, context = Orbit(), Watching(Stop.FINISH, after=2)
    images, seeds = sample_seeds(source, (1, 2, 3), context)
    assert seeds == (1, 2) and len(images) == 2 and source.batches == [(1, 2)]
    assert images[1].max() == round(0.2 * 2 / 5 * 255)
