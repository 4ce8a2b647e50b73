"""`dreamlift serve` and the internal `dreamlift worker`. Know arguments; `service` and `workers` do the work."""

from __future__ import annotations

import argparse
from pathlib import Path

from dreamlift.commands.outcomes import Exit, emit


def add(commands, common: argparse.ArgumentParser) -> None:
    """Add both commands' parsers."""
    text = "Run the service: one encrypted port, a queue of jobs, one worker for each device."
    parser = commands.add_parser("serve", parents=[common], help=text, description=text)
    parser.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 listens on all (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: the last one again, or any free one)")
    parser.add_argument("--home", type=Path, help="keys, jobs and logs (default: DREAMLIFT_HOME or this user's)")
    device = "one worker for each: auto, cpu, cuda:0; may be given several times (default: auto)"
    parser.add_argument("--device", action="append", metavar="DEVICE", help=device)
    keys = "speak without keys, on loopback only: whoever has an account here may use it"
    parser.add_argument("--insecure-loopback", action="store_true", help=keys)
    parser.add_argument("--json", action="store_true", help="say on stdout as a JSON line where it listens")
    parser.set_defaults(run=run)
    worker = commands.add_parser("worker", parents=[common], description="Internal: `dreamlift serve` starts it.")
    worker.set_defaults(run=run_worker)


def run(args: argparse.Namespace) -> Exit:
    """Serve until Ctrl-C or SIGTERM."""
    from dreamlift.service.server import run_service
    from dreamlift.service.settings import ServiceSettings, default_home

    home = args.home.expanduser().absolute() if args.home else default_home()
    settings = ServiceSettings(
        home=home,
        host=args.host,
        port=args.port,
        insecure_loopback=args.insecure_loopback,
        devices=tuple(args.device or ["auto"]),
    )

    def ready(endpoint) -> None:
        if args.json:
            emit("serving", host=args.host, port=endpoint.port, home=str(home))
            return
        print(f"serving on {args.host}:{endpoint.port}, files in {home}, Ctrl-C stops", flush=True)
        if args.host not in ("127.0.0.1", "::1", "localhost"):
            print("let another computer in: dreamlift keys add NAME", flush=True)

    return Exit(run_service(settings, ready))


def run_worker(args: argparse.Namespace) -> Exit:
    """Take orders from standard input, as the service gives them."""
    from dreamlift.workers.main import run_worker as work

    return Exit(work())
