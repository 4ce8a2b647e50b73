# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels show, worked out once by the pump, so that drawing computes nothing.

Knows the session and the words. Knows no bpy: a button is named by its operator and its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .client.connection import Link
from .client.servers import THIS_COMPUTER
from .jobs import choices, words
from .jobs.job import Job
from .jobs.picture import FOUND_BY
from .jobs.seed_preview import SeedPreview
from .local_backend import BackendState
from .protocol.messages import Device, Pipeline, Preset, Problem, Setting
from .protocol.states import JobState
from .session import Session

PATIENCE_SECONDS = 4.0  # connecting for longer than this is said aloud
VIEW_COUNT = 4

_ICONS = {
    None: "EXPORT",
    JobState.QUEUED: "TIME",
    JobState.RUNNING: "PLAY",
    JobState.PAUSING: "PAUSE",
    JobState.PAUSED: "PAUSE",
    JobState.FINISHING: "IMPORT",
    JobState.FINISHED: "CHECKMARK",
    JobState.FAILED: "ERROR",
    JobState.CANCELLING: "X",
    JobState.CANCELLED: "X",
}


@dataclass(frozen=True)
class Button:
    """An operator with its values."""

    operator: str
    text: str
    icon: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """A box with a title, a sentence and buttons that mend it."""

    title: str
    lines: tuple[str, ...]
    buttons: tuple[Button, ...] = ()
    icon: str = "INFO"
    alert: bool = False


@dataclass(frozen=True)
class RunningView:
    """The panel Now Running."""

    job_id: str
    name: str
    line: str
    fraction: float
    icons: tuple[int, ...]  # of the four views; empty before the first
    hold: str
    can_pause: bool
    can_finish: bool
    can_cancel: bool
    can_put_back: bool
    is_here: bool
    others: int  # how many more wait or run
    notes: tuple[str, ...]  # the newest warning, in lines that fit


@dataclass(frozen=True)
class SeedsView:
    """The box of Preview Seeds."""

    title: str
    line: str  # what the progress bar says; "" draws no bar
    fraction: float
    rows: tuple[tuple[int, tuple[int, ...]], ...]  # seed and the icons of its pictures, none while there are none
    can_use: bool
    problem: Card | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PictureView:
    """The picture that the next object is made from."""

    icon: int  # 0 while there is nothing to show
    line: str  # how its subject was found, or what goes on
    is_busy: bool
    can_cut: bool  # this server can
    is_cut: bool  # and has; the subject can be corrected
    is_painting: bool
    problem: Card | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A line of the panel Jobs, and what its menu may offer."""

    job_id: str
    name: str
    icon: str
    short: str
    fraction: float | None  # None draws no bar
    in_scene: bool
    can_place: bool
    can_resume: bool
    can_cancel: bool
    can_remove: bool
    problem: Card | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ServerRow:
    """A line of the preferences' server list; `answer` is what its test said, `ok` None while that runs."""

    name: str
    in_use: bool
    can_remove: bool
    answer: str = ""
    ok: bool | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything that is drawn."""

    server: str = THIS_COMPUTER
    online: bool = False
    link_icon: str = "UNLINKED"
    card: Card | None = None  # in place of the whole panel, or above it
    pipelines: tuple[Pipeline, ...] = ()
    sources: tuple[str, ...] = ()
    source: str = choices.TEXT
    picture: PictureView | None = None  # while the source is a picture and there is one
    needs: str = ""  # what the artist has to do before Generate, beside the words
    can_preview: bool = False
    seeds: SeedsView | None = None
    pipeline: str = ""
    presets: tuple[Preset, ...] = ()
    preset: str = ""
    settings: tuple[Setting, ...] = ()
    forecast: str = ""
    can_generate: bool = False
    running: RunningView | None = None
    rows: tuple[Row, ...] = ()
    servers: tuple[ServerRow, ...] = ()
    backend_runs: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What the snapshot needs to know of the world outside the session.

    Args:
        online_access: Whether Blender lets extensions use the network.
        forced_offline: Whether Blender was started with --offline-mode, so that the preference cannot be changed.
        command_found: Whether the `dreamlift` command is on this computer.
        backend: State of the backend that this Blender started.
        backend_words: Last line of its log.
        backend_stuck: Whether it should answer by now and does not.
        pipeline: The pipeline chosen in the panel.
        preset: The preset chosen in the panel.
        icons: Icon ids of the running job's views.
        seed_icons: Icon ids of the pictures of each seed that is looked at.
        now: Monotonic seconds.
        source: What the artist chose to make objects from.
        cut: Whether the picture's subject is to be cut out before the job.
        painting: Whether its mask is being painted.
        picture_icon: Icon id of the picture; 0 without one.
    """

    online_access: bool
    forced_offline: bool
    command_found: bool
    backend: BackendState
    backend_words: str
    backend_stuck: bool
    pipeline: str
    preset: str
    icons: tuple[int, ...]
    now: float
    seed_icons: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    source: str = choices.TEXT
    cut: bool = True
    painting: bool = False
    picture_icon: int = 0


