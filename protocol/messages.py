"""Every message between a client and the service, as dataclasses. docs/protocol.md documents each one.

Knows fields and their limits. Knows no bytes (`codec`), no sockets and no order of messages (`conversation`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import limits
from .fields import (
    IDENTIFIER,
    JOB_ID,
    SHA256,
    TOKEN,
    Record,
    array,
    choice,
    flag,
    integer,
    listing,
    number,
    record,
    records,
    scalar,
    seed_number,
    sha256,
    short_text,
    table,
    text,
    whole,
)
from .states import JobState


class Message(Record):
    """A record that travels as a whole message. `TYPE` is its name on the wire."""

    TYPE: ClassVar[str] = ""
    NEEDS_JOB: ClassVar[bool] = False


# -- parts of messages -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class JobRequest(Record):
    """What somebody wants made. Pictures are named by the SHA-256 of their bytes, uploaded before.

    A request for "views" asks what the prior draws from each of `seeds`, before any geometry.
    """

    pipeline: str = text("mvdream", 64, IDENTIFIER)
    preset: str = text("mini", 64, IDENTIFIER)
    prompt: str = text("", 2000)
    negative_prompt: str = text("", 2000)
    seed: int = integer(0, 0, 2**63 - 1)
    settings: dict = table(scalar, 64, {})
    images: dict = table(sha256, 16, {})  # role to SHA-256
    name: str = text("", 120)
    goal: str = choice(("object", "views"), "object")
    seeds: tuple = listing(seed_number, limits.MAX_SEEDS, ())  # of a request for views
    weights: str = choice(("trained", "random"), "trained")


@dataclass(frozen=True, kw_only=True)
class Artifact(Record):
    """A file that a finished job left: fetch it by its hash."""

    name: str = text(longest=64, pattern=IDENTIFIER)
    media_type: str = text(longest=80)
    size: int = integer(high=2**40)
    sha256: str = text(longest=64, pattern=SHA256)


@dataclass(frozen=True, kw_only=True)
class Problem(Record):
    """Why something failed, in words an artist can act on. Also the body of `error` and `warning`."""

    code: str = text(longest=64, pattern=IDENTIFIER)
    what: str = text(longest=1000)
    remedy: str = text("", 1000)
    suggestion: dict = table(scalar, 64, {})


@dataclass(frozen=True, kw_only=True)
class Setting(Record):
    """One setting of a pipeline as data, enough to draw it in a panel."""

    key: str = text(longest=64, pattern=IDENTIFIER)
    label: str = text(longest=60)
    type: str = choice(("int", "float", "bool", "choice", "text"))
    defaults: dict = table(scalar, 32)  # preset to value; a preset that is not here does not have the setting
    low: float | None = number(None, -1e12, 1e12, optional=True)
    high: float | None = number(None, -1e12, 1e12, optional=True)
    choices: tuple = listing(scalar, 64, ())
    unit: str = text("", 20)
    help: str = text("", 400)


@dataclass(frozen=True, kw_only=True)
class Preset(Record):
    """One preset. `seconds` is the median of what whole runs took on this server, None before the first.

    `memory_bytes` is the estimated least that a GPU must have free for it, 0 where nobody knows.
    """

    name: str = text(longest=64, pattern=IDENTIFIER)
    label: str = text(longest=60)
    help: str = text("", 400)
    seconds: float | None = number(None, 0, 1e9, optional=True)
    memory_bytes: int = integer(0)


@dataclass(frozen=True, kw_only=True)
class Pipeline(Record):
    """One way of making an object."""

    name: str = text(longest=64, pattern=IDENTIFIER)
    label: str = text(longest=60)
    help: str = text("", 400)
    presets: tuple = records(Preset, 32)
    settings: tuple = records(Setting, 64)
    image_roles: tuple = listing(short_text, 16, ())
    view_names: tuple = listing(short_text, limits.MAX_VIEWS, ())  # sides that a request for views gives of each seed
    makes_objects: bool = flag(True)  # False: for views alone, a request for an object is refused


@dataclass(frozen=True, kw_only=True)
class Device(Record):
    """One worker of the server and what it runs on. `state`: starting, idle, busy or down."""

    name: str = text(longest=120)
    state: str = choice(("starting", "idle", "busy", "down"))
    memory_bytes: int = integer(0)
    job: str = text("", 16, JOB_ID)


@dataclass(frozen=True, kw_only=True)
class ServerLimits(Record):
    """What this server accepts; never more than limits.py allows."""

    blob_bytes: int = integer(limits.MAX_BLOB_BYTES)
    chunk_bytes: int = integer(limits.CHUNK_BYTES, limits.MIN_CHUNK_BYTES, limits.MAX_CHUNK_BYTES)
    unfinished_jobs: int = integer(1000)


@dataclass(frozen=True, kw_only=True)
class JobSummary(Record):
    """A job as a list shows it. `thumbnail` is the row in the list's `thumbnails`, -1 without one."""

    job: str = text(longest=16, pattern=JOB_ID)
    state: JobState = choice(JobState)
    request: JobRequest = record(JobRequest)
    created: float = number()  # seconds since 1970, UTC
    seconds: float = number(0.0)  # of work so far
    fraction: float = number(0.0, 0, 1)
    position: int = integer(-1, -1)  # 0 is next; -1 is not waiting
    thumbnail: int = integer(-1, -1)
    artifacts: tuple = records(Artifact, 16)
    problem: Problem | None = record(Problem, None)
    last_sequence: int = integer(0)


