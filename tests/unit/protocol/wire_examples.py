"""One example of every message. Run as a script, it writes their bytes into docs/protocol.md.

Knows the messages; the document's test and the codec's tests read `EXAMPLES`.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from dreamlift.protocol import codec, limits, messages

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol.md"
JOB = "00112233aabbccdd"
TOKEN = "000102030405060708090a0b0c0d0e0f"
SHA = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of b"abc"

_request = messages.JobRequest(prompt="a red mushroom", seed=7, settings={"steps": 200})
_artifact = messages.Artifact(name="asset.glb", media_type="model/gltf-binary", size=3, sha256=SHA)
_problem = {"code": "wrong_state", "what": "The job is finished.", "remedy": "Submit it again."}
_triangle = {
    "vertices": np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32),
    "faces": np.array([[0, 1, 2]], np.int32),
    "edges": np.array([[0, 1], [1, 2], [2, 0]], np.int32),
    "face_edges": np.array([[0, 1, 2]], np.int32),
    "colors": np.ones((3, 4), np.float32),
}
_steps = messages.Setting(key="steps", label="Steps", type="int", defaults={"mini": 400}, low=1, high=4000)
_pipeline = messages.Pipeline(
    name="mvdream",
    label="MVDream",
    presets=(messages.Preset(name="mini", label="Mini", seconds=61.5),),
    settings=(_steps,),
)

# (message, id, job, sequence)
EXAMPLES: list[tuple[messages.Message, int, str, int]] = [
    (messages.Hello(client="blender 5.2", client_version="0.1.0", versions=(1,)), 1, "", 0),
    (
        messages.Welcome(
            server="dreamlift",
            server_run=TOKEN,
            version=1,
            pipelines=(_pipeline,),
            devices=(messages.Device(name="CPU", state="idle"),),
            limits=messages.ServerLimits(),
            features=("cut_out",),
        ),
        1,
        "",
        0,
    ),
    (messages.Submit(token=TOKEN, request=_request), 2, "", 0),
    (messages.Accepted(state="queued", position=0), 2, JOB, 0),
    (messages.Cancel(), 3, JOB, 0),
    (messages.Finish(), 3, JOB, 0),
    (messages.Pause(), 3, JOB, 0),
    (messages.Resume(), 3, JOB, 0),
    (messages.Remove(), 3, JOB, 0),
    (messages.Move(before="0123456789abcdef"), 3, JOB, 0),
    (messages.ListJobs(limit=10), 4, "", 0),
    (
        messages.Jobs(
            jobs=(messages.JobSummary(job=JOB, state="running", request=_request, created=1795219200.0, thumbnail=0),),
            thumbnails=np.zeros((1, 1, 2, 3), np.uint8),
        ),
        4,
        "",
        0,
    ),
    (messages.Subscribe(after=2), 5, JOB, 0),
    (messages.Subscribed(state="running", last_sequence=2), 5, JOB, 0),
    (messages.Unsubscribe(), 6, JOB, 0),
    (messages.BlobQuery(sha256=SHA, size=3), 7, "", 0),
    (messages.BlobChunk(sha256=SHA, size=3, offset=0, data=np.frombuffer(b"abc", np.uint8)), 8, "", 0),
    (messages.BlobState(sha256=SHA, have=3, complete=True), 8, "", 0),
    (messages.CutOut(sha256=SHA), 9, "", 0),
    (messages.Cutout(sha256=SHA, method="plane", rgba=np.zeros((1, 2, 4), np.uint8)), 9, "", 0),
    (messages.Fetch(sha256=SHA, offset=0, length=limits.CHUNK_BYTES), 9, "", 0),
    (messages.Chunk(sha256=SHA, offset=0, size=3, data=np.frombuffer(b"abc", np.uint8)), 9, "", 0),
    (messages.Done(state="cancelling"), 3, JOB, 0),
    (messages.Error(**_problem), 3, JOB, 0),
    (messages.Ping(), 10, "", 0),
    (messages.Pong(), 10, "", 0),
    (messages.Seen(kind="mesh", serial=3), 0, JOB, 0),
    (messages.Bye(), 0, "", 0),
    (messages.State(state="finished", attempt=1, at=1795219200.0, seconds=61.5, artifacts=(_artifact,)), 0, JOB, 3),
    (messages.Warning(code="few_steps", what="12 steps give a rough shape.", remedy="Use 200."), 0, JOB, 2),
    (
        messages.Progress(stage="Shape", stage_index=0, stage_count=3, step=120, steps=400, fraction=0.1),
        0,
        JOB,
        0,
    ),
    (messages.Mesh(serial=3, attempt=1, topology=2, **_triangle), 0, JOB, 0),
    (messages.Views(serial=3, attempt=1, names=("front",), images=np.zeros((1, 1, 2, 3), np.uint8)), 0, JOB, 0),
]


def hex_block(example: tuple[messages.Message, int, str, int]) -> str:
    """The example's frames in hex, one line each."""
    message, identity, job, sequence = example
    frames = codec.encode(message, id=identity, job=job, sequence=sequence)
    return "```hex\n" + "\n".join(bytes(frame).hex() for frame in frames) + "\n```\n"


def sections(document: str) -> dict[str, str]:
    """Text of every message's section by type."""
    found = {}
    for part in re.split(r"^(?=#{2,3} )", document, flags=re.MULTILINE):
        heading = re.match(r"### ([a-z_]+)\n", part)
        if heading:
            found[heading.group(1)] = part
    return found


def rewrite() -> None:
    """Write the examples' bytes into the document."""
    document = DOCUMENT.read_text(encoding="utf-8")
    for example in EXAMPLES:
        section = sections(document)[example[0].TYPE]
        plain = re.sub(r"Example:\n```hex\n.*?```\n\n?", "", section, flags=re.DOTALL).rstrip() + "\n"
        document = document.replace(section, f"{plain}Example:\n{hex_block(example)}\n")
    DOCUMENT.write_text(document, encoding="utf-8")


if __name__ == "__main__":
    rewrite()
