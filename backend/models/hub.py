"""What a server says about a published file before anything is fetched: address, size, hash, and whether it lets us in.

Knows the hub's metadata (through huggingface_hub), its mirrors, tokens and gated pages. Fetches nothing; `pull` does.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from dreamlift.models.catalogue import Model, Published
from dreamlift.models.errors import AccessDenied, ModelError, NotPublished, Unreachable

ENDPOINT_VARIABLE = "DREAMLIFT_HUB"  # wins over huggingface_hub's own HF_ENDPOINT
OFFLINE_VARIABLES = ("DREAMLIFT_OFFLINE", "HF_HUB_OFFLINE")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A file on a server.

    Args:
        file: Which one.
        url: Where its bytes are.
        size: Bytes; None where the server does not say.
        sha256: 64 hex digits; empty where the server gives none.
        version: Changes when the content does: the hub's hash or etag; empty where the server gives none.
        commit: Of the repository; empty where there is none.
        origin: Repository or address that it came from, for the note.
        headers: To send; the token never goes to another host than the one that was asked.
    """

    file: Published
    url: str
    size: int | None
    sha256: str
    version: str
    commit: str
    origin: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class PullSettings:
    """How to fetch.

    Args:
        endpoint: Address of the hub or of a mirror that speaks like it; empty takes huggingface_hub's.
        token: Of the hub; empty takes HF_TOKEN or what `hf auth login` stored.
        offline: Whether the network may not be used.
        repository: Asked instead of the catalogue's for the model's weights; empty asks the catalogue's.
    """

    endpoint: str = ""
    token: str = ""
    offline: bool = False
    repository: str = ""

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> PullSettings:
        """What the environment says: DREAMLIFT_HUB or HF_ENDPOINT, HF_TOKEN, DREAMLIFT_OFFLINE or HF_HUB_OFFLINE."""
        yes = ("1", "true", "yes", "on")
        offline = any(environment.get(name, "").strip().lower() in yes for name in OFFLINE_VARIABLES)
        endpoint = environment.get(ENDPOINT_VARIABLE) or environment.get("HF_ENDPOINT", "")
        return cls(endpoint.rstrip("/"), environment.get("HF_TOKEN", "").strip(), offline)


def look_up(model: Model, file: Published, settings: PullSettings) -> Remote:
    """Ask the server for a file's size and hash; mirrors are asked where the first repository has it no more.

    Args:
        model: For the messages.
        file: Which one.
        settings: From where.

    Raises:
        ModelError: As `pull`.
    """
    if file.url:
        return _ask(model, file, file.url, file.url, settings=replace(settings, token=""), with_token=False)
    from huggingface_hub import hf_hub_url

    own = [settings.repository] if settings.repository and file.repository == model.files[0].repository else []
    problem: ModelError | None = None
    for repository in own or [file.repository, *file.mirrors]:
        url = hf_hub_url(repository, file.name or file.path, endpoint=settings.endpoint or None)
        try:
            return _ask(model, file, url, repository, settings=settings)
        except NotPublished as error:
            log.info("%s has no %s: %s", repository, file.path, error)
            problem = problem or error
    assert problem is not None
    raise problem


def _ask(
    model: Model, file: Published, url: str, origin: str, *, settings: PullSettings, with_token: bool = True
) -> Remote:
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.utils import build_hf_headers

    token = (settings.token or None) if with_token else False
    try:
        facts = get_hf_file_metadata(url, token=token, endpoint=settings.endpoint or None)
    except Exception as error:  # every HTTP library has its own tree of errors; ours names the cause
        if (told := _explained(error, model, file, origin, settings)) is None:
            raise
        raise told from error
    headers = dict(build_hf_headers(token=token))
    location = facts.location or url
    if urlsplit(location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    version = re.sub(r"[^0-9A-Za-z]", "", facts.etag or "")
    sha256 = version.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", version) else ""
    return Remote(file, location, facts.size, sha256, version, facts.commit_hash or "", origin, headers)


def _explained(
    error: Exception, model: Model, file: Published, origin: str, settings: PullSettings
) -> ModelError | None:
    """The error in words, with what to do; None where it is a bug."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    where = file.url or f"{settings.endpoint or 'https://huggingface.co'}/{origin}"
    if isinstance(error, errors.GatedRepoError) or (file.gated and status in (401, 403)):
        if settings.token or _stored_token():
            what = f"The hub does not let this account have {origin} ({status})."
            return AccessDenied("not_accepted", what, f"Accept its licence at {model.source}, then pull again.")
        what = f"{origin} is gated: its licence must be accepted by an account of the hub."
        remedy = f"Accept it at {model.source}, then set HF_TOKEN or run `hf auth login`, then pull again."
        return AccessDenied("no_token", what, remedy)
    if status in (401, 403):
        what = f"{where} does not let us in ({status}): it is gone, private, or the token is not valid."
        return NotPublished("not_published", what, "Check HF_TOKEN, or name another copy with --repository.")
    if isinstance(error, errors.RepositoryNotFoundError | errors.EntryNotFoundError) or status == 404:
        what = f"{where} has no {file.name or file.path} (any more)."
        return NotPublished("not_published", what, "Name another copy with --repository, or copy the file by hand.")
    if status is not None or isinstance(error, OSError) or is_network(error):
        told = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        what = f"{where} cannot be reached ({told})."
        return Unreachable("unreachable", what, f"Check the network, or set {ENDPOINT_VARIABLE} to a mirror.")
    return None


def is_network(error: Exception) -> bool:
    """Whether an error comes from the HTTP library, whichever one huggingface_hub uses."""
    return type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3")


def _stored_token() -> str | None:
    from huggingface_hub import get_token

    return get_token()