def build(session: Session, around: Surroundings) -> Snapshot:
    """The snapshot of this moment."""
    known = session.welcome.pipelines if session.welcome else ()
    sources = choices.sources_of(known)
    source = around.source if around.source in sources else next(iter(sources), choices.TEXT)
    offered = choices.pipelines_of(source, known)
    pipeline = next((each for each in offered if each.name == around.pipeline), offered[0] if offered else None)
    presets = pipeline.presets if pipeline else ()
    preset = next((each for each in presets if each.name == around.preset), presets[0] if presets else None)
    online = session.link is Link.ONLINE and around.online_access
    running = session.book.running()
    return Snapshot(
        server=session.servers.in_use,
        online=online,
        link_icon="LINKED" if online else "UNLINKED",
        card=_card(session, around),
        pipelines=tuple(offered),
        pipeline=pipeline.name if pipeline else "",
        presets=presets,
        preset=preset.name if preset else "",
        settings=tuple(choices.settings_of(pipeline, preset.name)) if preset else (),
        forecast=_forecast(session, preset) if preset and online else "",
        sources=sources,
        source=source,
        picture=_picture(session, around) if source == choices.IMAGE and session.picture else None,
        needs=_needs(session, around) if source == choices.IMAGE else "",
        can_generate=online and preset is not None,
        can_preview=online and pipeline is not None and bool(pipeline.view_names),
        seeds=_seeds(session.preview, around, online) if session.preview else None,
        running=_running(session, running, around) if running else None,
        rows=tuple(_row(job) for job in session.book if not job.is_preview),
        servers=tuple(_server(session, name) for name in session.servers.names()),
        backend_runs=around.backend is BackendState.RUNNING,
    )


def _forecast(session: Session, preset: Preset) -> str:
    """ "45 s · CPU · next": measured time on this server, where it runs, when it starts."""
    active = [job for job in session.book if job.is_active and not job.is_unknown]
    devices = session.welcome.devices
    queued = sum(1 for job in active if job.state in (None, JobState.QUEUED))
    when = "starts at once" if len(active) < len(devices) else words.queue_line(queued).lower()
    device = _device_name(devices[0]) if devices else "no device"
    short = device if len(device) <= 14 else device[:13] + "…"
    seconds = f"{words.duration(preset.seconds)} · " if preset.seconds else ""
    return f"{seconds}{short} · {when}"


def _device_name(device: Device) -> str:
    """Until its worker has spoken a server knows only what was asked for, and "auto" would tell the artist nothing."""
    return device.state if device.name == "auto" else device.name


def _server(session: Session, name: str) -> ServerRow:
    test = session.tests.get(name)
    return ServerRow(
        name=name,
        in_use=name == session.servers.in_use,
        can_remove=name != THIS_COMPUTER,
        answer=test.text if test else "",
        ok=test.ok if test else None,
    )


