"""What all latent diffusion models share: the picture codec, the noise schedule, precision, and files of weights.

Knows the VAE, the schedule and what a prediction means; knows no U-Net call and no condition: each family adds those.
Glossary: x_t noisy latents, abar = alphas_cumprod[t], eps noise, v = sqrt(abar) eps - sqrt(1 - abar) x_0.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .base import DiffusionPrior
from .configs import LatentConfig
from .published import load_exactly

Module = TypeVar("Module", bound=nn.Module)


def cpu_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def stable_diffusion_schedule(prediction: str = "epsilon", zero_terminal_snr: bool = False) -> DDIMScheduler:
    """Stable Diffusion's noise schedule: 1000 steps, scaled linear from 0.00085 to 0.012 (checkpoints.md, section 1).

    Args:
        prediction: "epsilon" or "v_prediction".
        zero_terminal_snr: Whether the last step is rescaled to pure noise.
    """
    with torch.device("cpu"):  # numbers, also where the model around them is only being planned on the meta device
        return DDIMScheduler(
            num_train_timesteps=1000,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type=prediction,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            rescale_betas_zero_snr=zero_terminal_snr,
            timestep_spacing="trailing" if zero_terminal_snr else "leading",
        )


class LatentPrior(DiffusionPrior):
    """Base of the latent diffusion models. A family sets its own modules before `finish_init`.

    Args:
        config: Sizes and conventions.
        vae: Picture codec with its scaling factor set.
        version: What is added to the name in provenance.
    """

    def __init__(self, config: LatentConfig, vae: nn.Module, version: str = ""):
        super().__init__(config, stable_diffusion_schedule(config.prediction, config.zero_terminal_snr), version)
        self.vae = vae
        self.codec_precision: torch.dtype | None = None  # of the VAE, where it differs (memory.plan)

    def autocast(self, precision: torch.dtype | None = None) -> contextlib.AbstractContextManager:
        """Precision of the arithmetic: `self.precision` where it is set, else bfloat16 on CUDA and, on the CPU,
        that of the weights.

        Models that say `fast_on_cpu` (the mini ones) take bfloat16 on processors that multiply it in hardware.
        `precision` goes before all of that.
        """
        kind = self.device.type
        usual = kind == "cuda" or (self.config.fast_on_cpu and cpu_bfloat16())
        dtype = precision or self.precision or (torch.bfloat16 if usual else self._stored_precision())
        return torch.autocast(kind, dtype, enabled=dtype != torch.float32)

    def _stored_precision(self) -> torch.dtype:
        kinds = [first.dtype for module in self.children() for first in itertools.islice(module.parameters(), 1)]
        return next((kind for kind in kinds if kind != torch.float32), torch.float32)

    def encode_images(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents of pictures, differentiable.

        Args:
            images: (N, 3, H, W) in [0, 1].
            generator: Draws the posterior sample, as the published code does; None takes the mean.

        Returns:
            (N, C, H / f, W / f), scaled to about unit variance.
        """
        return self.image_posterior(images, generator) * self.vae.config.scaling_factor

    def image_posterior(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Latents as the encoder gives them, NOT scaled; arguments as in `encode_images`.

        Zero123 and V3D are conditioned on these (checkpoints.md, point 2).
        """
        with self.autocast(self.codec_precision):
            posterior = self.vae.encode(images * 2 - 1).latent_dist
        return (posterior.mean if generator is None else posterior.sample(generator)).float()

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Pictures of scaled latents: (N, C, h, w) -> (N, 3, H, W) in [0, 1]."""
        return (self.decode_raw(latents) / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def decode_raw(self, latents: Tensor) -> Tensor:
        """Pictures of scaled latents as the decoder gives them, about [-1, 1] and not clamped; for comparisons."""
        with self.autocast(self.codec_precision):
            return self.vae.decode(latents / self.vae.config.scaling_factor).sample.float()

    def _abar(self, t: Tensor) -> Tensor:
        return self.alphas_cumprod[t].view(-1, 1, 1, 1)

    def noise_of(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """eps from what the U-Net says; (N, C, h, w), the same, (N,). Identity for epsilon weights."""
        if self.config.prediction == "epsilon":
            return output
        abar = self._abar(t)
        return abar.sqrt() * output + (1 - abar).sqrt() * x_t

    def clean_of(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """x_0 from what the U-Net says; arguments as in `noise_of`. Exact at zero terminal SNR for v-prediction."""
        abar = self._abar(t)
        if self.config.prediction == "epsilon":
            return (x_t - (1 - abar).sqrt() * output) / abar.sqrt()
        return abar.sqrt() * x_t - (1 - abar).sqrt() * output

    def ddim(
        self,
        x_T: Tensor,
        steps: int,
        output: Callable[[Tensor, Tensor], Tensor],
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Clean latents by DDIM, the shape of x_T; arguments as in `ddim_steps`."""
        last = x_T
        for x, _ in self.ddim_steps(x_T, steps, output, eta, generator):
            last = x
        return last

    @torch.no_grad()
    def ddim_steps(
        self,
        x_T: Tensor,
        steps: int,
        output: Callable[[Tensor, Tensor], Tensor],
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """DDIM as the published samplers do it, where `steps` divides 1000.

        Args:
            x_T: Start, (N, C, h, w), unit noise.
            steps: Denoising steps; the published sampler takes one more where it does not divide 1000.
            output: What the network says of (x_t, t) under guidance, in its own kind: eps, or v for v-prediction
                weights; t is (N,) long.
            eta: 0 is deterministic, 1 is DDPM's variance; default 0.0.
            generator: Draws the noise of eta above 0.

        Yields:
            After every step: the sample, whose last one is the result, and the clean latents that the step foresaw.
        """
        self.scheduler.set_timesteps(steps, device=x_T.device)
        x = x_T
        for t in self.scheduler.timesteps:
            said = output(x, t.expand(len(x)))
            step = self.scheduler.step(said, t, x, eta=eta, generator=generator)
            x = step.prev_sample
            yield x, step.pred_original_sample

    def about(self, version: str) -> dict[str, Any]:
        """What `save` writes beside the tensors: name, version and the configuration; a family adds what it needs."""
        return {
            "name": self.config.name,
            "version": version,
            "scaling_factor": float(self.vae.config.scaling_factor),
            "config": asdict(self.config),
        }

    def save(self, folder: Path, version: str, dtype: torch.dtype = torch.float16) -> None:
        """Write `model.safetensors`, `config.json` (see `about`) and `SHA256SUMS` in the format of `sha256sum`.

        Args:
            folder: Is made where it is missing; `dreamlift doctor` compares the hashes with the files.
            version: What `from_folder` adds to the name.
            dtype: Of the tensors in the file; default half precision.
        """
        tensors = {key: value.to(dtype).contiguous() for key, value in self.state_dict().items()}
        write_folder(folder, tensors, self.about(version))


def write_folder(folder: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write tensors, a JSON about them, and the hashes of both files.

    Args:
        folder: Is made where it is missing.
        tensors: By name.
        about: Must have a `name`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("config.json", "model.safetensors")]
    save_file(tensors, files[1], metadata={"format": "pt", "name": about["name"]})
    files[1].chmod(0o644)  # safetensors writes for the owner alone; an installed package is read by all
    files[0].write_text(json.dumps(about, indent=1) + "\n")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def read_model(folder: Path, make: Callable[[dict[str, Any]], Module]) -> Module:
    """Read a small model of ours, ready to be asked.

    Args:
        folder: As `write_folder` wrote it, its tensors the model's own.
        make: The model without weights, from the JSON.

    Raises:
        FileNotFoundError: The folder holds no weights.
        CheckpointMismatch: Keys are missing, left over or misshaped; says which.
    """
    tensors, about = read_folder(folder)
    with torch.device("meta"):
        model = make(about)
    load_exactly(model, tensors, "model")
    return model.eval().requires_grad_(False)


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_folder` wrote: tensors and the JSON.

    Raises:
        FileNotFoundError: The folder holds no weights; says which file is missing.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; reinstall dreamlift or train the model again.")
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
