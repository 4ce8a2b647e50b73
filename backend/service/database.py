"""The SQLite file: its tables, its settings, transactions. Knows no jobs' rules; `store` does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dreamlift.service.settings import ServiceError

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,      -- order of arrival
    token TEXT NOT NULL UNIQUE,          -- of the submit: the same token is the same job
    request BLOB NOT NULL,               -- msgpack of JobRequest
    pipeline TEXT NOT NULL,
    preset TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    place INTEGER NOT NULL,              -- order in the queue
    attempt INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,     -- workers lost so far
    finish_asked INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,     -- of work in ended attempts
    fraction REAL NOT NULL DEFAULT 0,
    problem BLOB,                        -- msgpack of Problem
    thumbnail BLOB,                      -- 64 * 64 * 3 bytes
    last_sequence INTEGER NOT NULL DEFAULT 0,
    worker_pid INTEGER NOT NULL DEFAULT 0,
    worker_started REAL NOT NULL DEFAULT 0
);
CREATE INDEX jobs_by_state ON jobs (state, place);
CREATE TABLE events (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (job, sequence)
) WITHOUT ROWID;
CREATE TABLE artifacts (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job, name)
) WITHOUT ROWID;
CREATE INDEX artifacts_by_hash ON artifacts (sha256);
CREATE TABLE pictures (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (job, sha256)
) WITHOUT ROWID;
CREATE INDEX pictures_by_hash ON pictures (sha256);
CREATE TABLE timings (
    pipeline TEXT NOT NULL,
    preset TEXT NOT NULL,
    seconds REAL NOT NULL,
    at REAL NOT NULL
);
"""


class Database:
    """One connection to the service's database, made where it is missing.

    Args:
        path: The file.

    A committed transaction survives kill -9 and a power cut (WAL, synchronous FULL).
    """

    def __init__(self, path: Path):
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -2000"):
            self.execute(f"PRAGMA {pragma}")
        version = self.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            # One script, one transaction: a service killed in here leaves an empty file, not half a schema.
            self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            self._connection.close()
            raise ServiceError(
                "newer_database",
                f"{path} has schema {version}, this program knows {SCHEMA_VERSION}.",
                "Update Dreamlift, or set DREAMLIFT_HOME to another folder.",
            )

    def execute(self, statement: str, values: tuple = ()) -> sqlite3.Cursor:
        """One statement."""
        return self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside are committed together, or none where an exception leaves the block."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
