"""The service's rotating log, with the job's id on each line."""

from __future__ import annotations

import logging
import logging.handlers
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(job)s %(name)s: %(message)s"


class _JobColumn(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "job"):
            record.job = "-"
        return True


def open_log(path: Path, level: int = logging.INFO) -> logging.Handler:
    """Send this process's log of `dreamlift` to a file of at most 5 MB, three older ones kept.

    Args:
        path: The file; its folder exists.
        level: Least important level to keep.

    Returns:
        The handler, for `close_log`.

    Lines logged with `extra={"job": id}` carry that id, others a dash.
    """
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=5_000_000, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT))
    handler.addFilter(_JobColumn())
    root = logging.getLogger("dreamlift")
    root.addHandler(handler)
    root.setLevel(level)
    return handler


def close_log(handler: logging.Handler) -> None:
    """Take the handler off again and close its file."""
    logging.getLogger("dreamlift").removeHandler(handler)
    handler.close()
