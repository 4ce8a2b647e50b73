"""A channel that keeps what is said on it: stands in for `ServiceChannel` where no socket is wanted."""

from __future__ import annotations

from dreamlift.protocol import codec


class RecordingChannel:
    """Checks every message as the real one does, by encoding it."""

    def __init__(self):
        self.said, self.offered = [], []
        self.wish: str | None = None

    def say(self, message, job=""):
        """Keep an ordered message."""
        codec.encode(message, job=job)
        self.said.append(message)

    def offer(self, message, job):
        """Keep a replaceable message."""
        codec.encode(message, job=job)
        self.offered.append(message)

    def stop_wish(self, job, attempt):
        """The wish set by the test."""
        return self.wish
