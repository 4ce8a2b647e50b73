"""Frames and messages: round trips without copies, and every kind of bad frame refused with its code."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
import wire_examples

from dreamlift.protocol import codec, limits, messages
from dreamlift.protocol.errors import ProtocolError

ALL = {**messages.FROM_CLIENT, **messages.FROM_SERVER}
JOB = wire_examples.JOB


def header(**changes):
    fields = {"version": 1, "type": "ping", "id": 4, "job": "", "sequence": 0, "body": {}, "buffers": []}
    return msgpack.packb({**fields, **changes})


def refusal(frames, known=ALL, **options):
    with pytest.raises(ProtocolError) as caught:
        codec.decode(frames, known, **options)
    return caught.value


def same(one, other):
    return one.to_body() == other.to_body() and all(
        np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items()
    )


@pytest.mark.parametrize("example", wire_examples.EXAMPLES, ids=lambda example: example[0].TYPE)
def test_every_message_survives_the_way_there(example):
    message, identity, job, sequence = example
    envelope = codec.decode(codec.encode(message, id=identity, job=job, sequence=sequence), ALL)
    assert (envelope.id, envelope.job, envelope.sequence) == (identity, job, sequence)
    assert same(envelope.message, message)
    assert set(envelope.message.arrays()) == set(message.arrays())


def test_decoded_arrays_are_views_of_the_frames_and_read_only():
    data = np.arange(1000, dtype=np.uint8)
    message = messages.Chunk(sha256=wire_examples.SHA, offset=0, size=1000, data=data)
    frames = [bytes(frame) for frame in codec.encode(message)]
    decoded = codec.decode(frames, ALL).message.data
    assert np.shares_memory(decoded, np.frombuffer(frames[1], np.uint8))
    assert not decoded.flags.writeable


def test_encoding_a_contiguous_array_copies_nothing():
    data = np.zeros(1 << 20, np.uint8)
    frames = codec.encode(messages.Chunk(sha256=wire_examples.SHA, offset=0, size=1 << 20, data=data))
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), data)


def test_arrays_of_any_layout_and_of_no_length_travel():
    triangle = dict(wire_examples._triangle)
    triangle["vertices"] = np.asfortranarray(np.random.rand(5, 3).astype(">f4"))
    triangle["colors"] = np.ones((10, 4), np.float32)[::2]
    for name, width in (("faces", 3), ("edges", 2), ("face_edges", 3)):
        triangle[name] = np.zeros((0, width), np.int32)
    envelope = codec.decode([bytes(f) for f in codec.encode(messages.Mesh(**triangle), job=JOB)], ALL)
    assert np.array_equal(envelope.message.vertices, triangle["vertices"])
    assert envelope.message.vertices.dtype == np.dtype("<f4")
    assert envelope.message.faces.shape == (0, 3)
    assert envelope.message.uvs is None


def test_unknown_fields_and_buffers_are_ignored():
    frame = header(
        type="cancel", job=JOB, body={"later": [1]}, extra=5, buffers=[{"name": "new", "dtype": "uint8", "shape": [2]}]
    )
    assert isinstance(codec.decode([frame, b"ab"], ALL).message, messages.Cancel)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([], "too_many_frames"),
        ([header()] + [b""] * limits.MAX_FRAMES, "too_many_frames"),
        ([b"\0" * (limits.MAX_HEADER_BYTES + 1)], "frame_too_large"),
        ([b""], "bad_header"),
        ([b"\xc1"], "bad_header"),
        ([header() + b"\0"], "bad_header"),
        ([header()[:-3]], "bad_header"),
        ([msgpack.packb([1, 2])], "bad_header"),
        ([b"\x91" * 100_000], "bad_header"),
        ([header(body={"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}}}})], "bad_header"),
        ([header(body={"a": "x" * (limits.MAX_TEXT + 1)})], "bad_header"),
        ([header(body={"a": [0] * (limits.MAX_ITEMS + 1)})], "bad_header"),
        ([header(body={"a": b"bytes"})], "bad_header"),
        ([header(body={"a": msgpack.ExtType(5, b"x")})], "bad_header"),
        ([header(body={1: 2})], "bad_header"),
        ([header(id=-1)], "bad_header"),
        ([header(id="1")], "bad_header"),
        ([header(id=True)], "bad_header"),
        ([header(sequence=2**60)], "bad_header"),
        ([header(job="../../etc")], "bad_header"),
        ([header(job=7)], "bad_header"),
        ([header(type="cancel")], "bad_header"),
        ([header(version=2)], "version_unsupported"),
        ([header(version="1")], "version_unsupported"),
        ([header(type="import os")], "unknown_type"),
        ([header(type=None)], "unknown_type"),
        ([header(type="subscribe", job=JOB, body={"after": -1})], "bad_body"),
        ([header(type="subscribe", job=JOB, body=[])], "bad_body"),
        ([header(type="move", job=JOB, body={"before": "x"})], "bad_body"),
        ([header(type="hello", body={})], "bad_body"),
        ([header(buffers=5)], "bad_buffers"),
        ([header(), b"x"], "bad_buffers"),
        ([header(buffers=[{}]), b""], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "object", "shape": [1]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "|O", "shape": [1]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": []}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": [1, 1, 1, 1, 1]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": [-1]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": [2**40, 2**40]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": [2]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": [True]}]), b"x"], "bad_buffers"),
        ([header(buffers=[{"name": "a", "dtype": "uint8", "shape": [1]}] * 2), b"x", b"x"], "bad_buffers"),
    ],
)
def test_a_bad_message_is_refused_with_its_code(frames, code):
    assert refusal(frames).code == code


def test_a_message_over_the_callers_limit_is_refused():
    frames = codec.encode(wire_examples.EXAMPLES[0][0])
    assert refusal(frames, most_bytes=10).code == "frame_too_large"


def test_a_refusal_carries_the_id_and_job_where_they_could_be_read():
    error = refusal([header(type="nonsense", id=9, job=JOB)])
    assert (error.id, error.job) == (9, JOB)


def test_each_side_knows_only_what_the_other_may_say():
    submit = codec.encode(messages.Ping(), id=1)
    assert codec.decode(submit, messages.FROM_SERVER).message == messages.Ping()
    frames = codec.encode(messages.Cancel(), id=1, job=JOB)
    assert refusal(frames, messages.FROM_SERVER).code == "unknown_type"


def test_buffers_that_disagree_with_each_other_are_refused():
    triangle = {**wire_examples._triangle, "colors": np.ones((4, 4), np.float32)}
    with pytest.raises(ProtocolError, match="colors"):
        codec.encode(messages.Mesh(**triangle), job=JOB)


def test_what_a_receiver_would_refuse_is_never_sent():
    with pytest.raises(ProtocolError, match="prompt"):
        codec.encode(messages.Submit(token="0" * 32, request=messages.JobRequest(prompt="x" * 2001)))
    with pytest.raises(ProtocolError, match="fraction"):
        codec.encode(messages.Progress(stage="s", stage_index=0, stage_count=1, step=0, steps=1, fraction=float("nan")))


def test_numpy_numbers_travel_as_plain_ones():
    progress = messages.Progress(
        stage="s", stage_index=0, stage_count=1, step=np.int64(3), steps=5, fraction=np.float64(0.5)
    )
    assert codec.decode(codec.encode(progress, job=JOB), ALL).message.step == 3
