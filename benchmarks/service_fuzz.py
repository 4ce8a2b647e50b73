"""A million fuzzed frames against a live service, while a valid client is served all along.

Prints crashes, hangs, the slope of the service's memory and the valid client's round trips; the last line is JSON. The
fuzzer holds a valid key (one socket reads its answers, one never does); beside it raw garbage without a key knocks on
the TCP port. The witness is a process of its own. Run: `python benchmarks/service_fuzz.py --frames 1000000`.
Limits: no crash, no hang (a round trip over 5 s), memory slope under 1 MB for 100,000 frames over the second half.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import zmq

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS / "faults"), str(TESTS / "unit" / "protocol")]
from fuzzing import Fuzzer  # noqa: E402
from service_process import ServiceProcess  # noqa: E402

from dreamlift.client.finding import find_server  # noqa: E402
from dreamlift.client.session import Client, open_socket  # noqa: E402
from dreamlift.protocol import codec, messages  # noqa: E402
from dreamlift.protocol.messages import JobRequest  # noqa: E402

HANG_SECONDS = 5.0
BATCH = 200


def witness(home: Path) -> None:
    """Be the valid client until standard input closes; print what it saw as JSON."""
    trips, jobs = [], 0
    sys.stdin.fileno()
    poller = zmq.Poller()
    poller.register(sys.stdin, zmq.POLLIN)
    with Client(home=home, name="witness", wait=30) as client:
        while not poller.poll(20):
            begun = time.monotonic()
            client.jobs(5)
            trips.append(time.monotonic() - begun)
            if len(trips) % 50 == 1:
                client.wait(client.submit(JobRequest(prompt="steps=3")), 60)
                jobs += 1
    print(json.dumps({"trips": trips, "jobs": jobs}))


def knock(port: int, fuzzer_bytes: bytes) -> None:
    """Garbage without a key, straight into the TCP port."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(fuzzer_bytes)


def fuzz(service: ServiceProcess, frames: int, seed: int) -> tuple[list[tuple[int, float]], dict[str, int]]:
    """Send the frames; (frames so far, resident MB) all along, and the error codes that came back."""
    fuzzer, sent, messages_sent = Fuzzer(seed), 0, 0
    process = psutil.Process(service.pid)
    endpoint = find_server(home=service.home)
    context = zmq.Context()
    reading, silent = open_socket(context, endpoint), open_socket(context, endpoint)
    hello = codec.encode(messages.Hello(client="fuzzer", versions=(1,)), id=1)
    reading.send_multipart(hello)
    silent.send_multipart(hello)
    memory: list[tuple[int, float]] = []
    codes: dict[str, int] = {}
    while sent < frames and process.is_running():
        for _ in range(BATCH):
            message = fuzzer.message()
            target = silent if messages_sent % 10 == 0 else reading
            if target.poll(2000, zmq.POLLOUT):
                target.send_multipart(message)
                sent += len(message)
            messages_sent += 1
        while reading.poll(0):
            count_answer(reading.recv_multipart(), codes)
        if messages_sent % (50 * BATCH) == 0:
            knock(endpoint.port, fuzzer.message()[0][:2000] + b"\0" * 64)
            memory.append((sent, process.memory_info().rss / 1e6))
    memory.append((sent, process.memory_info().rss / 1e6))
    reading.close(0)
    silent.close(0)
    context.term()
    return memory, codes


def count_answer(frames: list[bytes], codes: dict[str, int]) -> None:
    """One more answer of its code."""
    answer = codec.decode(frames, messages.FROM_SERVER).message
    code = answer.code if isinstance(answer, messages.Error) else f"({answer.TYPE})"
    codes[code] = codes.get(code, 0) + 1


def slope(memory: list[tuple[int, float]]) -> float:
    """Megabytes for 100,000 frames over the second half, least squares."""
    later = np.array(memory[len(memory) // 2 :])
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0] * 1e5) if len(later) > 2 else 0.0


def run(frames: int, seed: int) -> dict:
    """The whole campaign."""
    with TemporaryDirectory() as folder, ServiceProcess(Path(folder)) as service:
        service.start()
        service.client().close()
        command = [sys.executable, __file__, "--witness", str(service.home)]
        watching = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        begun = time.monotonic()
        memory, codes = fuzz(service, frames, seed)
        seconds = time.monotonic() - begun
        output, _ = watching.communicate(timeout=120)
        seen = json.loads(output.splitlines()[-1]) if output else {"trips": [], "jobs": 0}
        crashes = int(service._process.poll() is not None)
        time.sleep(2.0)
        after = psutil.Process(service.pid).memory_info().rss / 1e6 if not crashes else 0.0
        internal = (service.home / "logs" / "service.log").read_text(encoding="utf-8").count("Traceback")
        stopped = service.stop() if not crashes else None
    trips = seen["trips"]
    return {
        "frames": memory[-1][0] if memory else 0,
        "seconds": round(seconds, 1),
        "crashes": crashes,
        "hangs": sum(trip > HANG_SECONDS for trip in trips),
        "internal_errors": internal,
        "stopped_in_order": stopped == 0,
        "memory_first_mb": memory[0][1] if memory else 0.0,
        "memory_last_mb": memory[-1][1] if memory else 0.0,
        "memory_after_mb": after,  # the fuzzer's connections are closed
        "memory_slope_mb_per_100k": round(slope(memory), 3),
        "round_trips": len(trips),
        "round_trip_median_ms": round(1000 * statistics.median(trips), 1) if trips else None,
        "round_trip_worst_ms": round(1000 * max(trips), 1) if trips else None,
        "witness_jobs": seen["jobs"],
        "witness_finished": watching.returncode == 0,
        "answers": codes,
    }


def main() -> int:
    """Run and print; exit status 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--witness", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.witness:
        witness(args.witness)
        return 0
    result = run(args.frames, args.seed)
    for name, value in result.items():
        print(f"{name:26} {value}")
    print(json.dumps(result))
    bad = result["crashes"] or result["hangs"] or result["internal_errors"] or not result["witness_finished"]
    return 1 if bad or abs(result["memory_slope_mb_per_100k"]) > 1.0 else 0


if __name__ == "__main__":
    raise SystemExit(main())
