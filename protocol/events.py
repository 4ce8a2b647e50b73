"""What a `Conversation` tells its owner: one small dataclass for each thing that can happen.

Knows messages. Knows nothing of how they came. Events of one call come in the order in which they happened.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import messages
from .errors import ProtocolError


@dataclass(frozen=True)
class ServerReady:
    """The server answered `hello`. `restarted` is True where another run of it had been talked to before."""

    welcome: messages.Welcome
    restarted: bool


@dataclass(frozen=True)
class ServerGone:
    """Nothing was heard for `seconds`. The conversation goes on trying; commands are kept and sent again."""

    seconds: float


@dataclass(frozen=True)
class ServerIncompatible:
    """The two sides share no version. The conversation stops until `open` is called again."""

    error: ProtocolError


@dataclass(frozen=True)
class Answered:
    """A command of ours was done. `answer` is the message that its section in docs/protocol.md names."""

    id: int
    command: messages.Message
    job: str
    answer: messages.Message


@dataclass(frozen=True)
class Refused:
    """A command of ours was refused."""

    id: int
    command: messages.Message
    job: str
    error: ProtocolError


@dataclass(frozen=True)
class JobChanged:
    """A watched job changed its state. Comes exactly once for every change, also over reconnects."""

    job: str
    sequence: int
    state: messages.State


@dataclass(frozen=True)
class JobWarned:
    """A watched job has something to tell the artist. Comes exactly once."""

    job: str
    sequence: int
    warning: messages.Warning


@dataclass(frozen=True)
class JobProgressed:
    """Where a watched job stands."""

    job: str
    progress: messages.Progress


@dataclass(frozen=True)
class PreviewWaiting:
    """A newer preview lies ready: fetch it with `take_preview(job, kind)` when there is time to apply it."""

    job: str
    kind: str


@dataclass(frozen=True)
class UploadProgressed:
    """The server has the first `have` bytes of a picture."""

    sha256: str
    have: int
    size: int


@dataclass(frozen=True)
class DownloadProgressed:
    """`have` bytes of an artifact were written."""

    id: int
    artifact: messages.Artifact
    have: int


@dataclass(frozen=True)
class Downloaded:
    """An artifact is complete and its SHA-256 is right."""

    id: int
    artifact: messages.Artifact


@dataclass(frozen=True)
class DownloadFailed:
    """An artifact cannot be had; what was written is not to be used where the code is `bad_hash`."""

    id: int
    artifact: messages.Artifact
    error: ProtocolError


@dataclass(frozen=True)
class Unreadable:
    """The server sent something that this side cannot read; it was dropped."""

    error: ProtocolError


Event = (
    ServerReady
    | ServerGone
    | ServerIncompatible
    | Answered
    | Refused
    | JobChanged
    | JobWarned
    | JobProgressed
    | PreviewWaiting
    | UploadProgressed
    | DownloadProgressed
    | Downloaded
    | DownloadFailed
    | Unreadable
)
