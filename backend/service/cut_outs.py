"""Pictures cut out for artists: one short-lived process a picture, with limits, watched from the service's loop.

Knows processes, temporary files and the answer's form. Decodes no picture: whatever a hostile file does, it does in
`workers/cut_out.py`, and what that process writes is measured before it is believed.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from collections import deque
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from dreamlift.protocol import messages
from dreamlift.protocol.errors import ProtocolError
from dreamlift.service.blobs import Blobs
from dreamlift.service.home import Home
from dreamlift.service.sessions import Session, Sessions
from dreamlift.service.settings import ServiceSettings
from dreamlift.service.supervisor import own_group, rotated

WAITING = 8  # pictures that may wait for their turn
MOST_SIDE = 1024  # pixels of an answer
MOST_HEAD = 16 * 1024  # bytes of its first line
PAUSE_SECONDS = 0.05  # between looks at a process that runs
_log = logging.getLogger(__name__)


@dataclass
class _Wish:
    session: Session
    id: int
    message: messages.CutOut
    process: subprocess.Popen | None = None
    output: IO[bytes] | None = None
    until: float = field(default=0.0)


class CutOuts:
    """Pictures that wait or are cut out; one at a time, so that jobs keep the processor.

    Args:
        settings: Which command, and how long it may take.
        home: Where blobs and logs lie.
        blobs: Which pictures there are.
        sessions: Who is told.
    """

    def __init__(self, settings: ServiceSettings, home: Home, blobs: Blobs, sessions: Sessions):
        self._settings, self._home, self._blobs, self._sessions = settings, home, blobs, sessions
        self._wishes: deque[_Wish] = deque()  # the first one runs

    @property
    def pause(self) -> float:
        """Seconds that the loop may sleep."""
        return PAUSE_SECONDS if self._wishes else float("inf")

    def ask(self, session: Session, id: int, message: messages.CutOut) -> None:
        """Take a command; its answer comes from `tick`. The same command sent again is one.

        Raises:
            ProtocolError: "unknown_blob" or "busy".
        """
        if any(wish.session is session and wish.id == id for wish in self._wishes):
            return
        if self._blobs.size(message.sha256) is None:
            raise ProtocolError("unknown_blob", f"The server has no blob {message.sha256[:12]}.", "Upload it first.")
        if len(self._wishes) > WAITING:
            raise ProtocolError("busy", f"{len(self._wishes)} pictures wait to be cut out.", "Try again in a minute.")
        self._wishes.append(_Wish(session, id, message))

    def tick(self, now: float) -> None:
        """Answer what is done, end what takes too long, start what is next."""
        while self._wishes:
            wish = self._wishes[0]
            if wish.process is None:
                if not self._start(wish, now):
                    continue
            if wish.process.poll() is None:
                if now < wish.until:
                    return
                wish.process.kill()
                wish.process.wait()
                _log.warning("cutting out %s took too long", wish.message.sha256[:12])
            self._wishes.popleft()
            self._answer(wish, _answer_of(wish))

    def close(self) -> None:
        """End what runs."""
        for wish in self._wishes:
            if wish.process is not None:
                wish.process.kill()
                wish.process.wait()
                wish.output.close()
        self._wishes.clear()

    def _start(self, wish: _Wish, now: float) -> bool:
        wish.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the answer
        wish.until = now + self._settings.cut_out_seconds
        picture = str(self._home.blob(wish.message.sha256))
        try:
            with open(rotated(self._home.logs / "cut_out.log"), "ab") as log:
                wish.process = subprocess.Popen(
                    [*self._settings.cut_out_command, picture, str(wish.message.threshold)],
                    stdin=subprocess.DEVNULL,
                    stdout=wish.output,
                    stderr=log,
                    **own_group(),
                )
        except OSError as error:
            _log.error("pictures cannot be cut out: %s", error)
            self._wishes.popleft()
            self._answer(wish, _failed("could not be started"))
            return False
        return True

    def _answer(self, wish: _Wish, answer: messages.Message) -> None:
        wish.output.close()
        if self._sessions.get(wish.session.peer) is wish.session:  # else it has left
            self._sessions.answer(wish.session, answer, wish.id)


def _answer_of(wish: _Wish) -> messages.Message:
    """What an ended process wrote, as a message; nothing in it is trusted."""
    status, output = wish.process.returncode, wish.output
    if status != 0:
        _log.warning("cutting out %s ended with status %s", wish.message.sha256[:12], status)
        return _failed("took too long or needed too much memory" if status < 0 else "ended badly")
    output.seek(0)
    try:
        head = json.loads(output.readline(MOST_HEAD))
        if "error" in head:
            return messages.Error.from_body(head["error"])
        return messages.Cutout.from_body(
            {"sha256": wish.message.sha256, "method": head["method"], "remarks": head["remarks"]},
            arrays={"rgba": _pixels(output, head["height"], head["width"])},
        )
    except (ValueError, KeyError, TypeError, ProtocolError) as error:
        _log.error("cutting out %s gave something unreadable: %s", wish.message.sha256[:12], error)
        return _failed("gave something unreadable")


def _pixels(output: IO[bytes], height: Any, width: Any) -> np.ndarray:
    """(H, W, 4) uint8; raises ValueError where the file does not hold exactly that."""
    sides_fit = all(type(side) is int and 1 <= side <= MOST_SIDE for side in (height, width))
    if not sides_fit or os.fstat(output.fileno()).st_size - output.tell() != height * width * 4:
        raise ValueError(f"{height} x {width} pixels do not fit the bytes that follow")
    return np.frombuffer(output.read(height * width * 4), np.uint8).reshape(height, width, 4)


def _failed(why: str) -> messages.Error:
    return messages.Error(
        code="cut_out_failed",
        what=f"The picture could not be cut out: the process that does it {why}.",
        remedy="Try another picture, or one of fewer pixels; the server's cut_out.log has the details.",
    )