# -- client to server: commands; each is answered once ---------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """First message of every connection."""

    TYPE = "hello"
    client: str = text(longest=80)
    client_version: str = text("", 40)
    versions: tuple = listing(whole, 16)


@dataclass(frozen=True, kw_only=True)
class Submit(Message):
    """Ask for a job. The same token twice gives the same job: safe to send again after a lost answer."""

    TYPE = "submit"
    token: str = text(longest=32, pattern=TOKEN)
    request: JobRequest = record(JobRequest)


@dataclass(frozen=True, kw_only=True)
class Cancel(Message):
    """End a job and drop what it made."""

    TYPE = "cancel"
    NEEDS_JOB = True


@dataclass(frozen=True, kw_only=True)
class Finish(Message):
    """ "Use Now": turn what there is into an asset."""

    TYPE = "finish"
    NEEDS_JOB = True


@dataclass(frozen=True, kw_only=True)
class Pause(Message):
    """Save a checkpoint and give the device to the next job."""

    TYPE = "pause"
    NEEDS_JOB = True


@dataclass(frozen=True, kw_only=True)
class Resume(Message):
    """Put a paused job back into the queue."""

    TYPE = "resume"
    NEEDS_JOB = True


@dataclass(frozen=True, kw_only=True)
class Remove(Message):
    """Forget an ended job and its files."""

    TYPE = "remove"
    NEEDS_JOB = True


@dataclass(frozen=True, kw_only=True)
class Move(Message):
    """Put a queued job before another; before "" means to the end."""

    TYPE = "move"
    NEEDS_JOB = True
    before: str = text("", 16, JOB_ID)


@dataclass(frozen=True, kw_only=True)
class ListJobs(Message):
    """One page of jobs, newest first."""

    TYPE = "list_jobs"
    limit: int = integer(20, 1, 50)
    after: str = text("", 16, JOB_ID)  # last job of the page before
    thumbnails: bool = flag(True)


@dataclass(frozen=True, kw_only=True)
class Subscribe(Message):
    """Send me what happened to this job since event `after`, and what happens from now on."""

    TYPE = "subscribe"
    NEEDS_JOB = True
    after: int = integer(0)
    previews: bool = flag(True)


@dataclass(frozen=True, kw_only=True)
class Unsubscribe(Message):
    """Stop sending me this job's events."""

    TYPE = "unsubscribe"
    NEEDS_JOB = True


@dataclass(frozen=True, kw_only=True)
class BlobQuery(Message):
    """How much of this blob does the server have?"""

    TYPE = "blob_query"
    sha256: str = text(longest=64, pattern=SHA256)
    size: int = integer(low=1, high=limits.MAX_BLOB_BYTES)


