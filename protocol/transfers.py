"""One upload and one download: which piece comes next, and whether what arrived is right.

Knows offsets and hashes. Knows no sockets and no files: an upload has its bytes, a download a function to write with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import limits
from .errors import ProtocolError
from .messages import Artifact, BlobChunk, BlobQuery, Chunk, Fetch


class Upload:
    """Bytes on their way to the server.

    Args:
        data: The whole blob, 1 byte to 256 MiB.
        sha256: Of the data, in hex, where the caller knows it already; "" computes it here.
    """

    def __init__(self, data: bytes, sha256: str = ""):
        if not 1 <= len(data) <= limits.MAX_BLOB_BYTES:
            raise ProtocolError(
                "frame_too_large",
                f"A picture of {len(data)} bytes cannot be sent.",
                f"Use one of 1 byte to {limits.MAX_BLOB_BYTES // limits.MIB} MiB.",
            )
        self.data = memoryview(data)
        self.sha256 = sha256 or hashlib.sha256(data).hexdigest()

    def query(self) -> BlobQuery:
        """The question with which an upload starts and resumes."""
        return BlobQuery(sha256=self.sha256, size=len(self.data))

    def piece(self, offset: int, length: int = limits.CHUNK_BYTES) -> BlobChunk:
        """The next piece."""
        data = np.frombuffer(self.data[offset : offset + length], np.uint8)
        return BlobChunk(sha256=self.sha256, size=len(self.data), offset=offset, data=data)


class Download:
    """An artifact on its way here.

    Args:
        artifact: What to fetch.
        write: Called with each piece in order; may raise OSError.
        have: Bytes that are here already from an earlier try.
        digest: A `hashlib.sha256` fed with those bytes; needed where `have` is not 0.
    """

    def __init__(self, artifact: Artifact, write: Callable[[memoryview], Any], have: int = 0, digest: Any = None):
        if have and digest is None:
            raise ValueError("A resumed download needs the SHA-256 of the bytes that are here already.")
        self.artifact = artifact
        self.have = have
        self._write = write
        self._digest = digest or hashlib.sha256()

    @property
    def is_complete(self) -> bool:
        """True when every byte was written."""
        return self.have >= self.artifact.size

    def query(self, length: int = limits.CHUNK_BYTES) -> Fetch:
        """The request for the next piece."""
        return Fetch(sha256=self.artifact.sha256, offset=self.have, length=length)

    def add(self, chunk: Chunk) -> bool:
        """Write a piece; False where it is not the one that comes next (a repeated answer).

        Raises:
            ProtocolError: The server's size differs, or a piece is empty before the end.
            OSError: From `write`.
        """
        if chunk.sha256 != self.artifact.sha256 or chunk.offset != self.have:
            return False
        if chunk.size != self.artifact.size or not len(chunk.data) or self.have + len(chunk.data) > chunk.size:
            raise ProtocolError("bad_hash", f"{self.artifact.name} has another size on the server than announced.")
        self._write(chunk.data.data)
        self._digest.update(chunk.data.data)
        self.have += len(chunk.data)
        return True

    def check(self) -> None:
        """Raise ProtocolError `bad_hash` unless the whole has the announced SHA-256."""
        if self._digest.hexdigest() != self.artifact.sha256:
            raise ProtocolError("bad_hash", f"{self.artifact.name} arrived damaged.", "Fetch it again from the start.")
