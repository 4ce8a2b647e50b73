# SPDX-License-Identifier: GPL-3.0-or-later
"""The one timer: drains the socket, applies what arrived within a time budget, renews what the panels draw.

Knows when something may happen; what happens is the session's and the scene's. A plain function, because timers never
run in a Blender without a window: tests and scripts call `tick` themselves.
"""

from __future__ import annotations

import logging
import time

import bpy

from . import picture_source, preferences, state
from .jobs.job import Job
from .jobs.seed_preview import SeedPreview
from .properties import settings as scene_settings
from .properties import window as window_rows
from .protocol.messages import Mesh
from .protocol.states import JobState
from .scene import assets, undo_guard
from .scene.glb_reader import GlbError, read_glb
from .scene.live_object import Outcome, Placement, find_finished
from .scene.mesh_writer import MeshArrays
from .snapshot import VIEW_COUNT, Surroundings, build

log = logging.getLogger(__name__)

BUSY_SECONDS = 1 / 30  # between ticks while a job runs
IDLE_SECONDS = 1 / 10
FAILED_SECONDS = 1.0  # after a tick that failed, so that the console stays readable
BUDGET = 0.016  # of one tick; a commit may take longer
DRAW_SECONDS = 0.25  # panels are drawn again at most this often
SEED_PICTURES = "seeds/"  # where the previews of seeds lie among the thumbnails
CLOCK_SECONDS = 1.0  # time left counts down even when nothing arrives


class _Pace:
    """What the timer remembers between ticks."""

    def __init__(self):
        self.computed = 0.0  # CPU time of the main thread when the last tick ended
        self.changed_geometry = False
        self.changes = -1
        self.drawn = float("-inf")
        self.dirty = False
        self.access: bool | None = None


_pace = _Pace()


def timer() -> float:
    """What Blender calls; returns the seconds until the next call."""
    app = state.current()
    if app is None:
        return IDLE_SECONDS
    if _pace.changed_geometry:
        app.rate.redrawn(time.thread_time() - _pace.computed)
        _pace.changed_geometry = False
    try:
        tick(app)
        pause = BUSY_SECONDS if _is_busy(app) else IDLE_SECONDS
    except Exception:  # Blender would take the timer away, and the extension would stand still until the next start
        log.exception("a tick failed; the next one goes on")
        pause = FAILED_SECONDS
    _pace.computed = time.thread_time()
    return pause


def reset() -> None:
    """Forget the pace; called when the extension is enabled."""
    global _pace
    _pace = _Pace()


def tick(app: state.App) -> None:
    """One round. At most about `BUDGET` seconds, except where a finished object is committed."""
    now = time.monotonic()
    _look_at_access(app)
    app.session.tick(BUDGET / 2)
    if picture_source.tend(app, now, BUDGET / 8):
        request_redraw()
    if app.session.waits_for_blender():
        _apply(app, now)
    for job in app.session.take_ended():
        _end(app, job)
    app.live.push_undo_steps()
    _renew(app, now)


def request_redraw() -> None:
    """Something outside the session changed what panels show."""
    _pace.dirty = True


def reactions(app_of=state.current) -> undo_guard.Reactions:
    """What to do after undo, around a file load and before a save."""

    def undone() -> None:
        app = app_of()
        if app is None:
            return
        picture_source.give_icon_back(app)
        missing = set(app.live.rewrite())
        for job in app.session.book.of_this_file():
            job.missing = job.id in missing
        request_redraw()

    def loading() -> None:
        app = app_of()
        if app is not None:
            picture_source.give_icon_back(app)
            app.live.clear()

    def loaded() -> None:
        app = app_of()
        if app is not None:
            open_file(app)

    def saving() -> None:
        app = app_of()
        if app is not None:
            save_jobs(app)

    return undo_guard.Reactions(undone, loading, loaded, saving)


def open_file(app: state.App) -> None:
    """Take over the jobs that the open file remembers and find their objects again."""
    app.live.clear()
    scene = bpy.context.scene
    app.session.open_file(scene.dreamlift.saved_jobs if scene else "")
    for job in app.session.book.of_this_file():
        if job.committed:
            continue
        job.scene_uid = scene.session_uid
        _expect(app, job)
        attached = app.live.attach(job.id, job.object_name)
        # A name was saved, so there was an object; without it the artist deleted it.
        job.missing = bool(job.object_name) and not attached
        if job.missing:
            app.live.mark_deleted(job.id)
    request_redraw()


def save_jobs(app: state.App) -> None:
    """Write the file's jobs into its scene, so that opening it later finds them on the server; and what is painted."""
    scene = bpy.context.scene
    if scene is None:
        return
    picture_source.save(scene.dreamlift)
    for job in app.session.book.of_this_file():
        if job.id in app.live:
            job.object_name = app.live.object_name(job.id) or job.object_name
    text = app.session.book.to_text()
    if scene.dreamlift.saved_jobs != text:
        scene.dreamlift.saved_jobs = text


