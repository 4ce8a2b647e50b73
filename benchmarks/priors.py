"""One forward and one sampling run of every full-size prior with random weights, beside the card's matrix rate.

    python benchmarks/priors.py [--only mvdream v3d ...] [--steps N] [--no-sampling] [--device cuda] [--out FILE]

On CUDA the models are full size, weights and arithmetic bfloat16. The limit is the rate that this very card reaches on
8192 x 8192 bfloat16 matrices; a forward's floating point operations are counted by torch, and the share of the limit is
operations / seconds / rate. Peak memory is what torch held at most, weights included, encoders included. Without a GPU
the same calls run on toy sizes in float32, so that the script itself can be tested: those figures mean nothing.
A sampling run is the published one: its steps, its guidance, decoded. The last line is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dreamlift.priors.configs import IMAGEDREAM_LOCAL, IMAGEDREAM_PIXEL, MINI, MVDREAM_SD15, MVDREAM_SD21
from dreamlift.priors.contract import TextContext
from dreamlift.priors.deepfloyd import DeepFloydPrior
from dreamlift.priors.deepfloyd_config import IF_I_XL
from dreamlift.priors.edm import frame_guidance
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.random_weights import empty_parameters, random_prior, randomise
from dreamlift.priors.sampling import sample_views
from dreamlift.priors.stable_diffusion import StableDiffusionPrior
from dreamlift.priors.stable_diffusion_config import SD15, SD21_BASE
from dreamlift.priors.t5 import T5_XXL, build_encoder
from dreamlift.priors.t5_tokens import byte_tokens
from dreamlift.priors.v3d import V3DPrior
from dreamlift.priors.v3d_config import V3D_512
from dreamlift.priors.zero123 import Zero123Prior
from dreamlift.priors.zero123_config import ZERO123
from dreamlift.rendering.cameras import Cameras, orbit, orthogonal_views

PROMPT = "a red mushroom"
MATRIX = {"cuda": 8192, "cpu": 1024}

Forward = Callable[[nn.Module], Callable[[], Any]]  # prepares the inputs once; what it returns is timed


@dataclass(frozen=True)
class Case:
    """One model.

    Args:
        build: Makes it: whether at full size, device, dtype.
        forward: One call of the denoiser as its method makes it, guidance included.
        rows: What that call is, in words.
        sample: The model and the steps to a finished picture or orbit; None where there is nothing to sample.
        steps: Published steps.
    """

    build: Callable[[bool, torch.device, torch.dtype], nn.Module]
    forward: Forward
    rows: str
    sample: Callable[[nn.Module, int], Any] | None = None
    steps: int = 0


FULL: dict[str, tuple[Any, Any]] = {
    "mvdream": (MVDreamPrior, MVDREAM_SD21),
    "mvdream-1.5": (MVDreamPrior, MVDREAM_SD15),
    "imagedream": (ImageDreamPrior, IMAGEDREAM_PIXEL),
    "imagedream-local": (ImageDreamPrior, IMAGEDREAM_LOCAL),
    "sd-2.1-base": (StableDiffusionPrior, SD21_BASE),
    "sd-1.5": (StableDiffusionPrior, SD15),
    "zero123": (Zero123Prior, ZERO123),
    "v3d": (V3DPrior, V3D_512),
    "if-i-xl": (DeepFloydPrior, IF_I_XL),
}


def family_of(name: str) -> Callable[[bool, torch.device, torch.dtype], nn.Module]:
    """Builds a family's prior at full or toy size, with random weights."""
    family, config = FULL[name]
    small = {"mvdream": MINI, "if-i-xl": TOY_IF}.get(name) or toy(config)
    return lambda full, device, dtype: random_prior(family, config if full else small, device=device, dtype=dtype)


