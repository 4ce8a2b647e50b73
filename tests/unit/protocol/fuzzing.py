"""Messages that nobody should send: random, truncated, reordered, oversized, mutated, and right ones at the wrong time.

Knows the examples of every message and msgpack. Draws everything from one seeded generator, so that a failure repeats.
"""

from __future__ import annotations

import random

import msgpack
import numpy as np
from wire_examples import EXAMPLES

from dreamlift.protocol import codec, limits, messages

ODD_VALUES = [None, True, -1, 0, 2**31, 2**63, -(2**63), 1.5, float("nan"), float("inf"), "", "../../etc/passwd", "\0"]
ODD_VALUES += ["x" * 9000, [], [[]], {}, {"a": {}}, b"bytes", "hello", [1, 2, 3], 2**53 + 1]


class Fuzzer:
    """An endless supply of bad messages.

    Args:
        seed: Of everything.
    """

    def __init__(self, seed: int):
        self._random = random.Random(seed)
        self._valid = [
            [bytes(frame) for frame in codec.encode(message, id=identity, job=job, sequence=sequence)]
            for message, identity, job, sequence in EXAMPLES
        ]
        # `submit` is left to the witness, so that the queue does not fill with the fuzzer's own valid jobs.
        self._commands = [
            frames
            for frames in self._valid
            if msgpack.unpackb(frames[0])["type"] in messages.FROM_CLIENT
            and msgpack.unpackb(frames[0])["type"] not in ("submit", "bye")
        ]
        self._kinds = [
            self._noise,
            self._flipped,
            self._flipped,
            self._cut,
            self._reordered,
            self._odd_field,
            self._odd_field,
            self._odd_header,
            self._nested,
            self._many_frames,
            self._wrong_buffers,
            self._right,
        ]

    def message(self) -> list[bytes]:
        """The next one, 1 frame or more."""
        if self._random.random() < 0.0005:
            return self._oversized()
        return self._random.choice(self._kinds)()

    def _noise(self) -> list[bytes]:
        return [self._random.randbytes(self._random.randint(0, 200)) for _ in range(self._random.randint(1, 4))]

    def _flipped(self) -> list[bytes]:
        frames = list(self._random.choice(self._valid))
        which = self._random.randrange(len(frames))
        changed = bytearray(frames[which])
        for _ in range(self._random.randint(1, 6)):
            if changed:
                changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        frames[which] = bytes(changed)
        return frames

    def _cut(self) -> list[bytes]:
        frames = list(self._random.choice(self._valid))
        which = self._random.randrange(len(frames))
        frames[which] = frames[which][: self._random.randint(0, len(frames[which]))]
        return frames

    def _reordered(self) -> list[bytes]:
        frames = list(self._random.choice(self._valid)) + list(self._random.choice(self._valid))
        self._random.shuffle(frames)
        return frames[: self._random.randint(1, len(frames))]

    def _odd_field(self) -> list[bytes]:
        frames = list(self._random.choice(self._valid))
        header = msgpack.unpackb(frames[0])
        body = header["body"]
        if body:
            body[self._random.choice(list(body))] = self._random.choice(ODD_VALUES)
        return [msgpack.packb(header), *frames[1:]]

    def _odd_header(self) -> list[bytes]:
        frames = list(self._random.choice(self._valid))
        header = msgpack.unpackb(frames[0])
        header[self._random.choice(list(header))] = self._random.choice(ODD_VALUES)
        return [msgpack.packb(header), *frames[1:]]

    def _nested(self) -> list[bytes]:
        depth = self._random.randint(5, 2000)
        opening = self._random.choice([b"\x91", b"\x81\xa1a"])
        return [opening * depth + b"\xc0"]

    def _many_frames(self) -> list[bytes]:
        return [self._random.choice(self._valid)[0]] + [b""] * self._random.randint(1, 60)

    def _wrong_buffers(self) -> list[bytes]:
        shape = [self._random.choice([0, 1, 3, 2**20, 2**40, -1]) for _ in range(self._random.randint(0, 6))]
        dtype = self._random.choice(["uint8", "float32", "float64", "object", "|O", 5, "<f4"])
        header = {
            "version": limits.PROTOCOL_VERSION,
            "type": self._random.choice(list(messages.FROM_CLIENT)),
            "id": 5,
            "job": "",
            "sequence": 0,
            "body": {},
            "buffers": [{"name": "data", "dtype": dtype, "shape": shape}] * self._random.randint(1, 3),
        }
        return [msgpack.packb(header), *[self._random.randbytes(12)] * self._random.randint(0, 3)]

    def _right(self) -> list[bytes]:
        return self._random.choice(self._commands)

    def _oversized(self) -> list[bytes]:
        size = self._random.choice([limits.MAX_HEADER_BYTES + 1, limits.MAX_COMMAND_BYTES + 1])
        if self._random.random() < 0.5:
            return [np.zeros(size, np.uint8).tobytes()]
        return [self._random.choice(self._valid)[0], np.zeros(size, np.uint8).tobytes()]
