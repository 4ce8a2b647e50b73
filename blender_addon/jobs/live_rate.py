# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the live object may change: as often as asked, less where the machine cannot keep up.

Knows times only. The redraw after a change, not the write, sets what a machine can do (62 ms at 100,000 triangles in
software GL), and Blender does not say when a redraw is over. What it costs is what the main thread has computed when
the next timer tick comes; lateness would also count other programs, and a busy machine would hardly show anything.
"""

from __future__ import annotations

BUSY_SHARE = 0.25  # of wall time that writing and redrawing may take
LONGEST_PAUSE = 2.0  # seconds between two changes, however slow the machine


class LiveRate:
    """Says when the next preview may be applied. All times in seconds of one monotonic clock."""

    def __init__(self, hertz: float = 2.0):
        self.hertz = hertz
        self._cost = 0.0
        self._last = float("-inf")

    @property
    def pause(self) -> float:
        """Seconds between two changes at present."""
        asked = 1 / max(self.hertz, 0.1)
        return max(asked, min(self._cost / BUSY_SHARE, LONGEST_PAUSE))

    def due(self, now: float) -> bool:
        """Whether a preview may be applied now."""
        return now - self._last >= self.pause

    def applied(self, now: float, seconds: float) -> None:
        """A preview was written in `seconds`; the redraw is still to come."""
        self._last = now
        self._smooth(seconds)

    def redrawn(self, seconds: float) -> None:
        """Between the change and the next tick the main thread computed this long."""
        self._cost += 0.5 * max(0.0, seconds)

    def _smooth(self, seconds: float) -> None:
        self._cost = 0.5 * self._cost + 0.5 * seconds