def toy(config: Any) -> Any:
    """A configuration of the same shape of model, with a few million parameters."""
    channels = (32, 32, 64, 64)
    heads = "num_attention_heads" if "num_attention_heads" in config.unet else "attention_head_dim"
    sizes = {"block_out_channels": channels, "cross_attention_dim": 64, "sample_size": 8, heads: (1, 1, 2, 2)}
    parts: dict[str, Any] = {"unet": {**config.unet, **sizes}, "vae": {**config.vae, "block_out_channels": channels}}
    tower = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    tower["projection_dim"] = 64
    if hasattr(config, "text"):
        parts["text"] = {
            **config.text,
            **tower,
            "vocab_size": 300,
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 1,
        }
    if hasattr(config, "vision"):
        parts["vision"] = {**config.vision, **tower, "image_size": 28}
    if hasattr(config, "resampler"):
        small = {"embed_dims": 64, "output_dims": 64, "hidden_dims": 64, "depth": 1, "heads": 2, "dim_head": 32}
        parts["resampler"] = {**config.resampler, **small}
    if hasattr(config, "frames"):
        parts |= {"frames": 3, "unet": {**parts["unet"], "num_frames": 3}}
    return replace(config, name=f"toy {config.name}", image_size=64, **parts)


TOY_T5 = {**T5_XXL, "vocab_size": 300, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
TOY_IF = replace(
    IF_I_XL,
    name="toy IF",
    image_size=16,
    unet={
        **IF_I_XL.unet,
        "sample_size": 16,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": IF_I_XL.unet["down_block_types"][:2],
        "up_block_types": IF_I_XL.unet["up_block_types"][-2:],
        "attention_head_dim": 8,
        "cross_attention_dim": 64,
        "encoder_hid_dim": 32,
        "addition_embed_type_num_heads": 2,
    },
    text=TOY_T5,
)


def noise(prior: nn.Module, rows: int, channels: int | None = None) -> tuple[Tensor, Tensor]:
    """x_t and t in the middle of the schedule."""
    size = prior.config.unet["sample_size"]
    channels = channels or prior.config.unet["out_channels"]
    x_t = torch.randn(rows, channels, size, size, generator=torch.Generator().manual_seed(0))
    return x_t.to(prior.device), torch.full((rows,), 500, device=prior.device)


def picture(prior: nn.Module) -> Tensor:
    """A picture of random colours, of the model's size."""
    size = (1, 3, prior.image_size, prior.image_size)
    return torch.rand(size, generator=torch.Generator().manual_seed(1)).to(prior.device)


def four_views(times: int = 1) -> Cameras:
    """Four cameras around the object, repeated."""
    cameras = orthogonal_views(0, 15, 1.0, 40)
    return Cameras(cameras.c2w.repeat(times, 1, 1), cameras.fovy.repeat(times))


def mvdream_forward(prior: MVDreamPrior) -> Callable[[], Tensor]:
    """Four views with and without text."""
    context = prior.encode_text([PROMPT, ""]).repeat_interleave(4, 0)
    x_t, t = noise(prior, 8, prior.vae.config.latent_channels)
    return lambda: prior.predict(x_t, t, context, four_views(2), 4)


def mvdream_sample(prior: MVDreamPrior, steps: int) -> Tensor:
    """Four views, decoded."""
    return sample_views(prior, [PROMPT], four_views(), steps=steps, guidance=10.0, rescale_share=0.0)


def imagedream_conditions(prior: ImageDreamPrior) -> tuple[Any, Any]:
    """Condition of one object, and of nothing."""
    return prior.encode([PROMPT], picture(prior)), prior.encode([""], None)


def imagedream_forward(prior: ImageDreamPrior) -> Callable[[], Tensor]:
    """Four views, and the picture's frame where there is one, with and without text and picture."""
    condition, negative = imagedream_conditions(prior)
    both = type(condition).cat([negative, condition])
    x_t, t = noise(prior, 8)
    return lambda: prior.predict(x_t, t, both, four_views(2), 4)


def imagedream_sample(prior: ImageDreamPrior, steps: int) -> Tensor:
    """All frames, decoded."""
    condition, negative = imagedream_conditions(prior)
    frames = 5 if prior.config.pixel else 4
    numbers = torch.zeros(frames, 16, device=prior.device)
    numbers[:4] = prior.camera_numbers(four_views()).to(prior.device)
    x, _ = noise(prior, frames)
    return prior.decode_latents(prior.ddim_frames(x, condition, negative, numbers, steps=steps))


def stable_forward(prior: StableDiffusionPrior) -> Callable[[], Tensor]:
    """One picture with and without text."""
    context = prior.encode([PROMPT, ""])
    x_t, t = noise(prior, 2)
    return lambda: prior.predict(x_t, t, context)


def stable_sample(prior: StableDiffusionPrior, steps: int) -> Tensor:
    """One picture, decoded."""
    return prior.sample([PROMPT], steps=steps)


def zero123_forward(prior: Zero123Prior) -> Callable[[], Tensor]:
    """One new view with guidance."""
    condition, cameras = prior.encode(picture(prior)), orbit([45.0], 10.0, 3.8, 20.0)
    x_t, t = noise(prior, 1)
    return lambda: prior.predict_guided(x_t, t, condition, cameras, 3.0)


def zero123_sample(prior: Zero123Prior, steps: int) -> Tensor:
    """One new view, decoded."""
    condition, cameras = prior.encode(picture(prior)), orbit([45.0], 10.0, 3.8, 20.0)
    return prior.decode_latents(prior.sample(condition, cameras, steps=steps))


def v3d_forward(prior: V3DPrior) -> Callable[[], Tensor]:
    """All frames of an orbit with guidance."""
    condition = prior.encode(picture(prior))
    x, _ = noise(prior, prior.config.frames)
    weights = frame_guidance(*prior.config.guidance, prior.config.frames)
    sigma = torch.ones(1, device=prior.device)
    return lambda: prior.denoise_guided(x, sigma, condition, weights)


def v3d_sample(prior: V3DPrior, steps: int) -> Tensor:
    """An orbit, decoded."""
    return prior.decode_latents(prior.sample(prior.encode(picture(prior)), steps=steps))


def if_forward(prior: DeepFloydPrior) -> Callable[[], Tensor]:
    """One picture with four texts: the one, none, and two perpendicular negatives."""
    width = prior.config.unet["encoder_hid_dim"]
    texts = torch.randn(4, 77, width, generator=torch.Generator().manual_seed(2)).to(prior.device)
    x_t, t = noise(prior, 4, 3)
    return lambda: prior.predict(x_t, t, TextContext(texts))


def if_sample(prior: DeepFloydPrior, steps: int) -> Tensor:
    """One picture. T5 is measured by itself and left out here."""
    width = prior.config.unet["encoder_hid_dim"]
    prior.encoder = lambda prompts, device: torch.full((len(prompts), 77, width), 0.1)
    return prior.sample([PROMPT], steps=steps)


def t5_build(full: bool, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The text encoder of IF, in its own precision."""
    with empty_parameters():
        encoder = build_encoder(T5_XXL if full else TOY_T5)
    return randomise(encoder, device=device, dtype=torch.bfloat16 if full else dtype)


def t5_forward(encoder: nn.Module) -> Callable[[], Any]:
    """Five prompts: four views and the negative."""
    ids, mask = (part.to(encoder.device) for part in byte_tokens(77, 300)([PROMPT] * 5))

    def call() -> Any:
        with torch.no_grad():
            return encoder(input_ids=ids, attention_mask=mask).last_hidden_state

    return call


def cases() -> dict[str, Case]:
    """Every full-size prior, and the largest text encoder."""
    views, frames, picture_2 = "4 views x 2 texts, 32 x 32", "5 frames x 2, 32 x 32", "1 picture x 2 texts, 64 x 64"
    calls = {
        "mvdream": (mvdream_forward, views, mvdream_sample, 50),
        "mvdream-1.5": (mvdream_forward, views, mvdream_sample, 50),
        "imagedream": (imagedream_forward, frames, imagedream_sample, 50),
        "imagedream-local": (imagedream_forward, views, imagedream_sample, 50),
        "sd-2.1-base": (stable_forward, picture_2, stable_sample, 50),
        "sd-1.5": (stable_forward, picture_2, stable_sample, 50),
        "zero123": (zero123_forward, "1 view x 2, 32 x 32", zero123_sample, 50),
        "v3d": (v3d_forward, "18 frames x 2, 64 x 64", v3d_sample, V3D_512.steps),
        "if-i-xl": (if_forward, "1 picture x 4 texts, 64 x 64", if_sample, 100),
    }
    priors = {name: Case(family_of(name), *call) for name, call in calls.items()}
    return priors | {"t5-xxl": Case(t5_build, t5_forward, "5 prompts of 77 tokens")}


def synchronise(device: torch.device) -> None:
    """Wait for the card."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median clock seconds of a call that has run once before."""
    call()
    taken = []
    for _ in range(repeats):
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of this device on square matrices, the limit that a model is measured against."""
    size = MATRIX.get(device.type, 1024)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: a @ b, device, 10)


def operations(call: Callable[[], Any]) -> int:
    """Floating point operations of a call: matrices, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def peak(device: torch.device) -> int | None:
    """Most bytes that torch held since the last call; None off CUDA."""
    if device.type != "cuda":
        return None
    held = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return held


def measure(case: Case, full: bool, device: torch.device, rate: float, steps: int | None, sampling: bool) -> dict:
    """Figures of one model: forward, sampling run, memory."""
    model = case.build(full, device, torch.bfloat16 if full else torch.float32)
    row: dict[str, Any] = {"forward_is": case.rows if full else "toy size"}
    row["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    call = case.forward(model)
    peak(device)
    row["forward_s"] = seconds(call, device, 5 if full else 1)
    row["forward_peak_bytes"] = peak(device)
    row["forward_operations"] = operations(call)
    row["share_of_limit"] = row["forward_operations"] / row["forward_s"] / rate
    if sampling and case.sample is not None:
        row["steps"] = steps or case.steps
        peak(device)
        synchronise(device)
        start = time.perf_counter()
        result = case.sample(model, row["steps"])
        synchronise(device)
        row["sampling_s"] = time.perf_counter() - start
        row["sampling_peak_bytes"] = peak(device)
        row["finite"] = bool(torch.isfinite(result).all())
    return row


def line(name: str, row: dict) -> str:
    """One model for people."""
    if "error" in row:
        return f"{name:17} {row['error']}"

    def memory(key: str) -> str:
        return f"{row[key] / 2**30:6.2f} GiB" if row.get(key) else "    -     "

    text = (
        f"{name:17} {row['parameters'] / 1e6:6.0f} M  {row['forward_s'] * 1e3:9.2f} ms {memory('forward_peak_bytes')}"
    )
    text += f" {row['forward_operations'] / 1e12:8.3f} TFLOP {100 * row['share_of_limit']:5.1f} % of the limit"
    if "sampling_s" in row:
        text += f" | {row['steps']:3} steps {row['sampling_s']:7.2f} s {memory('sampling_peak_bytes')}"
    return text


def commit() -> str:
    """Of this checkout, empty outside of one."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def main(arguments: list[str] | None = None) -> dict:
    """Measure, print, return what the JSON line holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=sorted(cases()), help="default: all")
    parser.add_argument("--steps", type=int, help="of every sampling run; default: the published ones, 2 without a GPU")
    parser.add_argument("--no-sampling", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    full = device.type == "cuda"
    torch.manual_seed(0)
    rate = matrix_rate(device, torch.bfloat16 if full else torch.float32)
    name = torch.cuda.get_device_name(device) if full else platform.processor() or platform.machine()
    kind = "full size, bfloat16" if full else "TOY SIZES, float32: only that it runs"
    print(f"{name}, torch {torch.__version__}, {kind}; limit {rate / 1e12:.2f} TFLOP/s (measured)")
    result: dict[str, Any] = {"device": name, "full_size": full, "torch": torch.__version__, "commit": commit()}
    result |= {"limit_flop_s": rate, "rows": {}}
    for key, case in cases().items():
        if options.only and key not in options.only:
            continue
        steps = options.steps or (None if full else 2)
        try:
            row = measure(case, full, device, rate, steps, not options.no_sampling)
        except torch.cuda.OutOfMemoryError as error:
            row = {"error": f"does not fit: {str(error).splitlines()[0]}"}
        result["rows"][key] = row
        print(line(key, row), flush=True)
        gc.collect()
        if full:
            torch.cuda.empty_cache()
    told = json.dumps(result)
    if options.out:
        options.out.write_text(told + "\n")
    print(told)
    return result


if __name__ == "__main__":
    main()
