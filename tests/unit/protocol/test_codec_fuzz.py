"""Whatever bytes come, `decode` gives a message or a typed refusal, and nothing else."""

from __future__ import annotations

import msgpack
import wire_examples
from fuzzing import Fuzzer
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamlift.protocol import codec, messages, worker_channel
from dreamlift.protocol.errors import CODES, ProtocolError

ALL = {**messages.FROM_CLIENT, **messages.FROM_SERVER, **worker_channel.FROM_WORKER, **worker_channel.TO_WORKER}
VALID = [[bytes(f) for f in codec.encode(m, id=i, job=j, sequence=s)] for m, i, j, s in wire_examples.EXAMPLES]
RUNS = settings(max_examples=60, deadline=None)
which = st.integers(0, len(VALID) - 1)
small = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary()
values = small | st.lists(small, max_size=3) | st.dictionaries(st.text(max_size=4), small, max_size=3)


def must_decode_or_refuse(frames):
    try:
        codec.decode(frames, ALL)
    except ProtocolError as error:
        assert error.code in CODES
        codec.encode(messages.Error(code=error.code, what=error.what, remedy=error.remedy))  # and it can be answered


@RUNS
@given(st.lists(st.binary(max_size=100), max_size=20))
def test_random_frames(frames):
    must_decode_or_refuse(frames)


@RUNS
@given(which, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5))
def test_changed_bytes(number, changes):
    frames = [bytearray(frame) for frame in VALID[number]]
    for frame, position, value in changes:
        changed = frames[frame % len(frames)]
        if changed:
            changed[position % len(changed)] = value
    must_decode_or_refuse(frames)


@RUNS
@given(which, which, st.randoms(), st.integers(1, 12), st.integers(0, 5000))
def test_truncated_and_reordered_frames(one, other, order, count, cut):
    frames = VALID[one] + VALID[other]
    order.shuffle(frames)
    must_decode_or_refuse([frames[0][:cut], *frames[1:count]])


@RUNS
@given(which, values, st.booleans(), st.integers(0, 20))
def test_any_value_in_any_field(number, value, in_body, key):
    frames = VALID[number]
    header = msgpack.unpackb(frames[0])
    place = header["body"] if in_body else header
    keys = list(place) or ["new"]
    place[keys[key % len(keys)]] = value
    must_decode_or_refuse([msgpack.packb(header), *frames[1:]])


@RUNS
@given(
    st.integers(1, 50_000), st.sampled_from([b"\x91", b"\x81\xa1a", b"\xdd\xff\xff\xff\xff", b"\xc9\x7f\xff\xff\xff"])
)
def test_deep_nests_and_lies_about_lengths(depth, opening):
    must_decode_or_refuse([opening * depth])


def test_two_thousand_messages_of_the_live_campaigns_fuzzer():
    fuzzer = Fuzzer(7)
    for _ in range(2000):
        must_decode_or_refuse(fuzzer.message())
