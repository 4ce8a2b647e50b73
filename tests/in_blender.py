"""What tests/bpy/inside.py and tests/gui/inside.py share: the installed extension as seen from inside Blender.

Knows `bpy` and the extension's names. Waits for nothing: without a window there is no timer, so each of the two has a
way of its own. Imported in Blender's Python, which has nothing of ours on its path; both put this folder there.
"""

import logging
from importlib import import_module

import bpy

NAME = "bl_ext.user_default.dreamlift"


class Said(logging.Handler):
    """Keeps what the extension logs from a level on. Args: level: such as `logging.WARNING`."""

    def __init__(self, level):
        super().__init__(level)
        self.records = []
        logging.getLogger("bl_ext").addHandler(self)

    def emit(self, record):
        """Called by `logging`."""
        self.records.append(record.getMessage())


def install(zip_path):
    """Install the built extension and enable it."""
    bpy.ops.extensions.package_install_files(
        filepath=zip_path, repo="user_default", enable_on_install=True, overwrite=True
    )


def part(name):
    """A module of the installed extension."""
    return import_module(f"{NAME}.{name}")


def app():
    """The extension's running instance; None while it is disabled."""
    return part("state").current()


def running(field):
    """A field of the panel Now Running; None while it is hidden."""
    return getattr(app().snapshot.running, field, None)


def shown():
    """What the panels show, short enough for a failure's message."""
    snapshot = app().snapshot
    rows = [(row.name, row.short) for row in snapshot.rows[:4]]
    return f"card {snapshot.card}, running {snapshot.running}, rows {rows}"


def newest_job():
    """The job whose Generate was pressed last."""
    return next(iter(app().session.book))


def unfinished_jobs():
    """Jobs that the server knows and that have not ended: what a failed scenario leaves behind."""
    return [job for job in app().session.book if job.id and job.state and not job.state.is_terminal]


def live_object(job):
    """The object of a job, live or finished; None where it is not in the file."""
    return next((each for each in bpy.data.objects if each.get("dreamlift_job") == job.id), None)


def triangles(job):
    """How many triangles the object of a job has; 0 without one."""
    found = live_object(job)
    return len(found.data.polygons) if found else 0


def other_threads():
    """Python threads beside the main one: the extension starts none."""
    import threading

    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


def picture_file(path, side=320):
    """Write a PNG of a yellow ball on a blue stem before a plain grey wall; needs nothing but numpy."""
    import numpy as np

    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    shade = np.clip(1.0 - 0.35 * (x - y), 0.5, 1.2)[..., None]
    pixels = np.full((side, side, 3), 170.0)
    stem = (abs(x) < 0.14) & (y > 0) & (y < 0.75)
    ball = x**2 + (y + 0.2) ** 2 < 0.25
    pixels = np.where(stem[..., None], np.array([40, 70, 190]) * shade, pixels)
    pixels = np.where(ball[..., None], np.array([235, 180, 30]) * shade, pixels)
    encoder = part("jobs.png").PngEncoder(np.clip(pixels, 0, 255).astype(np.uint8))
    path.write_bytes(encoder.result()[0])
    return str(path)


def cut_out_picture():
    """The picture of the panel once its subject was found; None before."""
    picture = app().session.picture
    return picture if picture is not None and picture.is_cut_out and not picture.asked else None
