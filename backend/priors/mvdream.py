"""MVDream as a prior: text and cameras to the denoising of four views at once, published size or mini.

Knows the U-Net and its text encoder, and what they predict; the VAE and the schedule are `latent`'s. Knows no fields,
losses or jobs: distillation takes any object with `encode_text`, `predict`, `predict_x0`, `encode_images` and
`alphas_cumprod`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from ..rendering.cameras import Cameras, harmonic_camera, mvdream_camera, ray_maps
from . import published
from .attention import use_multi_view_attention
from .configs import MINI, MVDREAM_SD21, MVDreamConfig
from .latent import LatentPrior, cpu_bfloat16, read_folder
from .tokenizer import WordTokenizer, clip_tokenizer

__all__ = ["MINI_FOLDER", "MVDreamPrior", "build_text_encoder", "build_unet", "cpu_bfloat16", "without_camera"]

MINI_FOLDER = Path(__file__).parent.parent / "mini" / "mvdream"

Tokenizer = Callable[[Sequence[str]], Tensor]


def build_unet(config: MVDreamConfig) -> UNet2DConditionModel:
    """The U-Net of a configuration with random weights and 3D attention."""
    unet = UNet2DConditionModel(**config.unet)
    use_multi_view_attention(unet)
    return unet


def build_text_encoder(config: MVDreamConfig, vocabulary: int) -> CLIPTextModel:
    """The text encoder of a configuration with random weights."""
    return CLIPTextModel(CLIPTextConfig(**{**config.text, "vocab_size": vocabulary}))


@contextlib.contextmanager
def without_camera(unet: UNet2DConditionModel) -> Iterator[None]:
    """Run a U-Net as the plain 2D model: no camera is added to the time embedding (checkpoints.md, point 11)."""
    embedding, unet.class_embedding = unet.class_embedding, None
    try:
        yield
    finally:
        unet.class_embedding = embedding


class MVDreamPrior(LatentPrior):
    """The four-view diffusion model with its encoders.

    Args:
        config: Sizes and conventions.
        unet: Denoiser with 3D attention.
        vae: Picture codec with its scaling factor set.
        text_encoder: Gives the last hidden state, final norm applied.
        tokenizer: Prompts to token ids.
        version: What is added to the name in provenance.
    """

    def __init__(
        self,
        config: MVDreamConfig,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: Tokenizer,
        version: str = "",
    ):
        super().__init__(config, vae, version)
        self.unet, self.text_encoder, self.tokenizer = unet, text_encoder, tokenizer
        self.finish_init()

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that the text encoder cannot know; empty for the published models, whose vocabulary is open."""
        return self.tokenizer.unknown(prompt) if isinstance(self.tokenizer, WordTokenizer) else []

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Context of each prompt: (B, L, D) float32. The configuration's suffix is added to prompts that lack it."""
        suffix = self.config.prompt_suffix
        full = [p + suffix if p and suffix and "3d" not in p.lower() else p for p in prompts]
        return self.text_encoder(self.tokenizer(full).to(self.device)).last_hidden_state.float()

    def camera_numbers(self, cameras: Cameras) -> Tensor:
        """The 16 numbers that the camera embedding of these weights takes: (N, 16)."""
        return mvdream_camera(cameras) if self.config.camera == "matrix" else harmonic_camera(cameras)

    def raw_output(self, x_t: Tensor, t: Tensor, context: Tensor, cameras: Cameras | None, views: int) -> Tensor:
        """What the U-Net says, eps or v; arguments as in `predict`. Differentiable, for training."""
        call = {"cross_attention_kwargs": {"views": views}}
        if self.config.ray_maps:
            x_t = torch.cat([x_t, self._rays(cameras, x_t)], dim=1)
        if x_t.device.type == "cpu":
            x_t = x_t.contiguous(memory_format=torch.channels_last)
        with self.autocast():
            if cameras is None:
                with without_camera(self.unet):
                    return self.unet(x_t, t, context, **call).sample.float()
            numbers = self.camera_numbers(cameras).to(self.device)
            return self.unet(x_t, t, context, class_labels=numbers, **call).sample.float()

    @torch.no_grad()
    def predict(self, x_t: Tensor, t: Tensor, context: Tensor, cameras: Cameras | None, views: int = 4) -> Tensor:
        """Predicted noise.

        Args:
            x_t: (B * views, C, h, w), view fastest.
            t: (B * views,) long in [0, 999], the same for all views of an object.
            context: (B * views, L, D) from `encode_text`.
            cameras: B * views cameras; None runs without cameras.
            views: Views per object; 1 gives the 2D model.

        Returns:
            eps, the shape of x_t.
        """
        return self.noise_of(self.raw_output(x_t, t, context, cameras, views), x_t, t)

    @torch.no_grad()
    def predict_x0(self, x_t: Tensor, t: Tensor, context: Tensor, cameras: Cameras | None, views: int = 4) -> Tensor:
        """Predicted clean latents; arguments as in `predict`. Exact at zero terminal SNR for v-prediction weights."""
        return self.clean_of(self.raw_output(x_t, t, context, cameras, views), x_t, t)

    @staticmethod
    def _rays(cameras: Cameras | None, x_t: Tensor) -> Tensor:
        if cameras is None:
            return x_t.new_zeros(len(x_t), 6, *x_t.shape[2:])
        return ray_maps(cameras, x_t.shape[-1]).to(x_t)

    @classmethod
    def random(cls, config: MVDreamConfig, words: Sequence[str] = (), seed: int = 0) -> MVDreamPrior:
        """The model of a configuration with random weights and a word tokenizer, for training and tests."""
        tokenizer = WordTokenizer(words, config.text["max_position_embeddings"])
        vocabulary = max(len(tokenizer), config.text["vocab_size"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet, text = build_unet(config), build_text_encoder(config, vocabulary)
            vae = AutoencoderKL(**config.vae)
        return cls(config, unet, vae, text, tokenizer, version="random weights")

    def about(self, version: str) -> dict[str, Any]:
        """What is written beside the tensors: also the words of the closed vocabulary."""
        return {**super().about(version), "words": list(self.tokenizer.words)}

    @classmethod
    def from_folder(cls, folder: Path, config: MVDreamConfig = MINI) -> MVDreamPrior:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: The folder holds no weights; says which file is missing.
            RuntimeError: Keys are missing, left over or misshaped; says which.
        """
        tensors, about = read_folder(folder)
        config = replace(config, vae={**config.vae, "scaling_factor": about["scaling_factor"]})
        prior = cls.random(config, about["words"])
        prior.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)
        prior.version = about["version"]
        prior.unet.to(memory_format=torch.channels_last)
        return prior

    @classmethod
    def from_published(cls, path: Path, config: MVDreamConfig = MVDREAM_SD21) -> MVDreamPrior:
        """Read a published file, such as `sd-v2.1-base-4view.pt`, with CLIP's tokenizer from `tokenizer/` beside it.

        Raises:
            FileNotFoundError: The file or the tokenizer's folder is missing; says which.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        state = published.read_state_dict(path)
        prior = cls.random(config)
        prior.load_published(state)
        prior.tokenizer, prior.version = clip_tokenizer(path.parent / "tokenizer", config), "published"
        return prior

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Take all weights from a state dict in the published layout; errors as in `from_published`."""
        layers, levels = self.config.unet["layers_per_block"], len(self.config.vae["block_out_channels"])
        published.load_exactly(self.unet, published.convert_unet(state, layers), "U-Net")
        published.load_exactly(self.vae, published.convert_vae(state, levels), "VAE")
        text = published.convert_openclip_text(state, self.config.text["num_hidden_layers"])
        published.load_exactly(self.text_encoder, text, "text encoder")

    @classmethod
    def mini(cls, folder: Path = MINI_FOLDER) -> MVDreamPrior:
        """The embedded mini model."""
        return cls.from_folder(folder, MINI)
