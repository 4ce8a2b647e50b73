"""`dreamlift keys`: who may use this computer's service, and which servers this computer knows by name.

Knows words and tables. Keys and lists are made in `service.keys` and `commands.servers`; section 8 of docs/protocol.md
says what they protect against.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time

from dreamlift.commands.outcomes import Exit, emit


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add the command and its five parts."""
    text = "Decide who may use this computer's service, and name other servers."
    parts = commands.add_parser("keys", help=text, description=text).add_subparsers(metavar="ACTION", required=True)

    def part(name: str, run, text: str) -> argparse.ArgumentParser:
        parser = parts.add_parser(name, parents=[common], help=text, description=text)
        parser.add_argument("--json", action="store_true", help="one JSON line per entry")
        parser.set_defaults(run=run)
        return parser

    part("show", show, "Where this computer's service keeps its keys, and its public key. Shows no secret.")
    part("list", list_keys, "Clients that may come in here, and servers that were paired.")
    adding = part("add", add_key, "Let another computer in; prints one line to paste there. The line is a secret.")
    adding.add_argument("name", help="whose key it is, such as anna")
    adding.add_argument("--host", help="name or address under which that computer reaches this one (default: a guess)")
    adding.add_argument("--port", type=int, default=0, help="the service's port (default: the one it used last)")
    revoking = part("revoke", revoke, "Shut a client out; its open connections get no answer from then on.")
    revoking.add_argument("name", help="as `keys list` shows it")
    pairing = part("pair", pair, "Remember another computer's server under a name, for --server NAME.")
    pairing.add_argument("name", help="such as studio")
    pairing.add_argument("pairing", help="the line that `dreamlift keys add` printed there, in quotes")
    forgetting = part("forget", forget, "Drop a server that was paired.")
    forgetting.add_argument("name", help="as `keys list` shows it")


def show(args: argparse.Namespace) -> Exit:
    """Print home, port and public key."""
    from dreamlift.service.home import Home
    from dreamlift.service.keys import KeyRing, last_port
    from dreamlift.service.settings import default_home

    home = Home(default_home())
    home.prepare()
    port, public = last_port(home), KeyRing(home).server.public
    if args.json:
        emit("service", home=str(home.root), port=port, public_key=public)
    else:
        print(f"home        {home.root}\nport        {port or 'not used yet'}\npublic key  {public}")
    return Exit.OK


def list_keys(args: argparse.Namespace) -> Exit:
    """Print both lists."""
    from dreamlift.commands.servers import paired_servers
    from dreamlift.protocol.pairing import parse_pairing
    from dreamlift.service.keys import list_clients
    from dreamlift.service.settings import default_home

    clients = list_clients(default_home())
    if not args.json:
        print("clients that may come in here")
    for client in clients:
        expired = client.is_expired(time.time())
        if args.json:
            emit("client", name=client.name, created=client.created, used=client.used or None, expired=expired)
        else:
            state = "expired" if expired else f"used since {_day(client.used)}" if client.used else "not used yet"
            print(f"  {client.name:24} {_day(client.created)}  {state}")
    servers = paired_servers()
    if servers and not args.json:
        print("servers paired here")
    for name, pairing in servers.items():
        endpoint = parse_pairing(pairing)
        if args.json:
            emit("server", name=name, host=endpoint.host, port=endpoint.port)
        else:
            print(f"  {name:24} {endpoint.host}:{endpoint.port}")
    return Exit.OK


def add_key(args: argparse.Namespace) -> Exit:
    """Make a key and print the pairing string; what to do with it goes to stderr."""
    from dreamlift.service.keys import UNUSED_SECONDS, add_client
    from dreamlift.service.settings import default_home

    host = args.host or own_address()
    pairing = add_client(default_home(), args.name, host, args.port)
    if args.json:
        emit("pairing", name=args.name, host=host, pairing=pairing)
        return Exit.OK
    print(pairing)
    print(
        f"Paste this line in the extension's preferences on {args.name}'s computer, or run there:\n"
        f"  dreamlift keys pair NAME 'THE LINE'\n"
        f"Whoever has it can connect to {host}, so send it like a password. Unused, it expires in"
        f" {UNUSED_SECONDS / 3600:.0f} hours.\n"
        f"The service must listen on that address: dreamlift serve --host 0.0.0.0",
        file=sys.stderr,
    )
    return Exit.OK


def revoke(args: argparse.Namespace) -> Exit:
    """Take a client off the list."""
    from dreamlift.service.keys import revoke_client
    from dreamlift.service.settings import default_home

    revoke_client(default_home(), args.name)
    _say(args, "revoked", f"{args.name} may no longer come in")
    return Exit.OK


def pair(args: argparse.Namespace) -> Exit:
    """Store a server."""
    from dreamlift.commands.servers import pair_server

    endpoint = pair_server(args.name, args.pairing)
    _say(args, "paired", f"{args.name} is {endpoint.host}:{endpoint.port}; use it with --server {args.name}")
    return Exit.OK


def forget(args: argparse.Namespace) -> Exit:
    """Drop a server."""
    from dreamlift.commands.servers import forget_server

    forget_server(args.name)
    _say(args, "forgotten", f"{args.name} is forgotten")
    return Exit.OK


def own_address() -> str:
    """The address of this computer in its network, by asking which one a packet would leave from; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address (RFC 5737); connecting UDP sends no packet
        except OSError:
            return socket.gethostname()  # no route: no network, so a name is the better guess
        return probe.getsockname()[0]


def _say(args: argparse.Namespace, event: str, text: str) -> None:
    emit(event, name=args.name) if args.json else print(text)


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