@dataclass(frozen=True, kw_only=True)
class BlobChunk(Message):
    """The next piece of a blob, at the offset the server said."""

    TYPE = "blob_chunk"
    sha256: str = text(longest=64, pattern=SHA256)
    size: int = integer(low=1, high=limits.MAX_BLOB_BYTES)
    offset: int = integer(high=limits.MAX_BLOB_BYTES)
    data: np.ndarray = array("uint8", "n")


@dataclass(frozen=True, kw_only=True)
class CutOut(Message):
    """Tell the subject of an uploaded picture from its background, before there is a job."""

    TYPE = "cut_out"
    sha256: str = text(longest=64, pattern=SHA256)
    threshold: float = number(0.5, 0.01, 0.99)


@dataclass(frozen=True, kw_only=True)
class Fetch(Message):
    """Send me a piece of a blob or artifact."""

    TYPE = "fetch"
    sha256: str = text(longest=64, pattern=SHA256)
    offset: int = integer(0, high=2**40)
    length: int = integer(limits.CHUNK_BYTES, 1, limits.MAX_CHUNK_BYTES)


@dataclass(frozen=True, kw_only=True)
class Ping(Message):
    """Are you there? Either side may ask."""

    TYPE = "ping"


@dataclass(frozen=True, kw_only=True)
class Seen(Message):
    """I have taken this preview; send the next one. Not answered."""

    TYPE = "seen"
    NEEDS_JOB = True
    kind: str = choice(("mesh", "views"))
    serial: int = integer()


@dataclass(frozen=True, kw_only=True)
class Bye(Message):
    """I am leaving. Not answered."""

    TYPE = "bye"


# -- server to client: answers ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Welcome(Message):
    """Answer to `hello`: who the server is and what it can do."""

    TYPE = "welcome"
    server: str = text(longest=80)
    server_version: str = text("", 40)
    server_run: str = text(longest=32, pattern=TOKEN)  # new at every start of the server
    version: int = integer(low=1, high=2**16)
    pipelines: tuple = records(Pipeline, 32)
    devices: tuple = records(Device, 64)
    limits: ServerLimits = record(ServerLimits)
    unfinished_jobs: int = integer(0)
    features: tuple = listing(short_text, 64, ())  # commands that a server of the first releases does not know


@dataclass(frozen=True, kw_only=True)
class Accepted(Message):
    """Answer to `submit`: the job is stored and survives every crash from here on. Its id is in the header."""

    TYPE = "accepted"
    NEEDS_JOB = True
    state: JobState = choice(JobState)
    position: int = integer(-1, -1)


@dataclass(frozen=True, kw_only=True)
class Done(Message):
    """Answer to a command that gives nothing back. `state` is the job's afterwards, where there is one."""

    TYPE = "done"
    state: str = text("", 20)


@dataclass(frozen=True, kw_only=True)
class Jobs(Message):
    """Answer to `list_jobs`."""

    TYPE = "jobs"
    jobs: tuple = records(JobSummary, 50)
    more: bool = flag(False)
    thumbnails: np.ndarray | None = array("uint8", "n", "h", "w", 3, optional=True)


@dataclass(frozen=True, kw_only=True)
class Subscribed(Message):
    """Answer to `subscribe`: the state now and the number of the newest event."""

    TYPE = "subscribed"
    NEEDS_JOB = True
    state: JobState = choice(JobState)
    last_sequence: int = integer()


@dataclass(frozen=True, kw_only=True)
class BlobState(Message):
    """Answer to `blob_query` and `blob_chunk`: the server has the first `have` bytes."""

    TYPE = "blob_state"
    sha256: str = text(longest=64, pattern=SHA256)
    have: int = integer()
    complete: bool = flag()


@dataclass(frozen=True, kw_only=True)
class Chunk(Message):
    """Answer to `fetch`. `size` is the whole blob's."""

    TYPE = "chunk"
    sha256: str = text(longest=64, pattern=SHA256)
    offset: int = integer(high=2**40)
    size: int = integer(high=2**40)
    data: np.ndarray = array("uint8", "n")


@dataclass(frozen=True, kw_only=True)
class Cutout(Message):
    """Answer to `cut_out`: the picture, upright and at most 1024 pixels a side, with the opacity of its subject."""

    TYPE = "cutout"
    sha256: str = text(longest=64, pattern=SHA256)
    method: str = text("", 40)  # what told the subject from its background; "" where nothing did
    remarks: tuple = records(Problem, 8)
    rgba: np.ndarray = array("uint8", "h", "w", 4)


