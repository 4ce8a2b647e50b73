"""How many numbers each part of each model holds: the parameters of our own configurations.

Knows counts, as data that the service may read without torch. `count.py` counts them on the meta device, and a test
compares every line with it, so that a configuration cannot change behind this table's back.
"""

from __future__ import annotations

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}

# Model and part to parameters. `python -m dreamlift.memory.count` prints this table.
PARAMETERS: dict[str, int] = {
    "mini-mvdream unet": 7_124_568,
    "mini-mvdream vae": 776_195,
    "mini-mvdream text": 196_512,
    "mvdream unet": 867_572_164,
    "mvdream vae": 83_653_863,
    "mvdream text": 340_387_840,
}


def weight_bytes(part: str, dtype: str) -> int:
    """Bytes of one part's weights.

    Args:
        part: A key of `PARAMETERS`.
        dtype: A key of `BYTES`.
    """
    return PARAMETERS[part] * BYTES[dtype]
