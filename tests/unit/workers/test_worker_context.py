"""What a pipeline says through its context, as it leaves the worker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recording_channel import RecordingChannel

from dreamlift.pipelines.context import MeshPreview, Progress, Stop, ViewsPreview
from dreamlift.protocol import messages, worker_channel
from dreamlift.workers import context as module
from dreamlift.workers.context import WorkerContext, thumbnail

JOB = "0123456789abcdef"


class Clock:
    """Stands in for the `time` module of the context."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def channel():
    return RecordingChannel()


@pytest.fixture
def context(channel, clock, tmp_path):
    return WorkerContext(channel, JOB, 2, tmp_path, lambda: torch.device("cpu"))


def triangle(height=0.0):
    vertices = np.array([[0, 0, height], [1, 0, 0], [0, 1, 0]], np.float64)
    faces = np.array([[0, 1, 2]])
    edges = np.array([[0, 1], [1, 2], [2, 0]])
    return MeshPreview(vertices, faces, edges, np.array([[0, 1, 2]]), np.ones((3, 4)))


def step(number, steps=100, stage="Shape"):
    return Progress(stage, 0, 2, number, steps, 5.0)


def test_progress_is_thinned_to_five_a_second_but_not_over_stages(context, channel, clock):
    for number in range(100):
        context.progress(step(number))
        clock.now += 0.01
    assert 5 <= len(channel.offered) <= 6
    context.progress(step(0, stage="Texture"))
    assert channel.offered[-1].stage == "Texture"


@pytest.mark.parametrize("left", [None, float("nan"), float("inf"), -1.0])
def test_a_forecast_that_is_no_number_is_left_out(context, channel, left):
    context.progress(Progress("Shape", 0, 1, 5, 0, left))
    assert channel.offered[-1].seconds_left is None
    assert 0 <= channel.offered[-1].fraction <= 1


def test_a_mesh_travels_as_a_copy_with_the_wires_types(context, channel):
    preview = triangle()
    context.publish(preview)
    preview.vertices[:] = 99
    mesh = channel.offered[-1]
    assert mesh.vertices.dtype == np.float32 and mesh.vertices.max() == 1
    assert (mesh.attempt, mesh.topology) == (2, 1)


def test_topology_grows_only_when_it_changes(context, channel):
    context.publish(triangle())
    context.publish(triangle(0.5))
    other = triangle()
    context.publish(MeshPreview(other.vertices, other.faces[:, ::-1], other.edges, other.face_edges, other.colors))
    context.publish(MeshPreview(**{**vars(other), "uvs": np.zeros((1, 3, 2))}))
    assert [mesh.topology for mesh in channel.offered] == [1, 1, 2, 3]


def test_previews_are_wanted_at_once_then_every_two_seconds(context, clock):
    assert context.wants_preview()
    context.publish(triangle())
    assert not context.wants_preview()
    clock.now += 2.1
    assert context.wants_preview()


def test_a_preview_that_nobody_asked_for_does_not_look_dear(context, clock):
    clock.now += 1000
    context.publish(triangle())
    clock.now += 2.1
    assert context.wants_preview(), "the first one"
    context.publish(triangle())
    assert not context.wants_preview()
    clock.now += 1.9
    context.publish(triangle())  # at the end of a stage
    clock.now += 2.1
    assert context.wants_preview(), "a later one"


def test_dear_previews_are_wanted_less_often(context, clock):
    assert context.wants_preview()
    clock.now += 1.5  # what making it costs
    context.publish(triangle())
    clock.now += 10
    assert not context.wants_preview()
    clock.now += 6
    assert context.wants_preview()
    clock.now += 3600
    context.publish(triangle())
    clock.now += 31
    assert context.wants_preview(), "but never less often than every half minute"


def test_a_thumbnail_follows_the_views_now_and_then_and_at_the_end(context, channel, clock):
    for shade in range(10):
        context.publish(ViewsPreview(np.full((4, 32, 16, 3), shade, np.uint8), ("a", "b", "c", "d")))
        clock.now += 1.0
    context.send_thumbnail()
    context.send_thumbnail()
    shades = [int(message.image[0, 0, 0]) for message in channel.said]
    assert shades == [0, 5, 9]
    assert isinstance(channel.said[0], worker_channel.Thumbnail)
    assert channel.offered[-1].names == ("a", "b", "c", "d")


@pytest.mark.parametrize("size", [(1, 1), (32, 16), (200, 300)])
def test_a_thumbnail_is_64_pixels_whatever_the_picture(size):
    image = np.arange(size[0] * size[1] * 3, dtype=np.int64).reshape(*size, 3).astype(np.uint8)
    small = thumbnail(image)
    assert small.shape == (64, 64, 3) and (small[0, 0] == image[0, 0]).all()


def test_warnings_are_kept_in_order(context, channel):
    context.warn("few_steps", "Few.", "More.")
    assert channel.said == [messages.Warning(code="few_steps", what="Few.", remedy="More.")]


@pytest.mark.parametrize("wish", [None, "cancel", "finish", "pause"])
def test_stop_wishes(context, channel, wish):
    channel.wish = wish
    assert context.should_stop() == (None if wish is None else Stop(wish))


def test_a_checkpoint_comes_back_and_a_damaged_one_is_put_aside(context, channel, tmp_path):
    assert context.restore() is None
    context.checkpoint({"step": 5, "field": torch.arange(3.0)})
    restored = context.restore()
    assert restored["step"] == 5 and restored["field"].tolist() == [0.0, 1.0, 2.0]
    (tmp_path / module.CHECKPOINT).write_bytes(b"nonsense")
    assert context.restore() is None
    assert channel.said[-1].code == "checkpoint_damaged"
    assert context.restore() is None and len(channel.said) == 1


def test_the_device_is_opened_once_and_only_when_asked(channel, tmp_path):
    opened = []
    context = WorkerContext(channel, JOB, 1, tmp_path, lambda: opened.append(1) or torch.device("cpu"))
    assert opened == []
    assert context.device == context.device == torch.device("cpu")
    assert opened == [1]
