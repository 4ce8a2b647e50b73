"""How a preset runs on a card: precision, what is kept and what is released, how the batch is cut. Pure functions.

Knows workloads, formulas and cards; runs nothing (`apply.py` does what a plan says). Plans form a ladder from the
roomiest rung to the tightest: a job starts on the first rung that fits, and an out-of-memory takes it one rung down.
No GPU has measured these bytes: weights are counted exactly, the rest are the formulas of `formulas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from . import formulas
from .cards import GIB, SIZES, Card, card_of_size
from .parts import BYTES, weight_bytes
from .workloads import WORKLOADS, Phase, Workload

RUNTIME = {"cuda": 0, "cpu": GIB}  # on a CPU torch, diffusers and Warp share the memory with the job
ENOUGH = 0.85  # of the present need: there is only one step down, so it must be worth it
STREAMED = 0.1  # of a denoiser's weights are on the card at a time where its blocks come and go


@dataclass(frozen=True)
class Plan:
    """How one preset runs on one card.

    Args:
        dtype: Of the denoisers' and encoders' weights: "bfloat16", "float16" or "float32". The arithmetic is the same,
            except that small models keep float32 weights and compute as the device likes best. Schedules, losses, the
            optimised field and its optimiser are float32 always.
        codec_dtype: Of the VAE. float32 beside float16: gradients pass through it with nothing to scale them, and some
            overflow.
        release_encoders: Whether text and image encoders go once the condition is encoded.
        vae: "whole", or "recomputed": one picture at a time, blocks computed again in the backward pass.
        rows: Most pictures of one denoiser call; 0 takes all at once.
        offload: "none", or "blocks": the denoiser lives in the computer's memory and comes layer by layer.
        t5_bits: Of a T5 encoder's weights, 16 or 8; 16 where the preset has none.
        attention: What torch's attention is asked to prefer: "flash", "efficient" or "math".
        compiled: Whether the denoiser goes through `torch.compile`; only where somebody asks for it.
        need_bytes: Estimated peak.
        rung: Place on the ladder, 0 is the roomiest.
        stepped_down: Whether an out-of-memory led here.
    """

    dtype: str = "float32"
    codec_dtype: str = "float32"
    release_encoders: bool = False
    vae: str = "whole"
    rows: int = 0
    offload: str = "none"
    t5_bits: int = 16
    attention: str = "math"
    compiled: bool = False
    need_bytes: int = 0
    rung: int = 0
    stepped_down: bool = False

    def words(self) -> str:
        """For logs and provenance: "bfloat16, VAE bfloat16, encoders released, flash attention, about 9.8 GiB"."""
        parts = [self.dtype, f"VAE {self.codec_dtype}"]
        parts += ["encoders released"] if self.release_encoders else []
        parts += ["VAE recomputed"] if self.vae == "recomputed" else []
        parts += [f"{self.rows} rows at once"] if self.rows else []
        parts += ["denoiser in the computer's memory"] if self.offload == "blocks" else []
        parts += ["T5 in 8 bits"] if self.t5_bits == 8 else []
        parts += [f"{self.attention} attention"]
        parts += ["compiled"] if self.compiled else []
        parts += ["one step down after an out-of-memory"] if self.stepped_down else []
        return ", ".join(parts) + f", about {self.need_bytes / GIB:.1f} GiB"


def ladder(pipeline: str, preset: str, card: Card) -> tuple[Plan, ...]:
    """Every way to run a preset on a kind of card, the roomiest first; the card's size plays no part.

    Args:
        pipeline: Name in the catalog.
        preset: One of its presets.
        card: Decides precision and attention.

    Raises:
        KeyError: There is no workload of that name.
    """
    work = WORKLOADS[pipeline, preset]
    first = Plan(**_precision(card, work), attention=_attention(card))
    rungs = [first]
    for changes in _steps(card, work):
        rungs.append(replace(rungs[-1], **changes))
    return tuple(replace(plan, need_bytes=need(work, plan, card.kind), rung=k) for k, plan in enumerate(rungs))


def plan_for(pipeline: str, preset: str, card: Card) -> Plan | None:
    """The first rung that fits the card; None where not even the last one does. Arguments as in `ladder`."""
    return next((plan for plan in ladder(pipeline, preset, card) if plan.need_bytes <= card.usable_bytes), None)


def next_rung(pipeline: str, preset: str, card: Card, plan: Plan) -> Plan | None:
    """The plan after an out-of-memory: the next rung that saves a good part, marked; None at the ladder's end.

    Args:
        pipeline: Name in the catalog.
        preset: One of its presets.
        card: Where the memory ran out.
        plan: That did not suffice.
    """
    rungs = ladder(pipeline, preset, card)
    if plan.rung + 1 >= len(rungs):
        return None
    below = rungs[plan.rung + 1 :]
    lower = next((rung for rung in below if rung.need_bytes <= ENOUGH * plan.need_bytes), below[-1])
    return replace(lower, stepped_down=True, compiled=plan.compiled and lower.offload == "none")


def least_bytes(pipeline: str, preset: str, card: Card) -> int:
    """Estimated peak on the tightest rung; 0 where there is no workload of that name. Arguments as in `ladder`."""
    if (pipeline, preset) not in WORKLOADS:
        return 0
    return min(plan.need_bytes for plan in ladder(pipeline, preset, card))


def table(pipeline: str, preset: str, sizes: tuple[int, ...] = SIZES) -> Mapping[int, Plan | None]:
    """The plan of every card size; None where the preset does not fit.

    Args:
        pipeline: Name in the catalog.
        preset: One of its presets.
        sizes: GB printed on the cards.
    """
    return {size: plan_for(pipeline, preset, card_of_size(size)) for size in sizes}


def need(work: Workload, plan: Plan, kind: str) -> int:
    """Estimated peak of a job: its widest phase, or the encoders' where that is wider.

    Args:
        work: What is held.
        plan: How.
        kind: "cuda" or "cpu".
    """
    kept = 0 if plan.release_encoders else sum(_encoder_bytes(part, work, plan) for part in work.encoders)
    widest = max(phase_bytes(phase, plan) for phase in work.phases) + kept
    alone = max((_encoder_bytes(part, work, plan) for part in work.encoders), default=0)
    return max(widest, int(alone * 1.1)) + RUNTIME[kind]


def phase_bytes(phase: Phase, plan: Plan) -> int:
    """Estimated peak of one phase: weights, the field with its samples, the VAE's graph and the denoiser's forward.

    Args:
        phase: What is held.
        plan: How.
    """
    width, codec_width = BYTES[plan.dtype], BYTES[plan.codec_dtype]
    mixed, codec_mixed = width < 4, codec_width < 4
    weights = sum(weight_bytes(part, plan.dtype) for part in phase.denoisers)
    weights = int(weights * (STREAMED if plan.offload == "blocks" else 1))
    weights += sum(weight_bytes(part, plan.dtype) for part in phase.beside)
    rows = min(plan.rows or phase.rows, phase.rows)
    total = weights + formulas.denoiser_bytes(rows, phase.edge, phase.channels, width, mixed, phase.factor)
    if plan.attention == "math":
        groups, tokens = rows // phase.sequence, phase.sequence * phase.edge**2
        total += formulas.attention_bytes(groups, tokens, phase.heads, width)
    if phase.codec:
        total += weight_bytes(phase.codec, plan.codec_dtype)
        shape = (phase.picture, phase.codec_channels, codec_width)
        total += formulas.encoder_bytes(phase.encoded, *shape, plan.vae, codec_mixed)
        total += formulas.decoder_bytes(phase.decoded, *shape, codec_mixed, phase.codec_factor)
    if phase.rays:
        total += formulas.field_bytes(phase.rays, phase.solid, phase.normals, phase.field)
    return total


def _encoder_bytes(part: str, work: Workload, plan: Plan) -> int:
    if part == work.t5:
        return weight_bytes(part, "int8" if plan.t5_bits == 8 else _t5_dtype(plan.dtype))
    return weight_bytes(part, plan.dtype)


def _t5_dtype(dtype: str) -> str:
    return "float32" if dtype == "float16" else dtype  # T5 overflows in float16: its residual stream exceeds 65504


def _precision(card: Card, work: Workload) -> dict[str, str]:
    if card.kind == "cpu" or work.small:
        return {"dtype": "float32", "codec_dtype": "float32"}
    if card.bfloat16:
        return {"dtype": "bfloat16", "codec_dtype": "float32" if work.tight_codec else "bfloat16"}
    return {"dtype": "float16", "codec_dtype": "float32"}


def _attention(card: Card) -> str:
    if card.kind == "cpu":
        return "flash"  # torch's CPU attention works in tiles too
    return "flash" if card.flash else "efficient"


def _steps(card: Card, work: Workload) -> list[dict[str, object]]:
    """What each rung changes on the one above, the cheapest in time first."""
    cuda = card.kind == "cuda"
    steps: list[dict[str, object]] = [{"release_encoders": True}] if cuda and work.encoders else []
    if work.t5:
        steps.append({"t5_bits": 8})
    if any(phase.encoded for phase in work.phases):
        steps.append({"vae": "recomputed"})
    least = max(phase.least_rows for phase in work.phases)
    if any(phase.rows > least for phase in work.phases):
        steps.append({"rows": least})
    if cuda:
        steps.append({"offload": "blocks"})
    return steps
