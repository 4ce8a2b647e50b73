"""How many numbers each part of each model holds: the parameters of our own configurations.

Knows counts, as data that the service may read without torch. `count.py` counts them on the meta device, and a test
compares every line with it, so that a configuration cannot change behind this table's back.
"""

from __future__ import annotations

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}

# Model and part to parameters. `python -m dreamlift.memory.count` prints this table.
PARAMETERS: dict[str, int] = {
    "mini-mvdream vae": 776_195,
    "mini-mvdream unet": 7_124_568,
    "mini-mvdream text_encoder": 196_512,
    "mini-imagedream vae": 776_195,
    "mini-imagedream unet": 7_474_776,
    "mini-imagedream text_encoder": 196_512,
    "mini-imagedream image_encoder": 707_328,
    "mvdream vae": 83_653_863,
    "mvdream unet": 867_572_164,
    "mvdream text_encoder": 340_387_840,
    "mvdream-1.5 vae": 83_653_863,
    "mvdream-1.5 unet": 861_182_404,
    "mvdream-1.5 text_encoder": 123_060_480,
    "imagedream vae": 83_653_863,
    "imagedream unet": 941_672_900,
    "imagedream text_encoder": 340_387_840,
    "imagedream image_encoder": 632_076_800,
    "zero123 vae": 83_653_863,
    "zero123 unet": 859_532_484,
    "zero123 image_encoder": 303_966_208,
    "zero123 camera_projection": 593_664,
    "sd-2.1 vae": 83_653_863,
    "sd-2.1 unet": 865_910_724,
    "sd-2.1 text_encoder": 340_387_840,
    "deepfloyd unet": 4_304_695_110,
    "v3d vae": 97_742_847,
    "v3d unet": 1_524_623_082,
    "v3d image_encoder": 632_076_800,
    "t5 encoder": 4_762_310_656,
}


def weight_bytes(part: str, dtype: str) -> int:
    """Bytes of one part's weights.

    Args:
        part: A key of `PARAMETERS`.
        dtype: A key of `BYTES`.
    """
    return PARAMETERS[part] * BYTES[dtype]