def put_back(app: state.App, job: Job) -> None:
    """Make a job's object in this scene: one that was deleted, or one of another file."""
    scene = bpy.context.scene
    if job.id not in app.live:
        if not job.here:
            job.location = tuple(scene.cursor.location)
            job.scene_uid = scene.session_uid
        _expect(app, job)
    job.missing = False
    app.live.revive(job.id)
    app.session.adopt(job)


def _is_busy(app: state.App) -> bool:
    testing = any(test.ok is None for test in app.session.tests.values())
    return testing or any(job.is_active for job in app.session.book)


def _look_at_access(app: state.App) -> None:
    """Connect only while Blender's preference allows it."""
    access = bpy.app.online_access
    if access != _pace.access:
        _pace.access = app.session.allowed = access
        request_redraw()
        if not access:
            app.session.go_offline()
        else:
            app.session.retry()
            if preferences.get().start_with_blender:
                start_backend(app)


def start_backend(app: state.App) -> bool:
    """Start the backend on this computer; False where the program is not found or it runs already."""
    chosen = preferences.get()
    app.look_for_command(chosen.command)
    if app.command is None:
        return False
    arguments = ["serve"] + (["--port", str(chosen.port)] if chosen.port else [])
    started = app.backend.start(app.command, arguments)
    if started:
        app.session.retry()
    request_redraw()
    return started


# -- what arrived, into the scene ------------------------------------------------------------------


def _apply(app: state.App, now: float) -> None:
    until = time.perf_counter() + BUDGET / 2
    chosen = preferences.get()
    app.rate.hertz = chosen.live_rate
    for job_id in app.session.results():
        _commit(app, job_id, chosen.mark_assets)
    window = bpy.context.window_manager.dreamlift
    for job in app.session.book:
        if not job.id or not job.is_active:
            continue
        wanted = app.session.waits(job.id, "mesh") and window.live and job.here
        if wanted and (app.rate.due(now) or job.id not in app.live):  # a job's first mesh does not wait
            _show_mesh(app, job, chosen.triangle_limit, now)
        if app.session.waits(job.id, "views") and time.perf_counter() < until:
            _show_views(app, job)
    if app.session.preview is not None and app.session.preview.fresh:
        _show_seeds(app, app.session.preview)


def _show_mesh(app: state.App, job: Job, triangle_limit: int, now: float) -> None:
    message = app.session.take_mesh(job.id)
    if message is None:
        return
    if len(message.faces) > triangle_limit:
        job.hold = f"{len(message.faces) // 1000}k triangles: not shown"
        request_redraw()
        return
    arrays = _arrays(message)
    wrong = arrays.why_unusable()
    if wrong:
        log.error("job %s: a preview is left out: %s", job.id, wrong)
        return
    if job.id not in app.live:
        _expect(app, job)
    began = time.perf_counter()
    outcome = app.live.show(job.id, arrays)
    app.rate.applied(now, time.perf_counter() - began)
    _pace.changed_geometry = outcome is Outcome.WRITTEN
    job.missing = outcome is Outcome.MISSING
    if job.hold != outcome.value:
        job.hold = outcome.value
    request_redraw()


def _expect(app: state.App, job: Job) -> None:
    app.live.expect(job.id, job.name, Placement(job.location, job.size, job.scene_uid))


def _arrays(message: Mesh) -> MeshArrays:
    return MeshArrays(message.vertices, message.faces, message.edges, message.face_edges, message.colors, message.uvs)


def _show_views(app: state.App, job: Job) -> None:
    message = app.session.take_views(job.id)
    if message is None or message.images.size == 0:
        return
    if job.is_preview:
        if app.session.preview is not None and app.session.preview.job is job:
            app.session.preview.take(message)
        return
    app.icons[job.id] = tuple(
        app.thumbnails.show(f"{job.id}/{index}", image) for index, image in enumerate(message.images[:VIEW_COUNT])
    )
    app.front[job.id] = message.images[0]
    request_redraw()


def _show_seeds(app: state.App, preview: SeedPreview) -> None:
    """The newest pictures of the seeds that the artist looks at."""
    preview.fresh = False
    for seed, pictures in preview.rows():
        names = (f"{SEED_PICTURES}{seed}/{index}" for index in range(len(pictures)))
        app.seed_icons[seed] = tuple(map(app.thumbnails.show, names, pictures))
    request_redraw()


