# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture an object is made from, as the panel sees it: read, cut out, corrected, made ready to be sent.

Knows the order of the steps and the pixels. Knows no bpy (scene/pictures.py gives the file and takes what is to be
painted) and no sockets (the session asks the server). Whatever takes long is done a piece at a time by `step`.
"""

from __future__ import annotations

import hashlib
import time
from typing import BinaryIO

import numpy as np

from ..protocol.errors import ProtocolError
from ..protocol.messages import Cutout, Problem
from ..protocol.transfers import Upload
from .png import PngEncoder

SLICE = 1 << 20  # bytes of the file that are read at a time
PATIENCE = 0.35  # seconds that the slider must rest before the server is asked again
SHOWN_SIDE = 256  # pixels of the picture in the panel
ROOM = 0.15  # of the subject's longer side, shown around it
KEEP, DROP, LEAVE = 255, 0, 128  # of a mask: what the artist marked, and what was left as it was found
DIM = 0.35  # of the background while a mask is painted
STROKE = 0.06  # of a channel: a change above this is the artist's
FOUND_BY = {
    "alpha": "Its own transparency",
    "matting": "Found by a model",
    "plane": "Found on a plain background",
    "grabcut": "Found by its colors",
    "mask": "As marked",
}


class PicturePrompt:
    """One picture, from its file to what a request carries.

    Args:
        key: Which picture it is; another key is another picture.
        name: For people.
        file: Its encoded bytes, PNG or JPEG; None where `problem` says why there are none.
        problem: Why it cannot be used.
    """

    def __init__(self, key: str, name: str, file: BinaryIO | None, problem: Problem | None = None):
        self.key, self.name, self.problem = key, name, problem
        self.remarks: tuple[Problem, ...] = ()
        self.method = ""
        self.asked = False  # the server is cutting it out at this moment
        self.fresh = False  # there is something new to show
        self.source: Upload | None = None  # the file as it is, once it was read
        self.mask: np.ndarray | None = None  # (H, W) uint8 of KEEP, DROP, LEAVE
        self.mask_key: object = None  # which marks `apply_mask` was told of
        self._file = file
        self._pieces: list[bytes] = []
        self._digest = hashlib.sha256()
        self._found: np.ndarray | None = None  # (H, W, 4) uint8 as the server found it
        self._cut: np.ndarray | None = None  # the same with the mask
        self._canvas: np.ndarray | None = None  # as it was before somebody painted on it
        self._encoder: PngEncoder | None = None
        self._upload: Upload | None = None
        self._threshold = self._wanted = 0.5
        self._wanted_at = float("-inf")

    # -- what the panel asks -----------------------------------------------------------------------

    @property
    def is_cut_out(self) -> bool:
        """Whether the server has answered with pixels."""
        return self._cut is not None

    @property
    def has_subject(self) -> bool:
        """Whether anything of it is opaque."""
        return self._cut is not None and bool(self._cut[..., 3].any())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the cut-out; (0, 0) without one."""
        return (0, 0) if self._found is None else self._found.shape[1::-1]

    def shown(self) -> np.ndarray | None:
        """(h, w, 3) uint8, at most `SHOWN_SIDE` a side: the subject on a chequered ground; None before the answer.

        Without a subject it is the picture, dimmed.
        """
        if self._cut is None:
            return None
        if self.has_subject:
            return _on_ground(_smaller(_around_subject(self._cut), SHOWN_SIDE))
        return (_smaller(self._found, SHOWN_SIDE)[..., :3] * np.float32(DIM)).astype(np.uint8)

    def why_not(self, cut: bool) -> str:
        """Why it cannot be sent at the moment, in a sentence for a tooltip; "" where it can."""
        if self.problem is not None:
            return self.problem.what
        if self.source is None:
            return "The image is being read"
        if cut and (self.asked or not self.is_cut_out):
            return "The subject is being cut out"
        if cut and not self.has_subject:
            return "No subject was found: mark it with Edit Mask"
        return ""

    # -- its steps ---------------------------------------------------------------------------------

    def step(self, until: float) -> None:
        """Read or encode on, until `time.perf_counter()` reaches `until`."""
        while self._file is not None and time.perf_counter() < until:
            self._read()
        if self._encoder is not None and self._encoder.step(until):
            self._upload = Upload(*self._encoder.result())
            self._encoder = None

    def want(self, threshold: float, now: float) -> bool:
        """Whether the server should be asked (again) to cut it out.

        Args:
            threshold: Of the slider; one that still moves is waited for.
            now: Monotonic seconds.
        """
        if threshold != self._wanted:
            self._wanted, self._wanted_at = threshold, now
        done = self.is_cut_out or self.problem is not None
        if self.source is None or self.asked or (done and self._wanted == self._threshold):
            return False
        return now - self._wanted_at >= PATIENCE

    def ask(self) -> tuple[Upload, float]:
        """What the server is asked with; its answer comes to `take` or `refuse`."""
        self.asked, self.problem, self._threshold = True, None, self._wanted
        return self.source, self._threshold

    def forget_question(self) -> None:
        """Nobody will answer any more."""
        self.asked = False

    def take(self, answer: Cutout) -> None:
        """The server found a subject, or says why not."""
        self.asked = False
        self.method, self.remarks, self._found, self._canvas = answer.method, answer.remarks, answer.rgba, None
        if self.mask is not None and self.mask.shape != self._found.shape[:2]:
            self.mask = None
        self._compose()

    def refuse(self, error: ProtocolError) -> None:
        """The server cannot cut it out."""
        self.asked = False
        self.problem = Problem(code=error.code, what=error.what, remedy=error.remedy)
        self.fresh = True

    def upload(self, cut: bool) -> Upload:
        """What a request carries; finishes what is unfinished. `why_not` must be empty."""
        if not cut:
            return self.source
        self.step(float("inf"))
        return self._upload

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._pieces.clear()

    # -- the mask ----------------------------------------------------------------------------------

    def apply_mask(self, mask: np.ndarray | None) -> None:
        """Take what the artist marked, (H, W) uint8 of the picture's size; None or another size for nothing."""
        fits = mask is not None and self._found is not None and mask.shape == self._found.shape[:2]
        self.mask = mask if fits else None
        if self._found is not None:
            self._compose()

    def canvas(self) -> np.ndarray:
        """(H, W, 3) uint8 to paint on: the subject as it is, the rest dimmed."""
        light = DIM + (1 - DIM) * (self._cut[..., 3:].astype(np.float32) / 255)
        self._canvas = (self._found[..., :3] * light).astype(np.uint8)
        return self._canvas.copy()

    def painted(self, canvas: np.ndarray) -> np.ndarray:
        """The mask after somebody painted on `canvas()`: light strokes keep, dark ones drop, the rest stays.

        Args:
            canvas: (H, W, 3) uint8.
        """
        before = self._canvas if self._canvas is not None else self.canvas()  # None: it was opened before the file was
        change = canvas.astype(np.int16) - before
        strongest = np.take_along_axis(change, np.abs(change).argmax(-1)[..., None], -1)[..., 0]
        mask = np.full(canvas.shape[:2], LEAVE, np.uint8) if self.mask is None else self.mask.copy()
        mask[strongest > STROKE * 255] = KEEP
        mask[strongest < -STROKE * 255] = DROP
        return mask

    # -- inside ------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            piece = self._file.read(SLICE)
            self._pieces.append(piece)
            self._digest.update(piece)
            if len(piece) == SLICE:
                return
            self.source = Upload(b"".join(self._pieces), self._digest.hexdigest())
        except (OSError, ProtocolError) as error:
            self.problem = Problem(code="bad_image", what=f"{self.name} cannot be read: {error}"[:1000])
        self.close()

    def _compose(self) -> None:
        cut = self._found.copy()
        if self.mask is not None:
            alpha = cut[..., 3]
            alpha[self.mask == KEEP] = 255
            alpha[self.mask == DROP] = 0
        self._cut, self._upload, self._encoder = cut, None, PngEncoder(cut)
        self.fresh = True


