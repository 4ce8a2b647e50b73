"""Fields of messages: each knows how to check a value that came over the wire and how to write one.

Knows plain values (what msgpack gives) and numpy arrays. Knows no message types and no frames. The same check runs
when a message is written, so that nothing leaves which the other side would refuse.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from . import limits
from .errors import ProtocolError

IDENTIFIER = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,63}\Z")
JOB_ID = re.compile(r"[0-9a-f]{16}\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
TOKEN = re.compile(r"[0-9a-f]{32}\Z")

Check = Callable[[Any, str], Any]
_NONE = object()
T = TypeVar("T", bound="Record")


def refuse(path: str, must: str, value: Any) -> ProtocolError:
    """The `bad_body` error for one field, with the value cut to a readable length."""
    shown = repr(value)
    return ProtocolError("bad_body", f"{path} must be {must}, got {shown if len(shown) <= 80 else shown[:77] + '...'}.")


class Record:
    """Base of every dataclass that travels. Unknown fields of a body are ignored, missing ones take their default."""

    @classmethod
    def from_body(cls: type[T], body: Any, path: str = "body", arrays: Mapping[str, np.ndarray] | None = None) -> T:
        """Check plain values and build the record.

        Args:
            body: A map as it came from msgpack.
            path: Said in errors.
            arrays: Buffers by name, for the fields declared with `array`.

        Raises:
            ProtocolError: `bad_body` naming the field, or `bad_buffers` naming the buffer.
        """
        if not isinstance(body, Mapping):
            raise refuse(path, "a map", body)
        values: dict[str, Any] = {}
        symbols: dict[str, int] = {}
        for spec in dataclasses.fields(cls):
            if "array" in spec.metadata:
                values[spec.name] = _check_array(spec, (arrays or {}).get(spec.name), symbols)
            elif spec.name in body:
                values[spec.name] = spec.metadata["check"](body[spec.name], f"{path}.{spec.name}")
            elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
                raise ProtocolError("bad_body", f"{path}.{spec.name} is missing.")
        return cls(**values)

    def to_body(self) -> dict[str, Any]:
        """Plain values for msgpack, without the arrays. Not checked here; `codec.encode` checks."""
        return {
            spec.name: _plain(getattr(self, spec.name))
            for spec in dataclasses.fields(self)
            if "array" not in spec.metadata
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """The buffers that travel behind the header, by field name; those that are None stay away."""
        named = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if "array" in f.metadata}
        return {name: array for name, array in named.items() if array is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_body()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)  # a StrEnum becomes its value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    return value


def _check_array(spec: dataclasses.Field, value: np.ndarray | None, symbols: dict[str, int]) -> np.ndarray | None:
    dtype, shape, optional = spec.metadata["array"]
    if value is None:
        if optional:
            return None
        raise ProtocolError("bad_buffers", f"Buffer {spec.name} is missing.")
    fits = value.dtype.name == dtype and value.ndim == len(shape)
    for want, have in zip(shape, value.shape, strict=False):
        # A letter stands for any length, the same wherever it appears in one message.
        fits = fits and (symbols.setdefault(want, have) if isinstance(want, str) else want) == have
    if not fits:
        raise ProtocolError(
            "bad_buffers", f"Buffer {spec.name} must be {dtype} {shape}, got {value.dtype.name} {value.shape}."
        )
    return value


def _field(check: Check, default: Any = _NONE) -> Any:
    if default is _NONE:
        return dataclasses.field(metadata={"check": check})
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=default.copy, metadata={"check": check})
    return dataclasses.field(default=default, metadata={"check": check})


def text(default: Any = _NONE, longest: int = 200, pattern: re.Pattern | None = None) -> Any:
    """A string of at most `longest` characters; matches `pattern` unless it is empty and "" is the default."""

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or len(value) > longest:
            raise refuse(path, f"text of at most {longest} characters", value)
        if pattern is not None and not pattern.match(value) and value != default:
            raise refuse(path, f"text like {pattern.pattern}", value)
        return value

    return _field(check, default)


def integer(default: Any = _NONE, low: int = 0, high: int = 2**53) -> Any:
    """A whole number in [low, high]; truth values are refused."""

    def check(value: Any, path: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise refuse(path, f"a whole number from {low} to {high}", value)
        return value

    return _field(check, default)


def number(default: Any = _NONE, low: float = 0.0, high: float = 1e12, optional: bool = False) -> Any:
    """A finite number in [low, high], or None where `optional`."""

    def check(value: Any, path: str) -> float | None:
        if value is None and optional:
            return None
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise refuse(path, f"a number from {low:g} to {high:g}", value)
        return float(value)

    return _field(check, default)


def flag(default: Any = _NONE) -> Any:
    """True or False."""

    def check(value: Any, path: str) -> bool:
        if type(value) is not bool:
            raise refuse(path, "true or false", value)
        return value

    return _field(check, default)


def choice(options: type | Sequence[str], default: Any = _NONE) -> Any:
    """One of some strings, or one member of a string enumeration."""
    allowed = {str(getattr(o, "value", o)): o for o in options}

    def check(value: Any, path: str) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise refuse(path, "one of " + ", ".join(allowed), value)
        return allowed[value]

    return _field(check, default)


def scalar(value: Any, path: str) -> Any:
    """Check for a setting's value: text, finite number or truth value."""
    if isinstance(value, bool) or (isinstance(value, str) and len(value) <= 500):
        return value
    if type(value) is int and abs(value) < 2**63:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    raise refuse(path, "text, a finite number, true or false", value)


