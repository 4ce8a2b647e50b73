"""What each pipeline and preset holds in memory at its widest moments, as data.

Knows which parts of which models are used together, and the batches of each stage. Knows no bytes (`formulas.py`) and
no cards. Pipelines that the catalog does not have yet are here where their batches are published [systems.md], so that
their plan stands before they do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import formulas

HASH_GRID_FIELD = 12_605_890  # parameters of the published density field; a test counts them again


@dataclass(frozen=True)
class Phase:
    """One stage at its widest moment.

    Args:
        name: As the stage is called.
        denoisers: Parts that stay in use at every step, keys of `parts.PARAMETERS`.
        beside: Further parts that every step asks, and that never come and go layer by layer: ImageDream's image
            encoder, which sees the picture before a new background each time.
        codec: The VAE's part, or "" where the model works on pixels.
        rows: Pictures of one denoiser call, guidance included.
        least_rows: The fewest that can be asked at once: the views of one object.
        edge: Height and width of the denoiser's sample.
        channels: Of the denoiser's first block.
        factor: Numbers a pixel of a forward, in multiples of `channels`.
        heads: Of its finest attention.
        sequence: Views that attend to each other.
        encoded: Pictures through the VAE's encoder with a gradient.
        decoded: Pictures through its decoder at once.
        picture: Their height and width, pixels.
        codec_channels: Of the VAE's first block.
        codec_factor: Numbers a pixel of its decoder, in multiples of `codec_channels`.
        rays: Pixels of all renderings of a step.
        solid: Whether there is a surface yet.
        normals: Whether the field is asked for analytic normals.
        field: Parameters that are optimised.
    """

    name: str
    denoisers: tuple[str, ...]
    codec: str = ""
    rows: int = 0
    least_rows: int = 1
    edge: int = 32
    channels: int = 320
    factor: float = formulas.DENOISER
    heads: int = 5
    sequence: int = 1
    encoded: int = 0
    decoded: int = 0
    picture: int = 256
    codec_channels: int = 128
    codec_factor: float = formulas.DECODER
    rays: int = 0
    solid: bool = True
    normals: bool = False
    field: int = HASH_GRID_FIELD
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workload:
    """A pipeline's preset.

    Args:
        encoders: Parts that run once, before the stages, and are not needed afterwards.
        phases: In order.
        t5: The encoder that can be kept in 8 bits, a key of `parts.PARAMETERS`, or "".
        tight_codec: Whether the VAE is kept in float32 on every card: stock diffusers forces it up [force_upcast].
        small: Whether the model is so small that halving its weights is not worth a difference.
    """

    encoders: tuple[str, ...]
    phases: tuple[Phase, ...]
    t5: str = ""
    tight_codec: bool = False
    small: bool = False


_VIEWS = {"codec": "mvdream vae", "least_rows": 4, "sequence": 4}

_MVDREAM = Workload(
    encoders=("mvdream text_encoder",),
    phases=(  # mvdream_settings.FULL: 2 objects of 4 views at 64 px, then 1 at 256 px with light
        Phase("shape", ("mvdream unet",), rows=16, encoded=8, rays=8 * 64**2, solid=False, **_VIEWS),
        Phase("detail", ("mvdream unet",), rows=8, encoded=4, rays=4 * 256**2, normals=True, **_VIEWS),
    ),
)
_MINI_DETAIL = Phase(
    "detail",
    ("mini-mvdream unet",),
    codec="mini-mvdream vae",
    rows=8,
    least_rows=4,
    edge=16,
    channels=48,
    heads=2,
    sequence=4,
    decoded=4,
    picture=64,
    codec_channels=24,
    rays=4 * 64**2,
    field=48**3 * 7,
)
_MINI = Workload(encoders=("mini-mvdream text_encoder",), phases=(_MINI_DETAIL,), small=True)
_MINI_IMAGEDREAM = Workload(
    encoders=("mini-imagedream text_encoder",),
    phases=(
        replace(
            _MINI_DETAIL,
            denoisers=("mini-imagedream unet",),
            codec="mini-imagedream vae",
            rows=10,
            least_rows=5,
            sequence=5,
            beside=("mini-imagedream image_encoder",),
        ),
    ),
    small=True,
)

_IMAGEDREAM = Workload(
    encoders=("imagedream text_encoder",),
    phases=tuple(  # 8, 4, 4 views at 64, 192, 256 px; the pixel variant adds the picture as a fifth [systems.md 5]
        Phase(
            f"{edge} px",
            ("imagedream unet",),
            codec="imagedream vae",
            rows=10 * objects,
            least_rows=5,
            sequence=5,
            encoded=4 * objects,
            rays=4 * objects * edge**2,
            solid=edge > 64,
            normals=edge > 64,
            beside=("imagedream image_encoder",),
        )
        for edge, objects in ((64, 2), (192, 1), (256, 1))
    ),
)
_IF_AND_ZERO123 = {
    "denoisers": ("deepfloyd unet", "zero123 unet", "zero123 camera_projection"),
    "codec": "zero123 vae",
    "rows": 4,  # a view with perpendicular negatives
    "edge": 64,
    "channels": 704,
    "factor": formulas.DENOISER_DEEPFLOYD,
    "heads": 11,
    "encoded": 1,
}
_DREAMCRAFT3D = Workload(  # the texture stage trains two U-Nets: its phases come with its pipeline
    encoders=("t5 encoder", "zero123 image_encoder"),
    phases=(
        Phase("coarse", rays=384**2, solid=False, normals=True, **_IF_AND_ZERO123),
        Phase("surface", rays=256**2, normals=True, **_IF_AND_ZERO123),
        Phase("geometry", **_IF_AND_ZERO123),
    ),
    t5="t5 encoder",
)
_V3D = Workload(  # 18 frames with guidance at 512 px, decoded a few at a time
    encoders=("v3d image_encoder",),
    phases=(
        Phase(
            "frames",
            ("v3d unet",),
            rows=36,
            least_rows=18,
            edge=64,
            factor=formulas.DENOISER_VIDEO,
        ),
        Phase("decode", (), codec="v3d vae", decoded=4, picture=512, codec_factor=formulas.DECODER_VIDEO),
    ),
    tight_codec=True,
)

WORKLOADS: dict[tuple[str, str], Workload] = {
    ("mvdream", "mini"): _MINI,
    ("mvdream", "full"): _MVDREAM,
    ("mvdream", "full-plain"): _MVDREAM,
    ("mvdream", "full-legacy"): _MVDREAM,
    ("imagedream", "mini"): _MINI_IMAGEDREAM,
    ("imagedream", "full"): _IMAGEDREAM,
    ("imagedream", "paper"): _IMAGEDREAM,
    ("dreamcraft3d", "full"): _DREAMCRAFT3D,
    ("v3d", "full"): _V3D,
}