def _around_subject(rgba: np.ndarray) -> np.ndarray:
    """What is opaque and some room around it."""
    rows, columns = (np.flatnonzero(rgba[..., 3].any(axis)) for axis in (1, 0))
    room = int(ROOM * max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    top, left = max(0, rows[0] - room), max(0, columns[0] - room)
    return rgba[top : rows[-1] + 1 + room, left : columns[-1] + 1 + room]


def _smaller(pixels: np.ndarray, side: int) -> np.ndarray:
    """At most `side` pixels a side, each the mean of four of those it stands for: 1 ms from 1024 to 256."""
    step = -(-max(pixels.shape[:2]) // side)
    if step == 1:
        return pixels
    height, width = (length - length % step for length in pixels.shape[:2])
    corners = [pixels[y:height:step, x:width:step].astype(np.uint16) for y in (0, step // 2) for x in (0, step // 2)]
    return (sum(corners) // 4).astype(np.uint8)


def _on_ground(rgba: np.ndarray) -> np.ndarray:
    """What is transparent shows squares of two greys, as everywhere in Blender."""
    height, width = rgba.shape[:2]
    y, x = np.arange(height)[:, None] // 12, np.arange(width)[None, :] // 12
    ground = np.where((x + y) % 2, 70.0, 50.0).astype(np.float32)[..., None]
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)