def _card(session: Session, around: Surroundings) -> Card | None:
    if not around.online_access:
        return _offline_card(around)
    if session.refused is not None:
        job, error = session.refused
        return problem_card(
            Problem(code=error.code, what=error.what, remedy=error.remedy, suggestion=error.suggestion),
            (Button("dreamlift.dismiss", "OK", "CHECKMARK"),),
        )
    link, here = session.link, session.servers.in_use == THIS_COMPUTER
    if link is Link.ONLINE:
        return None
    if link in _UNUSABLE:  # before what the backend's process does: that may be the server that does not fit
        lines = words.wrap(session.connection.error, lines=6)
        return Card(_UNUSABLE[link], tuple(lines), (_RETRY, _SERVERS), "ERROR", alert=True)
    if here and around.backend is BackendState.ENDED:
        lines = words.wrap(f"The backend stopped: {around.backend_words or 'it said nothing'}")
        buttons = (_START, Button("dreamlift.show_log", "Show Log", "TEXT"))
        return Card("Backend stopped", tuple(lines), buttons, "ERROR", alert=True)
    if here and around.backend is BackendState.RUNNING:
        if around.backend_stuck:
            lines = words.wrap("The backend runs but does not answer yet.")
            return Card("No answer", tuple(lines), (Button("dreamlift.show_log", "Show Log", "TEXT"),), "ERROR")
        return Card("Starting the backend", ("This takes a few seconds.",), (), "TIME")
    if link is Link.LOST:
        lines = words.wrap("The server does not answer. Trying again; nothing is lost.")
        return Card("Connection lost", tuple(lines), (_START, _SERVERS) if here else (_RETRY, _SERVERS), "ERROR", True)
    if link is Link.CONNECTING and around.now - session.connection.opened < PATIENCE_SECONDS:
        return Card("Connecting", (session.servers.in_use,), (), "TIME")
    return _first_run_card(around) if here else _unreachable_card(session)


_UNUSABLE = {
    Link.BAD_ADDRESS: "Cannot use this server",
    Link.INCOMPATIBLE: "Versions do not fit",
    Link.REFUSED: "Not let in",
}
_START = Button("dreamlift.start_backend", "Start Backend", "PLAY")
_RETRY = Button("dreamlift.try_again", "Try Again", "FILE_REFRESH")
_READ_AGAIN = Button("dreamlift.read_image_again", "Try Again", "FILE_REFRESH")
_SERVERS = Button("dreamlift.show_servers", "Servers", "PREFERENCES")


def _offline_card(around: Surroundings) -> Card:
    if around.forced_offline:
        lines = words.wrap("Blender was started offline, so extensions may not connect. Start it without that option.")
        return Card("Blender is offline", tuple(lines), (), "ERROR")
    lines = words.wrap("Dreamlift talks to its backend over the network, also on this computer. Please allow it.")
    return Card("Allow online access", tuple(lines), (Button("dreamlift.allow_online", "Allow", "URL"),), "INFO")


def _first_run_card(around: Surroundings) -> Card:
    elsewhere = Button("dreamlift.show_servers", "Use Another Computer", "NETWORK_DRIVE")
    if around.command_found:
        lines = words.wrap("Objects are made by a backend. Start it here, or connect to another computer.")
        return Card("Welcome to Dreamlift", tuple(lines), (_START_HERE, elsewhere), "HOME")
    lines = words.wrap("Objects are made by a backend. Install it as its README says, then show where it is.")
    find = Button("dreamlift.show_servers", "Find the Backend", "FILE_FOLDER")
    return Card("Welcome to Dreamlift", tuple(lines), (find, elsewhere), "HOME")


_START_HERE = Button("dreamlift.start_backend", "Use This Computer", "PLAY")


def _unreachable_card(session: Session) -> Card:
    lines = words.wrap(session.connection.why_not() or f"{session.servers.in_use} does not answer.", lines=6)
    return Card("Server not reachable", tuple(lines), (_RETRY, _SERVERS), "ERROR", alert=True)


def problem_card(problem: Problem, buttons: tuple[Button, ...] = ()) -> Card:
    """What went wrong and what to do, in lines that fit."""
    what, remedy = words.wrap(problem.what, lines=4), words.wrap(problem.remedy, lines=3)
    title = problem.code.replace("_", " ").capitalize()
    return Card(title, (*what, *remedy), buttons, "ERROR", alert=True)