def _commit(app: state.App, job_id: str, mark: bool) -> None:
    job = app.session.book.get(job_id)
    if job is None or not job.here or job.missing:
        return  # it stays with the session until somebody puts the object back
    if job.id not in app.live:
        _expect(app, job)
    held = app.live.why_held(job.id)
    if held is not Outcome.WRITTEN:
        job.hold, job.missing = held.value, held is Outcome.MISSING
        return
    try:
        asset = read_glb(app.session.take_result(job_id))
    except GlbError as error:
        log.error("job %s: the result cannot be read: %s", job_id, error)
        app.live.forget(job.id)
        job.spoil("unreadable_result", f"The finished mesh cannot be read: {error}.")
        return
    provenance = asset.extras.get("dreamlift", {})
    app.live.commit(job.id, asset, _readable(provenance))
    app.session.committed(job)
    app.colors.show_finished()
    if mark:
        mark_asset(app, job)
    request_redraw()


def _end(app: state.App, job: Job) -> None:
    """A job of this file ended without a result: a cancelled one leaves nothing, a failed one what it showed."""
    if job.state is JobState.CANCELLED:
        app.live.drop(job.id)
    else:
        app.live.forget(job.id)
    request_redraw()


def mark_asset(app: state.App, job: Job) -> bool:
    """Put a finished object into the Asset Browser; False where it is not in this file."""
    found = find_finished(job.id)
    if found is None:
        return False
    licence = str(found.get("dreamlift_licence", ""))
    assets.mark_as_asset(found, job.request.prompt, licence, app.front.get(job.id), ("Dreamlift",))
    return True


def _readable(provenance) -> dict:
    """Provenance as custom properties: texts and numbers; settings one by one."""
    if not isinstance(provenance, dict):
        return {}
    flat = {}
    for key, value in provenance.items():
        inner = value.items() if isinstance(value, dict) else (("", value),)
        for name, entry in inner:
            if isinstance(entry, int) and not -(2**31) <= entry < 2**31:
                entry = str(entry)  # custom properties hold 32 bits
            if isinstance(entry, str | int | float | bool):
                flat[f"{key}_{name}" if name else key] = entry
    return flat


# -- what panels draw ------------------------------------------------------------------------------


def _renew(app: state.App, now: float) -> None:
    """Build the snapshot and ask for a redraw, if something changed and the last one is long enough ago."""
    if app.session.changes != _pace.changes:
        _pace.changes, _pace.dirty = app.session.changes, True
    ticking = not app.snapshot.online or app.snapshot.running is not None
    if ticking and now - _pace.drawn >= CLOCK_SECONDS:
        _pace.dirty = True
    if not _pace.dirty or now - _pace.drawn < DRAW_SECONDS:
        return
    _pace.dirty, _pace.drawn = False, now
    _forget_pictures(app)
    scene = bpy.context.scene
    fields = scene.dreamlift if scene else None
    old = app.snapshot
    app.snapshot = build(app.session, _surroundings(app, fields, now))
    if fields is not None:  # also where the snapshot is the same: the scene may be another
        scene_settings.sync(fields, app.snapshot.pipeline, app.snapshot.preset, app.snapshot.settings)
    if app.snapshot == old:
        return
    window_rows.show_rows(bpy.context.window_manager.dreamlift, app.snapshot.rows)
    _redraw()


def _forget_pictures(app: state.App) -> None:
    """Views are for jobs that run; the front picture stays as long as the job is listed, for the Asset Browser."""
    seeds = app.session.preview.job.request.seeds if app.session.preview else ()
    for seed in [seed for seed in app.seed_icons if seed not in seeds]:
        app.thumbnails.drop(f"{SEED_PICTURES}{seed}/")
        del app.seed_icons[seed]
    for job_id in list(app.front):
        job = app.session.book.get(job_id)
        if job_id in app.icons and (job is None or not job.is_active):
            app.thumbnails.drop(f"{job_id}/")
            del app.icons[job_id]
        if job is None:
            del app.front[job_id]


def _surroundings(app: state.App, fields, now: float) -> Surroundings:
    running = app.session.book.running()
    return Surroundings(
        online_access=bpy.app.online_access,
        forced_offline=bpy.app.online_access_override and not bpy.app.online_access,
        command_found=app.command is not None,
        backend=app.backend.state,
        backend_words=app.backend.last_words() if app.backend.state.value == "ended" else "",
        backend_stuck=app.backend.stuck,
        pipeline=fields.pipeline if fields else "",
        preset=fields.preset if fields else "",
        icons=app.icons.get(running.id, ()) if running else (),
        now=now,
        seed_icons=app.seed_icons,
        source=fields.source if fields else "",
        cut=fields.cut_out if fields else True,
        painting=fields is not None and fields.canvas is not None,
        picture_icon=app.picture_icon,
    )


def _redraw() -> None:
    """Draw again the sidebars of 3D viewports, and the preferences if they are open."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D" and area.spaces.active.show_region_ui:
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
