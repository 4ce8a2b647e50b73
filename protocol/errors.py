"""What can be refused on the wire, and why: codes that programs compare and sentences that people read.

Knows no messages. `ProtocolError` is raised by codec and service; `messages.Error` carries it to the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# docs/protocol.md section 9 holds the same table; a test compares them both ways.
CODES = {
    "too_many_frames": "The message has more frames than allowed.",
    "frame_too_large": "A frame or the whole message is larger than allowed.",
    "bad_header": "The first frame is not a header: not msgpack, too deep, too long, or fields missing.",
    "bad_buffers": "Buffer descriptors and frames do not agree.",
    "bad_body": "A field of the body is missing or has a value that is not allowed.",
    "version_unsupported": "The two sides share no version of the protocol.",
    "unknown_type": "No message of this type is known.",
    "no_session": "The server does not know this connection; say hello first.",
    "not_allowed": "This client may not do that.",
    "unknown_job": "There is no such job.",
    "wrong_state": "The job is in a state in which that cannot be done.",
    "unknown_blob": "The server has no such blob.",
    "wrong_offset": "A chunk does not continue what the server has.",
    "bad_hash": "The bytes do not have the SHA-256 they were announced with.",
    "missing_blob": "The request names a picture that was not uploaded.",
    "unknown_pipeline": "The server has no such pipeline.",
    "unknown_preset": "The pipeline has no such preset.",
    "unknown_setting": "The preset has no such setting.",
    "bad_setting": "A setting's value is out of range or of the wrong type.",
    "no_views": "The pipeline cannot draw views before there is geometry.",
    "no_object": "The pipeline only draws views and makes no objects.",
    "bad_seeds": "The seeds of a request for views are missing, too many or repeated.",
    "no_image": "The pipeline does not take this picture.",
    "missing_image": "The pipeline needs a picture.",
    "bad_image": "The bytes are no picture that can be used: damaged, of another kind, too large or too small.",
    "busy": "The server cuts out as many pictures at once as it will.",
    "cut_out_failed": "The process that cuts pictures out ended badly or took too long.",
    "queue_full": "The server holds as many unfinished jobs as it may.",
    "storage_full": "The server has no room left for files.",
    "does_not_fit": "No device of the server has enough memory for this preset.",
    "out_of_memory": "The device's memory did not suffice.",
    "worker_lost": "The worker process ended unexpectedly, more often than the server retries.",
    "internal_error": "A fault in the program; the server's log has the details.",
}


class ProtocolError(Exception):
    """Something that the other side sent or asked for cannot be used.

    Args:
        code: One of `CODES`, or a pipeline's own code such as "unknown_words".
        what: One sentence: what is wrong, with the value.
        remedy: One sentence: what to do instead; may be empty.
        suggestion: Settings that would work, by key.
    """

    def __init__(self, code: str, what: str, remedy: str = "", suggestion: Mapping[str, Any] | None = None):
        super().__init__(f"{what} {remedy}".strip())
        self.code = code
        self.what = what
        self.remedy = remedy
        self.suggestion = dict(suggestion or {})
        self.id = 0  # the command it answers, where the header could be read
        self.job = ""
