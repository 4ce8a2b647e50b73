"""What can be wrong with a weight file: one class for each thing that needs another remedy.

Knows words. Knows no file format; `files` raises these.
"""

from __future__ import annotations

from pathlib import Path


class WeightsError(RuntimeError):
    """A weight file cannot be used.

    Args:
        path: The file or folder.
        what: One sentence: what is wrong, with the file's name.
        remedy: One sentence: what to do.
    """

    code = "weights_unusable"

    def __init__(self, path: Path | str, what: str, remedy: str):
        super().__init__(f"{what} {remedy}")
        self.path, self.what, self.remedy = Path(path), what, remedy

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


class MissingWeights(WeightsError, FileNotFoundError):
    """There is no such file, or a link leads nowhere."""

    code = "weights_missing"


class EmptyWeights(WeightsError):
    """The file has no bytes."""

    code = "weights_empty"


class UnfinishedDownload(WeightsError):
    """The file is cut short or still being downloaded."""

    code = "weights_unfinished"


class PointerFile(UnfinishedDownload):
    """A git-lfs or git-annex pointer lies where the weights should be."""


class WebPage(UnfinishedDownload):
    """A server's error or log-in page was saved under the weights' name."""


class DamagedWeights(WeightsError):
    """Header, index or hash do not agree with the content."""

    code = "weights_damaged"


class UnsafeWeights(WeightsError):
    """A pickle with code in it, or a name that leads out of its folder. Nothing was run."""

    code = "weights_unsafe"


class WrongFamily(WeightsError):
    """Good weights, of another model."""

    code = "weights_wrong_family"


class NotWeights(WeightsError):
    """Something else altogether."""

    code = "weights_not_weights"
