# SPDX-License-Identifier: GPL-3.0-or-later
"""Short texts for a sidebar 220 pixels wide: times, states, names. Knows no jobs' inside and no bpy.

Lines over about 28 characters are cut at the default width, progress texts over about 34.
"""

from __future__ import annotations

_ARTICLES = ("a ", "an ", "the ")


def duration(seconds: float) -> str:
    """ "40 s", "5 min", "2 h 10 min": as exact as somebody who waits wants it."""
    seconds = max(0.0, seconds)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(round(minutes / 5) * 5, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def time_left(seconds: float | None) -> str:
    """ "5 min left", or "" while nobody knows."""
    return "" if seconds is None else f"{duration(seconds)} left"


def progress_line(stage: str, index: int, count: int, fraction: float, seconds_left: float | None) -> str:
    """ "Shape 2/3 · 5 min left": what a progress bar says."""
    name = stage.replace("_", " ").strip().capitalize() or "Working"
    where = f"{name} {index + 1}/{count}" if count > 1 else name
    left = time_left(seconds_left) or f"{round(fraction * 100)}%"
    return f"{where} · {left}"


def queue_line(position: int) -> str:
    """ "Next" or "3rd in line"; "Waiting" while the server has not said."""
    if position < 0:
        return "Waiting"
    if position == 0:
        return "Next"
    number = position + 1
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} in line"


def object_name(prompt: str) -> str:
    """A name for the object: the prompt without its article, at most 40 characters, cut between words."""
    text = " ".join(prompt.split())
    for article in _ARTICLES:
        if text.lower().startswith(article):
            text = text[len(article) :]
            break
    if len(text) > 40:
        text = text[:40].rsplit(" ", 1)[0]
    text = text.strip(" .,;:!?")
    return text[:1].upper() + text[1:] if text else "Object"


def wrap(text: str, width: int = 34, lines: int = 4) -> list[str]:
    """Break a sentence for a narrow panel, which cuts long labels instead of wrapping them.

    Args:
        text: Any text.
        width: Characters a line.
        lines: At most this many; the last one ends in an ellipsis where something is missing.
    """
    wrapped: list[str] = []
    for word in text.split():
        if wrapped and len(wrapped[-1]) + 1 + len(word) <= width:
            wrapped[-1] += f" {word}"
        else:
            wrapped.append(word)
    if len(wrapped) > lines:
        wrapped = wrapped[:lines]
        wrapped[-1] = wrapped[-1][: width - 1].rstrip() + "…"
    return wrapped
