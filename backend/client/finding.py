"""Where is the server? The connection file of this account, or a pairing string.

Knows files and environment. Opens no connections.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dreamlift.protocol.connection_file import NAME, home_folder, parse_connection
from dreamlift.protocol.pairing import Endpoint, PairingError, parse_pairing


class ClientError(RuntimeError):
    """The server cannot be used like this, in words to act on.

    Args:
        code: Short stable name, such as "no_server".
        what: One sentence: what is wrong.
        remedy: One sentence: what to do.
    """

    def __init__(self, code: str, what: str, remedy: str):
        super().__init__(f"{what} {remedy}")
        self.code = code
        self.what = what
        self.remedy = remedy


def find_server(server: str = "", home: Path | None = None) -> Endpoint:
    """Where to connect and with which keys.

    Args:
        server: A pairing string; empty for the server of this account on this computer.
        home: That server's folder; None takes `DREAMLIFT_HOME` or this user's.

    Raises:
        ClientError: "no_server" or "bad_pairing".
    """
    if server:
        try:
            return parse_pairing(server)
        except PairingError as error:
            raise ClientError(
                "bad_pairing", str(error), "`dreamlift keys add NAME` on the server makes one."
            ) from error
    path = Path(home or home_folder(os.environ, sys.platform)) / NAME
    try:
        return parse_connection(path.read_text(encoding="utf-8")).endpoint
    except FileNotFoundError as error:
        raise ClientError(
            "no_server", "No server runs on this computer.", "Start one with `dreamlift serve`."
        ) from error
    except (OSError, UnicodeDecodeError, PairingError) as error:
        raise ClientError("no_server", f"{path}: {error}", "Start the server again.") from error
