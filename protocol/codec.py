"""Messages to frames and back: one msgpack header and the raw buffers behind it.

Knows the order of checks: measure, decode the header, then the buffers' descriptors, then the body. Knows no sockets
and no sequence of messages. Decoded arrays are read-only views of the frames. docs/protocol.md section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from . import limits
from .errors import ProtocolError
from .fields import JOB_ID
from .messages import Message

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Envelope:
    """A message with what its header says about it.

    Args:
        message: The message itself.
        id: Number of the command it is or answers; 0 for events and notices.
        job: The job it is about, "" for none.
        sequence: Number of a kept event within its job, from 1; 0 for everything else.
    """

    message: Message
    id: int = 0
    job: str = ""
    sequence: int = 0


def encode(message: Message, *, id: int = 0, job: str = "", sequence: int = 0) -> list[Buffer]:
    """Frames of a message: header first, then one frame a buffer, in the order of the message's fields.

    Raises ProtocolError where a receiver would refuse it: nothing unreadable is ever sent.
    """
    body = message.to_body()
    arrays = {name: _wire_array(array) for name, array in message.arrays().items()}
    type(message).from_body(body, "body", arrays)
    header = {
        "version": limits.PROTOCOL_VERSION,
        "type": message.TYPE,
        "id": id,
        "job": job,
        "sequence": sequence,
        "body": body,
        "buffers": [{"name": n, "dtype": a.dtype.name, "shape": list(a.shape)} for n, a in arrays.items()],
    }
    packed = msgpack.packb(header)
    if len(packed) > limits.MAX_HEADER_BYTES:
        raise ProtocolError("frame_too_large", f"The header of a {message.TYPE} message has {len(packed)} bytes.")
    # An empty array has no memoryview of one dimension, hence b"".
    return [packed, *(a.reshape(-1).view(np.uint8).data if a.size else b"" for a in arrays.values())]


def decode(
    frames: Sequence[Buffer], known: Mapping[str, type[Message]], most_bytes: int = limits.MAX_MESSAGE_BYTES
) -> Envelope:
    """Read one message.

    Args:
        frames: What the socket gave, without routing frames.
        known: Message types this side understands, by name: `FROM_CLIENT` or `FROM_SERVER`.
        most_bytes: Limit on all frames together.

    Raises:
        ProtocolError: Typed, with `id` and `job` set where the header could be read that far.
    """
    _measure(frames, most_bytes)
    header = _unpack(frames[0])
    identity, job, sequence = _address(header)
    try:
        if header.get("version") not in limits.SUPPORTED_VERSIONS:
            raise ProtocolError(
                "version_unsupported",
                f"The message has protocol version {_shown(header.get('version'))}; "
                f"this side speaks {', '.join(map(str, limits.SUPPORTED_VERSIONS))}.",
                "Update the older of the two programs.",
            )
        kind = header.get("type")
        if not isinstance(kind, str) or kind not in known:
            raise ProtocolError("unknown_type", f"No message of type {_shown(kind)} is known.")
        arrays = _read_buffers(header.get("buffers", []), frames[1:])
        message = known[kind].from_body(header.get("body", {}), "body", arrays)
        if message.NEEDS_JOB and not job:
            raise ProtocolError("bad_header", f"A {kind} message must name its job.")
    except ProtocolError as error:
        error.id, error.job = identity, job
        raise
    return Envelope(message, identity, job, sequence)


def _wire_array(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _measure(frames: Sequence[Buffer], most_bytes: int) -> None:
    if not 1 <= len(frames) <= limits.MAX_FRAMES:
        raise ProtocolError("too_many_frames", f"A message has 1 to {limits.MAX_FRAMES} frames, got {len(frames)}.")
    sizes = [len(frame) for frame in frames]
    if sizes[0] > limits.MAX_HEADER_BYTES:
        raise ProtocolError("frame_too_large", f"The header has {sizes[0]} bytes of at most {limits.MAX_HEADER_BYTES}.")
    if max(sizes) > limits.MAX_BUFFER_BYTES or sum(sizes) > most_bytes:
        raise ProtocolError("frame_too_large", f"The message has {sum(sizes)} bytes of at most {most_bytes}.")


def _unpack(frame: Buffer) -> dict[str, Any]:
    try:
        header = msgpack.unpackb(
            frame,
            raw=False,
            strict_map_key=True,
            max_str_len=limits.MAX_TEXT,
            max_bin_len=0,
            max_ext_len=0,
            max_array_len=limits.MAX_ITEMS,
            max_map_len=limits.MAX_ITEMS,
        )
    # msgpack raises ValueError and its subclasses for all that is malformed or over a limit, StackError included.
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError("bad_header", f"The header is not readable: {type(error).__name__}.") from error
    if not isinstance(header, dict):
        raise ProtocolError("bad_header", f"The header must be a map, got {type(header).__name__}.")
    _check_depth(header)
    return header


def _check_depth(header: dict[str, Any]) -> None:
    level: list[Any] = [header]
    for _ in range(limits.MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ProtocolError("bad_header", f"The header is nested more than {limits.MAX_DEPTH} deep.")


def _address(header: dict[str, Any]) -> tuple[int, str, int]:
    identity, job, sequence = header.get("id", 0), header.get("job", ""), header.get("sequence", 0)
    for name, value in (("id", identity), ("sequence", sequence)):
        if type(value) is not int or not 0 <= value <= 2**53:
            raise ProtocolError("bad_header", f"{name} must be a whole number, got {_shown(value)}.")
    if not isinstance(job, str) or (job and not JOB_ID.match(job)):
        error = ProtocolError("bad_header", f"job must be 16 lower-case hex digits or empty, got {_shown(job)}.")
        error.id = identity
        raise error
    return identity, job, sequence


def _read_buffers(descriptors: Any, frames: Sequence[Buffer]) -> dict[str, np.ndarray]:
    if not isinstance(descriptors, list) or len(descriptors) != len(frames):
        count = len(descriptors) if isinstance(descriptors, list) else "no list of"
        raise ProtocolError("bad_buffers", f"The header has {count} buffer descriptors for {len(frames)} frames.")
    arrays: dict[str, np.ndarray] = {}
    for descriptor, frame in zip(descriptors, frames, strict=True):
        name, array = _read_buffer(descriptor, frame)
        if name in arrays:
            raise ProtocolError("bad_buffers", f"Buffer {name} comes twice.")
        arrays[name] = array
    return arrays


def _read_buffer(descriptor: Any, frame: Buffer) -> tuple[str, np.ndarray]:
    if not isinstance(descriptor, dict):
        raise ProtocolError("bad_buffers", "A buffer descriptor must be a map.")
    name, dtype, shape = descriptor.get("name"), descriptor.get("dtype"), descriptor.get("shape")
    if not isinstance(name, str) or not 1 <= len(name) <= 64:
        raise ProtocolError("bad_buffers", f"A buffer's name must be a short string, got {_shown(name)}.")
    if not isinstance(dtype, str) or dtype not in limits.DTYPES:
        raise ProtocolError("bad_buffers", f"Buffer {name}: dtype {_shown(dtype)} is not one of {list(limits.DTYPES)}.")
    if not isinstance(shape, list) or not 1 <= len(shape) <= limits.MAX_DIMENSIONS:
        raise ProtocolError("bad_buffers", f"Buffer {name}: the shape must have 1 to {limits.MAX_DIMENSIONS} numbers.")
    size = limits.DTYPES[dtype]
    for length in shape:
        if type(length) is not int or not 0 <= length <= limits.MAX_BUFFER_BYTES:
            raise ProtocolError("bad_buffers", f"Buffer {name}: {_shown(length)} is not a length.")
        size *= length
    if size != len(frame):
        raise ProtocolError("bad_buffers", f"Buffer {name}: {dtype} {shape} is {size} bytes, its frame {len(frame)}.")
    return name, np.frombuffer(frame, np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
