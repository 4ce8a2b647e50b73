"""DeepFloyd IF, stage I: a text-to-image model on 64 x 64 pixels, without a VAE.

Knows the U-Net, its schedule and its pixels; sizes are in `deepfloyd_config`, the text encoder is `t5`'s, views and
negatives are `perp_neg`'s. The U-Net answers six channels, noise and variance: the noise is split off before any
guidance (checkpoints.md section 5).
Glossary: x_t noisy pixels in about [-1, 1], abar = alphas_cumprod[t], eps noise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from .base import DiffusionPrior
from .contract import Source, TextContext
from .deepfloyd_config import IF_I_XL, DeepFloydConfig, with_unet_file
from .files import Family, check_family, read_component, read_weights
from .latent import read_folder, write_folder
from .published import load_exactly
from .random_weights import randomise
from .t5 import T5_XXL, T5Text, build_encoder, load_encoder
from .t5_tokens import LENGTH, byte_tokens, t5_tokenizer

TextEncoder = Callable[[Sequence[str], torch.device], Tensor]  # prompts, where to run -> (B, 77, D) float32


def deepfloyd_schedule() -> DDPMScheduler:
    """Stage I's noise schedule; the thresholds matter in sampling only."""
    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="epsilon",
        variance_type="learned_range",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
    )


