"""What each pipeline and preset holds in memory at its widest moments, as data.

Knows which parts of which models are used together, and the batches of each stage. Knows no bytes (`formulas.py`) and
no cards. Pipelines that the catalog does not have yet are here where their batches are published [systems.md], so that
their plan stands before they do.
"""

from __future__ import annotations

from dataclasses import dataclass

HASH_GRID_FIELD = 12_605_890  # parameters of the published density field; a test counts them again


@dataclass(frozen=True)
class Phase:
    """One stage at its widest moment.

    Args:
        name: As the stage is called.
        denoisers: Parts that stay in use at every step, keys of `parts.PARAMETERS`.
        codec: The VAE's part, or "" where the model works on pixels.
        rows: Pictures of one denoiser call, guidance included.
        least_rows: The fewest that can be asked at once: the views of one object.
        edge: Height and width of the denoiser's sample.
        channels: Of the denoiser's first block.
        heads: Of its finest attention.
        sequence: Views that attend to each other.
        encoded: Pictures through the VAE's encoder with a gradient.
        decoded: Pictures through its decoder at once.
        picture: Their height and width, pixels.
        codec_channels: Of the VAE's first block.
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
    heads: int = 5
    sequence: int = 1
    encoded: int = 0
    decoded: int = 0
    picture: int = 256
    codec_channels: int = 128
    rays: int = 0
    solid: bool = True
    normals: bool = False
    field: int = HASH_GRID_FIELD


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
    encoders=("mvdream text",),
    phases=(  # mvdream_settings.FULL: 2 objects of 4 views at 64 px, then 1 at 256 px with light
        Phase("shape", ("mvdream unet",), rows=16, encoded=8, rays=8 * 64**2, solid=False, **_VIEWS),
        Phase("detail", ("mvdream unet",), rows=8, encoded=4, rays=4 * 256**2, normals=True, **_VIEWS),
    ),
)
_MINI = Workload(
    encoders=("mini-mvdream text",),
    phases=(
        Phase(
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
        ),
    ),
    small=True,
)

WORKLOADS: dict[tuple[str, str], Workload] = {
    ("mvdream", "mini"): _MINI,
    ("mvdream", "full"): _MVDREAM,
    ("mvdream", "full-plain"): _MVDREAM,
    ("mvdream", "full-legacy"): _MVDREAM,
}
