"""Files by their hash: uploads in pieces, artifacts that move in, and what nobody needs any more.

Knows paths from `home`. Knows no jobs: `clean` is told what is wanted. A blob is there whole and right, or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dreamlift.protocol import limits
from dreamlift.protocol.errors import ProtocolError
from dreamlift.service.home import Home

OPEN_HASHES = 64  # digests of unfinished uploads that are kept in memory


class Blobs:
    """The blobs of one home.

    Args:
        home: Prepared folders.
        free_bytes: Space that uploads leave free on the disk.
    """

    def __init__(self, home: Home, free_bytes: int):
        self._home = home
        self._free_bytes = free_bytes
        self._digests: OrderedDict[str, tuple[int, object]] = OrderedDict()  # hash to (bytes hashed, digest)

    def size(self, sha256: str) -> int | None:
        """Bytes of a complete blob; None where there is none."""
        try:
            return self._home.blob(sha256).stat().st_size
        except FileNotFoundError:
            return None

    def have(self, sha256: str, size: int) -> tuple[int, bool]:
        """How many first bytes are there, and whether all are. Raises ProtocolError "storage_full"."""
        whole = self.size(sha256)
        if whole is not None:
            os.utime(self._home.blob(sha256))  # somebody is about to use it: not an orphan for another day
            return whole, True
        if shutil.disk_usage(self._home.root).free < size + self._free_bytes:
            raise ProtocolError("storage_full", "The server's disk is full.", "Remove old jobs or free some space.")
        partial = self._partial(sha256)
        there = partial.stat().st_size if partial.exists() else 0
        if there >= size:  # begun with another size, or a wrong ending: start over
            partial.unlink(missing_ok=True)
            there = 0
        return there, False

    def add(self, sha256: str, size: int, offset: int, data: np.ndarray) -> tuple[int, bool]:
        """Append a piece; returns what is there now, as `have`.

        Raises:
            ProtocolError: "wrong_offset", "frame_too_large", "bad_hash" or "storage_full".
        """
        there, complete = self.have(sha256, size)
        if complete:
            return there, True
        if len(data) > limits.MAX_CHUNK_BYTES or offset + len(data) > size:
            raise ProtocolError("frame_too_large", f"A piece of {len(data)} bytes does not fit at {offset} of {size}.")
        if offset != there or not len(data):
            raise ProtocolError("wrong_offset", f"The server has {there} bytes, the piece starts at {offset}.")
        path = self._partial(sha256)
        digest = self._digest(sha256, offset)
        with open(path, "ab") as file:
            file.write(data.data)
        digest.update(data.data)
        there = offset + len(data)
        if there < size:
            self._digests[sha256] = (there, digest)
            while len(self._digests) > OPEN_HASHES:
                self._digests.popitem(last=False)
            return there, False
        if digest.hexdigest() != sha256:
            path.unlink()
            raise ProtocolError("bad_hash", "The upload's bytes do not have the announced SHA-256.", "Send it again.")
        self._place(path, sha256)
        return there, True

    def read(self, sha256: str, offset: int, length: int) -> tuple[np.ndarray, int]:
        """A piece of a blob and the whole's size. Raises ProtocolError "unknown_blob" or "wrong_offset"."""
        try:
            with open(self._home.blob(sha256), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if offset > size or (offset == size and size):
                    raise ProtocolError("wrong_offset", f"The blob has {size} bytes, {offset} is beyond its end.")
                file.seek(offset)
                return np.frombuffer(file.read(min(length, limits.MAX_CHUNK_BYTES)), np.uint8), size
        except FileNotFoundError:
            raise ProtocolError("unknown_blob", f"The server has no blob {sha256[:12]}.", "Upload it first.") from None

    def adopt(self, path: Path, sha256: str) -> None:
        """Move a worker's file in; it is on the disk for good when this returns."""
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        self._place(path, sha256)

    def clean(self, is_wanted: Callable[[str], bool], older_than: float) -> int:
        """Delete blobs and unfinished uploads that no job needs and nobody touched for `older_than` seconds."""
        limit = time.time() - older_than
        deleted = 0
        for path in [*self._home.blobs.glob("??/*"), *self._home.partial.iterdir()]:
            wanted = path.parent != self._home.partial and is_wanted(path.name)
            if not wanted and path.stat().st_mtime < limit:
                path.unlink()
                deleted += 1
        return deleted

    def _partial(self, sha256: str) -> Path:
        return self._home.partial / self._home.blob(sha256).name

    def _place(self, path: Path, sha256: str) -> None:
        target = self._home.blob(sha256)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(path, target)
        self._digests.pop(sha256, None)

    def _digest(self, sha256: str, offset: int) -> hashlib._Hash:
        hashed, digest = self._digests.pop(sha256, (0, None))
        if digest is not None and hashed == offset:
            return digest
        digest = hashlib.sha256()
        if offset:
            with open(self._partial(sha256), "rb") as file:
                while piece := file.read(limits.MIB):
                    digest.update(piece)
        return digest