class DeepFloydPrior(DiffusionPrior):
    """Stage I with its text encoder.

    Args:
        config: Sizes and licence.
        unet: Denoiser.
        text: Prompts to embeddings; not a part of the module: the encoder comes and goes.
        version: What is added to the name in provenance.
    """

    def __init__(self, config: DeepFloydConfig, unet: UNet2DConditionModel, text: TextEncoder, version: str = ""):
        super().__init__(config, deepfloyd_schedule(), version)
        self.unet, self.encoder = unet, text
        self.finish_init()

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings of prompts: (B, 77, 4096) float32 on the model's device. The encoder is gone afterwards."""
        return self.encoder(prompts, self.device).to(self.device)

    def encode(self, prompts: Sequence[str]) -> TextContext:
        """The condition of some prompts."""
        return TextContext(self.encode_text(prompts))

    def encode_images(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pictures as this model sees them, differentiable.

        Args:
            images: (N, 3, H, W) in [0, 1].
            generator: Ignored: there is no VAE to draw from.

        Returns:
            (N, 3, 64, 64) in [-1, 1], resized bilinearly.
        """
        size = (self.image_size, self.image_size)
        return F.interpolate(images, size, mode="bilinear", align_corners=False) * 2 - 1

    def decode_latents(self, pixels: Tensor) -> Tensor:
        """Pictures of this model's pixels: (N, 3, 64, 64) in about [-1, 1] -> [0, 1]."""
        return (pixels.float() / 2 + 0.5).clamp(0, 1)

    def raw_output(self, x_t: Tensor, t: Tensor, condition: TextContext | Tensor) -> Tensor:
        """All six channels that the U-Net says: (N, 6, 64, 64), noise then variance. Arguments as in `predict`."""
        context = condition.text if isinstance(condition, TextContext) else condition
        stored = self.unet.conv_in.weight.dtype
        with self.autocast():  # on a CPU it leaves norms alone, and the text meets one first
            return self.unet(x_t, t, context.to(stored)).sample.float()

    @torch.no_grad()
    def predict(self, x_t: Tensor, t: Tensor, condition: TextContext | Tensor, cameras: Any = None) -> Tensor:
        """Predicted noise.

        Args:
            x_t: (N, 3, 64, 64).
            t: (N,) long in [0, 999].
            condition: Of `encode`, or embeddings (N, 77, 4096).
            cameras: Ignored: views are told in words (`perp_neg`).

        Returns:
            eps, the shape of x_t. Guidance of DreamFusion's form, text + s (text - uncond), is 1 + s in ours.
        """
        return self.raw_output(x_t, t, condition)[:, :3]

    def predict_x0(self, x_t: Tensor, t: Tensor, condition: TextContext | Tensor, cameras: Any = None) -> Tensor:
        """Predicted clean pixels, not thresholded; arguments as in `predict`."""
        abar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return (x_t - (1 - abar).sqrt() * self.predict(x_t, t, condition, cameras)) / abar.sqrt()

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        *,
        negative_prompt: str = "",
        steps: int = 100,
        guidance: float = 7.0,
        seed: int = 0,
    ) -> Tensor:
        """Draw pictures with DDPM, thresholding and the learned variance, as diffusers' IFPipeline does.

        Args:
            prompts: One a picture.
            negative_prompt: The unconditional side.
            steps: Denoising steps.
            guidance: w in u + w (c - u); the variance is the conditional one's.
            seed: Of all noise.

        Returns:
            (len(prompts), 3, 64, 64) in [0, 1].
        """
        condition = TextContext.cat([self.encode([negative_prompt] * len(prompts)), self.encode(prompts)])
        generator = torch.Generator().manual_seed(seed)
        size = (len(prompts), 3, self.image_size, self.image_size)
        x_t = torch.randn(size, generator=generator).to(self.device)
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            labels = t.to(self.device).expand(2 * len(prompts))
            unconditional, conditional = self.raw_output(torch.cat([x_t, x_t]), labels, condition).chunk(2)
            eps_u, (eps_c, variance) = unconditional[:, :3], conditional.split(3, dim=1)
            told = torch.cat([eps_u + guidance * (eps_c - eps_u), variance], dim=1)
            x_t = self.scheduler.step(told, t, x_t, generator=generator).prev_sample
        return self.decode_latents(x_t)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Precision of the arithmetic: `self.precision` where it is set, else bfloat16 on CUDA and, on the CPU, that of
        the weights."""
        kind = self.device.type
        dtype = self.precision or (torch.bfloat16 if kind == "cuda" else self.unet.conv_in.weight.dtype)
        return torch.autocast(kind, dtype, enabled=dtype != torch.float32)

    @classmethod
    def random(cls, config: DeepFloydConfig = IF_I_XL, seed: int = 0) -> DeepFloydPrior:
        """The model of a configuration with random weights, and a text encoder with random weights that is built when
        a prompt comes; its tokens are bytes."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet = UNet2DConditionModel(**config.unet)

        def load() -> nn.Module:
            with torch.device("meta"):
                encoder = build_encoder(config.text)
            large = config.text["d_model"] >= T5_XXL["d_model"]
            return randomise(encoder, seed=seed, dtype=torch.bfloat16 if large else torch.float32)

        text = T5Text(load, byte_tokens(LENGTH, config.text["vocab_size"]), f"random {seed}")
        return cls(config, unet, text, version="random weights")

    @classmethod
    def from_published(
        cls,
        source: Source,
        config: DeepFloydConfig = IF_I_XL,
        *,
        dtype: torch.dtype = torch.float32,
        text_cache: Path | None = None,
        eight_bit_text: bool = False,
    ) -> DeepFloydPrior:
        """Read the published weights, which are in diffusers' layout.

        Args:
            source: A folder like DeepFloyd/IF-I-XL-v1.0 (`unet/`, `text_encoder/`, `tokenizer/`), or the U-Net alone:
                its file or its tensors. `unet/config.json` is followed where it says more than `config`.
            config: Sizes.
            dtype: Of the U-Net's weights.
            text_cache: Folder of finished embeddings; with all prompts in it, no text encoder is needed.
            eight_bit_text: Whether T5's matrices are kept in 8 bits: 4.8 GB instead of 9.5 GB.

        Raises:
            WeightsError: A file is missing, damaged, or another model's.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        folder = Path(source) if not isinstance(source, dict) and Path(source).is_dir() else None
        if folder is not None:
            state, config = read_component(folder, "unet"), with_unet_file(config, folder / "unet" / "config.json")
        else:
            state = dict(source) if isinstance(source, dict) else read_weights(Path(source))
        check_family(state, Family.DEEPFLOYD, folder or (source if not isinstance(source, dict) else "the checkpoint"))
        with torch.device("meta"):
            unet = UNet2DConditionModel(**config.unet)
        for parameter in unet.parameters():
            parameter.data = parameter.data.to(dtype)
        load_exactly(unet, state, "U-Net")
        fingerprint = f"{config.name} {'8 bit' if eight_bit_text else 'bfloat16'}"
        text = T5Text(
            partial(_open_text, folder, config, eight_bit_text),
            partial(_tokenize, folder),
            fingerprint,
            cache=text_cache,
        )
        return cls(config, unet, text, version="published")

    def save(self, folder: Path, version: str) -> None:
        """Write the U-Net (`model.safetensors` in float16, `config.json`, hashes). T5 stays in its own folder."""
        tensors = {key: value.half().contiguous() for key, value in self.unet.state_dict().items()}
        write_folder(folder, tensors, {"name": self.config.name, "version": version})

    @classmethod
    def from_folder(
        cls, folder: Path, config: DeepFloydConfig = IF_I_XL, *, text: TextEncoder | None = None
    ) -> DeepFloydPrior:
        """Read what `save` wrote.

        Args:
            folder: Holds `model.safetensors` and `config.json`; `text_encoder/` and `tokenizer/` may lie in it too.
            config: Sizes.
            text: Prompts to embeddings; None takes T5 from `folder`.

        Raises:
            FileNotFoundError: A file is missing; says which.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        tensors, about = read_folder(folder)
        with torch.device("meta"):
            unet = UNet2DConditionModel(**config.unet)
        load_exactly(unet, tensors, "U-Net")
        usual = T5Text(partial(_open_text, folder, config, False), partial(_tokenize, folder), config.name)
        return cls(config, unet, text or usual, version=about["version"])


def _open_text(folder: Path | None, config: DeepFloydConfig, in_eight_bit: bool) -> nn.Module:
    return load_encoder(_part(folder, "text_encoder"), config.text, in_eight_bit=in_eight_bit)


def _tokenize(folder: Path | None, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    return t5_tokenizer(_part(folder, "tokenizer"))(prompts)


def _part(folder: Path | None, name: str) -> Path:
    if folder is None or not (folder / name).is_dir():
        where = folder / name if folder is not None else f"{name}/"
        raise FileNotFoundError(
            f"{where} is missing, and these prompts are not in the cache of embeddings. Give from_published the whole "
            "folder of DeepFloyd/IF-I-XL-v1.0, or a text_cache that holds the prompts."
        )
    return folder / name
