"""What a desktop does to a window: drops a file on it, moves and clicks the mouse. X11 through python-xlib.

Knows the protocol XDND (freedesktop.org, "Drag-and-Drop Protocol for the X Window System", version 5) from the side
of the source, as a file manager speaks it. Knows no Blender.
"""

from __future__ import annotations

import time
from pathlib import Path

from Xlib import XK, X, display
from Xlib.ext import xtest
from Xlib.protocol import event

VERSION = 5
SECONDS = 20.0


class Desktop:
    """A connection to one screen. Args: name: such as ":78"."""

    def __init__(self, name: str):
        self._display = display.Display(name)
        self._root = self._display.screen().root
        self._atoms: dict[str, int] = {}

    def close(self) -> None:
        self._display.close()

    def click(self, x: int, y: int) -> None:
        """Press the left button there."""
        self._move(x, y)
        for kind in (X.ButtonPress, X.ButtonRelease):
            xtest.fake_input(self._display, kind, 1)
            self._display.sync()
            time.sleep(0.1)

    def press(self, key: str) -> None:
        """Press and release a key by its X name, such as "Return"."""
        code = self._display.keysym_to_keycode(XK.string_to_keysym(key))
        for kind in (X.KeyPress, X.KeyRelease):
            xtest.fake_input(self._display, kind, code)
            self._display.sync()
            time.sleep(0.05)

    def stroke(self, points: list[tuple[int, int]]) -> None:
        """Draw with the left button pressed."""
        self._move(*points[0])
        xtest.fake_input(self._display, X.ButtonPress, 1)
        for x, y in points[1:]:
            self._move(x, y)
        xtest.fake_input(self._display, X.ButtonRelease, 1)
        self._display.sync()

    def drop(self, path: Path, x: int, y: int) -> None:
        """Drag a file there and let it go; raises TimeoutError where nobody takes it."""
        target = self._aware(self._root)
        source = self._root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
        uris = self._atom("text/uri-list")
        source.set_selection_owner(self._atom("XdndSelection"), X.CurrentTime)
        self._move(x, y)
        self._send(target, source, "XdndEnter", VERSION << 24, uris, 0, 0)
        for _ in range(3):  # a desktop tells every move of the mouse
            self._send(target, source, "XdndPosition", 0, x << 16 | y, X.CurrentTime, self._atom("XdndActionCopy"))
            self._until(source, "XdndStatus", path)
            time.sleep(0.2)
        self._send(target, source, "XdndDrop", 0, X.CurrentTime, 0, 0)
        self._until(source, "XdndFinished", path)
        source.destroy()
        self._display.sync()

    def _move(self, x: int, y: int) -> None:
        xtest.fake_input(self._display, X.MotionNotify, x=x, y=y)
        self._display.sync()
        time.sleep(0.1)

    def _atom(self, name: str) -> int:
        if name not in self._atoms:
            self._atoms[name] = self._display.intern_atom(name)
        return self._atoms[name]

    def _aware(self, window):
        """The window that says it takes drops."""
        if window.get_full_property(self._atom("XdndAware"), X.AnyPropertyType):
            return window
        found = (self._aware(child) for child in window.query_tree().children)
        return next((each for each in found if each is not None), None)

    def _send(self, target, source, kind: str, *data: int) -> None:
        message = event.ClientMessage(window=target, client_type=self._atom(kind), data=(32, [source.id, *data]))
        target.send_event(message)
        self._display.sync()

    def _until(self, source, kind: str, path: Path) -> None:
        """Answer who asks for the data until this message comes."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if not self._display.pending_events():
                time.sleep(0.01)
                continue
            happened = self._display.next_event()
            if happened.type == X.SelectionRequest:
                self._hand_over(happened, path)
            elif happened.type == X.ClientMessage and happened.client_type == self._atom(kind):
                return
        raise TimeoutError(f"no {kind} came in {SECONDS} s")

    def _hand_over(self, request, path: Path) -> None:
        data = f"{path.absolute().as_uri()}\r\n".encode()
        request.requestor.change_property(request.property, request.target, 8, data)
        answer = event.SelectionNotify(
            time=request.time,
            requestor=request.requestor,
            selection=request.selection,
            target=request.target,
            property=request.property,
        )
        request.requestor.send_event(answer)
        self._display.sync()
