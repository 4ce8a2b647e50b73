"""A server that says what a test wants: one ROUTER socket without keys, stepped by hand, real frames on the wire."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import zmq
from blender_addon.protocol import codec, messages
from blender_addon.protocol.pairing import Endpoint
from blender_addon.protocol.states import JobState

PIPELINE = messages.Pipeline(
    name="mvdream",
    label="MVDream",
    view_names=("front", "back"),
    presets=(messages.Preset(name="mini", label="Mini", seconds=40.0), messages.Preset(name="full", label="Full")),
    settings=(
        messages.Setting(key="steps", label="Steps", type="int", defaults={"mini": 300}, low=10, high=1000),
        messages.Setting(key="scale", label="Strength", type="float", defaults={"mini": 0.1, "full": 50.0}),
        messages.Setting(
            key="texture_size", label="Texture", type="choice", defaults={"mini": 1024}, choices=(512, 1024)
        ),
    ),
)


class ScriptedServer:
    """Answers commands; events are pushed by the test.

    Args:
        context: Of pyzmq.
        port: 0 takes a free one.
    """

    def __init__(self, context: zmq.Context, port: int = 0, run: str = "0" * 32):
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.port = port or self.socket.bind_to_random_port("tcp://127.0.0.1")
        if port:
            self.socket.bind(f"tcp://127.0.0.1:{port}")
        self.run = run
        self.pipeline = PIPELINE
        self.others: tuple[messages.Pipeline, ...] = ()
        self.features = ("cut_out",)
        self.uploads: dict[str, bytes] = {}
        self.known: list[bytes] = []
        self.commands: list[tuple[str, str]] = []  # (type, job)
        self.jobs: list[messages.JobSummary] = []
        self.blobs: dict[str, bytes] = {}
        self.refuse: dict[str, messages.Error] = {}
        self.mute = False

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port)

    def step(self) -> None:
        """Answer everything that has arrived."""
        while self.socket.poll(0):
            peer, *frames = self.socket.recv_multipart()
            if self.mute:
                continue
            envelope = codec.decode(frames, messages.FROM_CLIENT)
            message = envelope.message
            if peer not in self.known and not isinstance(message, messages.Hello):
                self._send(peer, messages.Error(code="no_session", what="Say hello first."), envelope.id)
                continue
            self.commands.append((message.TYPE, envelope.job))
            answer = self._answer(peer, message, envelope.job)
            if answer is not None:
                job = answer.pop("job", envelope.job)
                self._send(peer, answer["message"], envelope.id, job)

    def push(self, message: messages.Message, job: str, sequence: int = 0) -> None:
        """Send an event to everybody; the list of jobs says the same from then on."""
        if isinstance(message, messages.State):
            changed = {"state": message.state, "artifacts": message.artifacts, "problem": message.problem}
            self.jobs[:] = [replace(each, **changed) if each.job == job else each for each in self.jobs]
        for peer in self.known:
            self._send(peer, message, 0, job, sequence)

    def add_blob(self, data: bytes, name: str = "asset.glb") -> messages.Artifact:
        """A file that can be fetched."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.blobs[sha256] = data
        return messages.Artifact(name=name, media_type="model/gltf-binary", size=len(data), sha256=sha256)

    def close(self) -> None:
        self.socket.close()

    def _answer(self, peer: bytes, message: messages.Message, job: str) -> dict | None:
        if message.TYPE in self.refuse:
            return {"message": self.refuse[message.TYPE]}
        if isinstance(message, messages.Hello):
            if peer not in self.known:
                self.known.append(peer)
            device = messages.Device(name="CPU", state="idle", memory_bytes=1)
            return {
                "message": messages.Welcome(
                    server="scripted",
                    server_run=self.run,
                    version=1,
                    pipelines=(self.pipeline, *self.others),
                    devices=(device,),
                    limits=messages.ServerLimits(),
                    features=self.features,
                )
            }
        if isinstance(message, messages.Submit):
            name = f"{len(self.jobs) + 1:016x}"
            self.jobs.insert(
                0, messages.JobSummary(job=name, state=JobState.QUEUED, request=message.request, created=1)
            )
            return {"message": messages.Accepted(state=JobState.QUEUED, position=0), "job": name}
        if isinstance(message, messages.ListJobs):
            return {"message": messages.Jobs(jobs=tuple(self.jobs))}
        if isinstance(message, messages.Subscribe):
            state = next((each.state for each in self.jobs if each.job == job), None)
            if state is None:
                return {"message": messages.Error(code="unknown_job", what="There is no such job.")}
            return {"message": messages.Subscribed(state=state, last_sequence=0)}
        if isinstance(message, messages.Fetch):
            data = self.blobs[message.sha256]
            piece = np.frombuffer(data[message.offset : message.offset + message.length], np.uint8)
            chunk = messages.Chunk(sha256=message.sha256, offset=message.offset, size=len(data), data=piece)
            return {"message": chunk}
        if isinstance(message, messages.BlobQuery | messages.BlobChunk):
            have = self.uploads.get(message.sha256, b"")
            if isinstance(message, messages.BlobChunk) and message.offset == len(have):
                have = self.uploads[message.sha256] = have + message.data.tobytes()
            complete = len(have) == message.size
            return {"message": messages.BlobState(sha256=message.sha256, have=len(have), complete=complete)}
        if isinstance(message, messages.CutOut):
            rgba = np.full((8, 8, 4), round(message.threshold * 100), np.uint8)
            return {"message": messages.Cutout(sha256=message.sha256, method="plane", rgba=rgba)}
        if isinstance(message, messages.Ping):
            return {"message": messages.Pong()}
        if isinstance(message, messages.Seen | messages.Bye | messages.Pong):
            return None
        return {"message": messages.Done()}

    def _send(self, peer: bytes, message: messages.Message, identity: int, job: str = "", sequence: int = 0) -> None:
        self.socket.send_multipart([peer, *codec.encode(message, id=identity, job=job, sequence=sequence)])