def _running(session: Session, job: Job, around: Surroundings) -> RunningView:
    state = job.state
    hold, now = job.hold, around.now
    if session.link is not Link.ONLINE:
        hold, now = "Waiting for the server", job.said_at  # the time left stands still too
    return RunningView(
        job_id=job.id,
        name=job.name,
        line=job.line(now),
        fraction=job.fraction,
        icons=around.icons,
        hold=hold,
        can_pause=state is JobState.RUNNING,
        can_finish=state is JobState.RUNNING,
        can_cancel=state in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSING),
        can_put_back=job.here and job.missing,
        is_here=job.here,
        others=sum(1 for each in session.book if each.is_active and not each.is_unknown and not each.is_preview) - 1,
        notes=_notes(job),
    )


def _seeds(preview: SeedPreview, around: Surroundings, online: bool) -> SeedsView:
    job = preview.job
    problem, line = None, ""
    if job.problem is not None and not preview.complete:
        problem = problem_card(job.problem)
    elif job.is_active:
        line = job.line(around.now) if online else "Waiting for the server"
    elif job.state is JobState.CANCELLED:
        line = "Cancelled"
    elif not preview.complete:
        line = "Fetching"
    return SeedsView(
        title=job.name,
        line=line,
        fraction=job.fraction,
        rows=tuple((seed, around.seed_icons.get(seed, ())) for seed in job.request.seeds),
        can_use=online,
        problem=problem,
        notes=_notes(job),
    )


def _needs(session: Session, around: Surroundings) -> str:
    if session.picture is None:
        return "Choose, paste or drop an image first"
    if around.painting:
        return "Press Use Mask first"
    return session.picture.why_not(around.cut and session.can_cut_out)


def _picture(session: Session, around: Surroundings) -> PictureView:
    picture, can_cut = session.picture, session.can_cut_out
    reading = picture.source is None and picture.problem is None
    busy = reading or (around.cut and can_cut and picture.asked)
    if busy:
        line = "Reading" if reading else "Cutting out"
    elif picture.is_cut_out and around.cut:
        line = FOUND_BY.get(picture.method, "Subject found") if picture.has_subject else "No subject found"
        line = FOUND_BY["mask"] if picture.mask is not None and picture.has_subject else line
    else:
        line = ""
    newest = picture.remarks[-1] if picture.remarks and around.cut else None
    unmarked = newest is not None and (picture.mask is None or not picture.has_subject)
    return PictureView(
        icon=around.picture_icon,
        line=line,
        is_busy=busy,
        can_cut=can_cut,
        is_cut=around.cut and picture.is_cut_out,
        is_painting=around.painting,
        problem=problem_card(picture.problem, (_READ_AGAIN,)) if picture.problem else None,
        notes=tuple(words.wrap(f"{newest.what} {newest.remedy}", lines=6)) if unmarked else (),
    )


def _row(job: Job) -> Row:
    problem = None
    if job.problem is not None and job.state is JobState.FAILED:
        values = {"job_id": job.id}
        buttons = [Button("dreamlift.again", "Try Again", "FILE_REFRESH", values)]
        if job.problem.suggestion:
            key, value = next(iter(job.problem.suggestion.items()))
            text = f"Retry with {key.replace('_', ' ')} {value}"
            buttons.insert(0, Button("dreamlift.again", text, "FILE_REFRESH", {**values, "use_suggestion": True}))
        problem = problem_card(job.problem, (*buttons, Button("dreamlift.copy_report", "Report", "COPYDOWN", values)))
    running = job.state is not None and job.state.is_active
    return Row(
        job_id=job.id,
        name=job.name,
        icon=_ICONS.get(job.state, "QUESTION"),
        short=job.short(),
        fraction=job.fraction if running else None,
        in_scene=job.here and not job.missing,
        can_place=job.state is JobState.FINISHED and (not job.here or job.missing),
        can_resume=job.state is JobState.PAUSED,
        can_cancel=job.state in (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED),
        can_remove=job.state is not None and job.state.is_terminal,
        problem=problem,
        notes=_notes(job) if job.state is JobState.FINISHED else (),
    )


def _notes(job: Job) -> tuple[str, ...]:
    if not job.warnings:
        return ()
    newest = job.warnings[-1]
    return tuple(words.wrap(f"{newest.what} {newest.remedy}", lines=6))