@dataclass(frozen=True, kw_only=True)
class Pong(Message):
    """Answer to `ping`."""

    TYPE = "pong"


@dataclass(frozen=True, kw_only=True)
class Error(Problem, Message):
    """Answer to a command that was refused, or to a message that could not be read (id 0)."""

    TYPE = "error"


# -- server to client: kept events, numbered per job -----------------------------------------------


@dataclass(frozen=True, kw_only=True)
class State(Message):
    """The job changed its state. Kept."""

    TYPE = "state"
    NEEDS_JOB = True
    state: JobState = choice(JobState)
    attempt: int = integer(0)
    at: float = number(0.0)  # seconds since 1970, UTC
    seconds: float = number(0.0)  # of work so far
    artifacts: tuple = records(Artifact, 16)  # of a finished job
    problem: Problem | None = record(Problem, None)  # of a failed job, or why it went back to the queue


@dataclass(frozen=True, kw_only=True)
class Warning(Problem, Message):  # noqa: A001 - the wire's word; nobody here needs the builtin
    """Something the artist should know that does not stop the job. Kept."""

    TYPE = "warning"
    NEEDS_JOB = True


# -- server to client: latest wins, never kept -----------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Progress(Message):
    """Where the job stands. Latest wins."""

    TYPE = "progress"
    NEEDS_JOB = True
    stage: str = text(longest=80)
    stage_index: int = integer()
    stage_count: int = integer(low=1)
    step: int = integer()
    steps: int = integer()
    fraction: float = number(low=0, high=1)
    seconds_left: float | None = number(None, 0, 1e9, optional=True)
    position: int = integer(-1, -1)  # of a queued job


@dataclass(frozen=True, kw_only=True)
class Mesh(Message):
    """A mesh to look at. Latest wins. While `topology` stays the same only `vertices` and `colors` have changed."""

    TYPE = "mesh"
    NEEDS_JOB = True
    serial: int = integer(0)  # set by the server; answered with `seen`
    attempt: int = integer(0)
    topology: int = integer(0)
    vertices: np.ndarray = array("float32", "V", 3)
    faces: np.ndarray = array("int32", "F", 3)
    edges: np.ndarray = array("int32", "E", 2)
    face_edges: np.ndarray = array("int32", "F", 3)
    colors: np.ndarray = array("float32", "V", 4)
    uvs: np.ndarray | None = array("float32", "F", 3, 2, optional=True)


@dataclass(frozen=True, kw_only=True)
class Views(Message):
    """Pictures of the object from named sides, or of what several seeds give. Latest wins."""

    TYPE = "views"
    NEEDS_JOB = True
    serial: int = integer(0)
    attempt: int = integer(0)
    names: tuple = listing(short_text, limits.MAX_VIEWS)
    seeds: tuple = listing(seed_number, limits.MAX_SEEDS, ())  # row by row; N is then len(seeds) * len(names)
    images: np.ndarray = array("uint8", "N", "H", "W", 3)


COMMANDS: tuple[type[Message], ...] = (
    *(Hello, Submit, Cancel, Finish, Pause, Resume, Remove, Move, ListJobs, Subscribe, Unsubscribe),
    *(BlobQuery, BlobChunk, CutOut, Fetch, Ping),
)
NOTICES: tuple[type[Message], ...] = (Seen, Bye, Pong)
ANSWERS: tuple[type[Message], ...] = (
    *(Welcome, Accepted, Done, Jobs, Subscribed, BlobState, Chunk, Cutout, Pong, Error),
)
KEPT_EVENTS: tuple[type[Message], ...] = (State, Warning)
LATEST_EVENTS: tuple[type[Message], ...] = (Progress, Mesh, Views)

FROM_CLIENT = {cls.TYPE: cls for cls in (*COMMANDS, *NOTICES)}
FROM_SERVER = {cls.TYPE: cls for cls in (*ANSWERS, *KEPT_EVENTS, *LATEST_EVENTS, Ping)}