def table(values: Check = scalar, most: int = 64, default: Any = _NONE) -> Any:
    """A map from identifiers to checked values."""

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping) or len(value) > most:
            raise refuse(path, f"a map of at most {most} entries", value)
        for key in value:
            if not isinstance(key, str) or not IDENTIFIER.match(key):
                raise refuse(f"a key of {path}", "a short identifier", key)
        return {key: values(item, f"{path}.{key}") for key, item in value.items()}

    return _field(check, default)


def sha256(value: Any, path: str) -> str:
    """Check for a SHA-256 in lower-case hex."""
    if not isinstance(value, str) or not SHA256.match(value):
        raise refuse(path, "a SHA-256 in lower-case hex", value)
    return value


def short_text(value: Any, path: str) -> str:
    """Check for an entry of a list of strings."""
    if not isinstance(value, str) or len(value) > 200:
        raise refuse(path, "text of at most 200 characters", value)
    return value


def whole(value: Any, path: str) -> int:
    """Check for an entry of a list of whole numbers."""
    if type(value) is not int or not 0 <= value <= 2**53:
        raise refuse(path, "a whole number", value)
    return value


def seed_number(value: Any, path: str) -> int:
    """Check for an entry of a list of seeds."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise refuse(path, "a whole number from 0 to 2**63 - 1", value)
    return value


def listing(values: Check, most: int = 64, default: Any = _NONE) -> Any:
    """A list of checked values, kept as a tuple."""

    def check(value: Any, path: str) -> tuple:
        if not isinstance(value, list | tuple) or len(value) > most:
            raise refuse(path, f"a list of at most {most} entries", value)
        return tuple(values(item, f"{path}[{k}]") for k, item in enumerate(value))

    return _field(check, default)


def record(cls: type[Record], default: Any = _NONE) -> Any:
    """A nested record; None allowed where that is the default."""

    def check(value: Any, path: str) -> Record | None:
        return None if value is None and default is None else cls.from_body(value, path)

    return _field(check, default)


def records(cls: type[Record], most: int = 64, default: Any = ()) -> Any:
    """A list of nested records, kept as a tuple."""
    return listing(cls.from_body, most, default)


def array(dtype: str, *shape: int | str, optional: bool = False) -> Any:
    """A buffer behind the header. Letters in `shape` stand for any length, the same throughout the message."""
    if dtype not in limits.DTYPES:
        raise ValueError(f"dtype {dtype} is not allowed on the wire; use one of {', '.join(limits.DTYPES)}")
    metadata = {"array": (dtype, shape, optional)}
    return dataclasses.field(default=None, metadata=metadata) if optional else dataclasses.field(metadata=metadata)
