# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's one running instance: what lives from enabling it to disabling it.

Knows which parts there are and how they are made and given back. What happens with them every tick is pump.py's.
"""

from __future__ import annotations

import atexit
import logging
from pathlib import Path

import bpy

from .client.servers import ServerList
from .jobs.live_rate import LiveRate
from .local_backend import LocalBackend, find_command
from .scene.image_writer import Thumbnails
from .scene.live_object import LiveObjects
from .scene.viewport import ViewportColors
from .session import Session
from .snapshot import Snapshot

log = logging.getLogger(__name__)

VERSION = "0.1.0"


class App:
    """Session, live objects, thumbnails, local backend and the snapshot that panels draw.

    Args:
        folder: The extension's own folder of this user; for the server list and the backend's log.
    """

    def __init__(self, folder: Path):
        client = f"blender {'.'.join(map(str, bpy.app.version[:2]))}"
        self.session = Session(ServerList(folder / "servers.json"), client, VERSION)
        self.backend = LocalBackend(folder / "backend.log")
        self.live = LiveObjects()
        self.colors = ViewportColors()
        self.thumbnails = Thumbnails()
        self.rate = LiveRate()
        self.snapshot = Snapshot()
        self.icons: dict[str, tuple[int, ...]] = {}  # of the views, by job
        self.seed_icons: dict[int, tuple[int, ...]] = {}  # of the pictures of Preview Seeds, by seed
        self.picture_icon = 0  # of the image that the next object is made from
        self.cut_icon = 0  # of its subject, among the thumbnails
        self.borrows_icon = False  # it is a datablock's, not one of the thumbnails
        self.front: dict[str, object] = {}  # newest front picture by job, for the Asset Browser
        self.command: Path | None = None
        self.command_text = ""
        atexit.register(self.backend.stop)

    def look_for_command(self, chosen: str) -> None:
        """Search the `dreamlift` program again: at start and when the preference changes, not in every tick."""
        self.command = find_command(chosen)
        self.command_text = str(self.command or "not found")

    def close(self) -> None:
        """Give back sockets, icons and the backend's process."""
        self.session.close()
        self.thumbnails.close()
        self.backend.stop()
        atexit.unregister(self.backend.stop)


_app: App | None = None


def current() -> App | None:
    """The running instance; None while the extension is being enabled or disabled."""
    return _app


def start() -> App:
    """Make the instance; called once by the registration."""
    global _app
    folder = Path(bpy.utils.extension_path_user(__package__, create=True))
    _app = App(folder)
    return _app


def stop() -> None:
    """Close the instance; called once by the registration."""
    global _app
    app, _app = _app, None
    if app is not None:
        app.close()
