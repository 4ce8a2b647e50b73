"""What can go wrong with the model store beside the files themselves (those are `priors.weight_errors`).

Knows words.
"""

from __future__ import annotations


class ModelError(Exception):
    """Something about the store or a download that the user can mend.

    Args:
        code: Short stable name for scripts, lower case with underscores.
        what: One sentence: what is wrong, with the value.
        remedy: One sentence: what to do.
    """

    def __init__(self, code: str, what: str, remedy: str):
        super().__init__(f"{what} {remedy}")
        self.code, self.what, self.remedy = code, what, remedy


class Unreachable(ModelError):
    """The hub, or a mirror of it, cannot be reached, or this machine is told to stay offline."""


class AccessDenied(ModelError):
    """The hub wants a token, or its page wants to be accepted first."""


class NotPublished(ModelError):
    """The hub has no such repository or file (any more)."""


class NoSpace(ModelError):
    """The disk is too full, found out before anything was fetched."""
