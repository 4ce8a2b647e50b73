"""A small server that speaks the few routes of the hub that a download needs: HEAD and GET of a file, with ranges.

Real HTTP on a port of this computer; a test scripts it: gated repositories, cut connections, lies about hashes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1" * 40


@dataclass
class FakeHub:
    """What is served, and what was asked.

    Args:
        files: (repository, name) to content.
        gated: Repositories that need `token`.
        refused: Repositories whose licence this account did not accept.
        token: What opens a gated repository.
        lie: Hash that HEAD gives instead of the true one; empty tells the truth.
        cut: Bytes after which the next GETs are cut off, one entry each.
        page: Sent instead of any file's content; None sends the content.
        asked: (method, path, range) in order.
    """

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    token: str = "hf_good"
    lie: str = ""
    cut: list[int] = field(default_factory=list)
    page: bytes | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve while inside."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, with_body):
            hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
            hub.tokens.append(self.headers.get("Authorization", ""))
            repository, _, name = self.path.lstrip("/").partition("/resolve/main/")
            content = hub.files.get((repository, name))
            if repository in hub.gated and hub.token not in self.headers.get("Authorization", ""):
                return self.error(401, "GatedRepo")
            if repository in hub.refused:
                return self.error(403, "GatedRepo")
            if content is None:
                there = any(repository == own for own, _ in hub.files)
                return self.error(404, "EntryNotFound" if there else "RepoNotFound")
            content = hub.page if hub.page is not None and with_body else content
            self.send(content, with_body)

        def error(self, status, code):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", f"{code} {self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send(self, content, with_body):
            start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0]) if with_body else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", f'"{hub.lie or hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if with_body:
                cut = hub.cut.pop(0) if hub.cut else None
                self.wfile.write(content[start:] if cut is None else content[start : start + cut])
                if cut is not None:
                    self.close_connection = True
                    self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
