"""MVDream as a prior: text and cameras to the denoising of four views at once, published size or mini.

Knows the U-Net and its text encoder, and what they predict; the VAE and the schedule are `latent`'s. Knows no fields,
losses or jobs: distillation takes any object with `encode_text`, `predict`, `predict_x0`, `encode_images` and
`alphas_cumprod`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from ..rendering.cameras import Cameras, harmonic_camera, mvdream_camera, ray_maps
from . import published
from .attention import use_multi_view_attention
from .configs import MINI, MVDREAM_SD21, MVDreamConfig
from .contract import Condition, Source, TextContext
from .files import Family
from .latent import LatentPrior, cpu_bfloat16, read_folder
from .layouts import Parts, is_folder, read_folder_parts, state_of, tokenizer_folder
from .tokenizer import MissingTokenizer, WordTokenizer, find_tokenizer

__all__ = ["MINI_FOLDER", "MVDreamPrior", "build_text_encoder", "build_unet", "cpu_bfloat16", "without_camera"]

log = logging.getLogger(__name__)

MINI_FOLDER = Path(__file__).parent.parent / "mini" / "mvdream"

Tokenizer = Callable[[Sequence[str]], Tensor]


def build_unet(config: MVDreamConfig) -> UNet2DConditionModel:
    """The U-Net of a configuration with random weights and 3D attention."""
    unet = UNet2DConditionModel(**config.unet)
    use_multi_view_attention(unet)
    return unet


def build_text_encoder(config: MVDreamConfig, vocabulary: int = 0) -> CLIPTextModel | None:
    """The text encoder of a configuration with random weights; None where it has none.

    Args:
        config: Sizes.
        vocabulary: Of a closed tokenizer, where that is larger than the configuration's; default 0.
    """
    if config.text is None:
        return None
    return CLIPTextModel(CLIPTextConfig(**{**config.text, "vocab_size": max(vocabulary, config.text["vocab_size"])}))


def convert_text(state: dict[str, Tensor], config: MVDreamConfig, prefix: str = published.TEXT) -> dict[str, Tensor]:
    """The text encoder of a checkpoint in either layout, as transformers names it.

    Args:
        state: The whole checkpoint.
        config: Says which layout, and how many layers are kept.
        prefix: Where OpenCLIP's keys start; default "cond_stage_model.model.".
    """
    if config.text_layout == "clip":
        return published.convert_clip_text(state)
    return published.convert_openclip_text(state, config.text["num_hidden_layers"], prefix)


def tell_unread(state: dict[str, Tensor], *prefixes: str) -> None:
    """Log keys of a published file that belong to none of its known parts; they are harmless but may be news."""
    if unread := published.unread(state, *prefixes):
        log.warning("%d tensors of the file belong to no part of the model: %s", len(unread), ", ".join(unread[:5]))


@contextlib.contextmanager
def without_camera(unet: UNet2DConditionModel) -> Iterator[None]:
    """Run a U-Net as the plain 2D model: no camera is added to the time embedding (checkpoints.md, point 11)."""
    embedding, unet.class_embedding = unet.class_embedding, None
    try:
        yield
    finally:
        unet.class_embedding = embedding


def twice(cameras: Cameras | Tensor | None) -> Cameras | Tensor | None:
    """The same cameras for the unconditional and the conditional half of a batch."""
    if isinstance(cameras, Cameras):
        return Cameras(cameras.c2w.repeat(2, 1, 1), cameras.fovy.repeat(2))
    return None if cameras is None else cameras.repeat(2, 1)


class MVDreamPrior(LatentPrior):
    """The four-view diffusion model with its encoders. `context` may everywhere be a tensor or a `TextContext`.

    Args:
        config: Sizes and conventions.
        unet: Denoiser with 3D attention.
        vae: Picture codec with its scaling factor set.
        text_encoder: Gives the last hidden state, final norm applied; None where there is none.
        tokenizer: Prompts to token ids.
        version: What is added to the name in provenance.
    """

    config_class: ClassVar[type[MVDreamConfig]] = MVDreamConfig
    config: MVDreamConfig

    def __init__(
        self,
        config: MVDreamConfig,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel | None,
        tokenizer: Tokenizer,
        version: str = "",
    ):
        super().__init__(config, vae, version)
        self.unet, self.text_encoder, self.tokenizer = unet, text_encoder, tokenizer
        self.finish_init()

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that the text encoder cannot know; empty for the published models, whose vocabulary is open, and for
        random weights without a vocabulary, which take any word."""
        closed = isinstance(self.tokenizer, WordTokenizer) and bool(self.tokenizer.words)
        return self.tokenizer.unknown(prompt) if closed else []

    def encode(self, prompts: Sequence[str]) -> TextContext:
        """What the denoiser is told by some prompts, one row each."""
        return TextContext(self.encode_text(prompts))

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Context of each prompt: (B, L, D) float32. The configuration's suffix is added to prompts that lack it."""
        suffix = self.config.prompt_suffix
        full = [p + suffix if p and suffix and "3d" not in p.lower() else p for p in prompts]
        return self.encode_tokens(self.tokenizer(full))

    @torch.no_grad()
    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Context of tokenised prompts: (B, L) long -> (B, L, D) float32.

        Raises:
            RuntimeError: There is no text encoder: the weights came without, or it was released.
        """
        if self.text_encoder is None:
            raise RuntimeError(
                f"{self.name} has no text encoder here: it was released, or the weights came without it."
            )
        return self.text_encoder(tokens.to(self.device)).last_hidden_state.float()

    def camera_numbers(self, cameras: Cameras) -> Tensor:
        """The 16 numbers that the camera embedding of these weights takes: (N, 16)."""
        return mvdream_camera(cameras) if self.config.camera == "matrix" else harmonic_camera(cameras)

    def raw_output(
        self,
        x_t: Tensor,
        t: Tensor,
        context: Tensor | TextContext,
        cameras: Cameras | Tensor | None,
        views: int,
    ) -> Tensor:
        """What the U-Net says, eps or v; arguments as in `predict`. Differentiable, for training."""
        if self.config.ray_maps:
            x_t = torch.cat([x_t, self._rays(cameras, x_t)], dim=1)
        told = context.text if isinstance(context, TextContext) else context
        return self.call_unet(x_t, t, told, cameras, views)

    def call_unet(
        self,
        x_t: Tensor,
        t: Tensor,
        told: Tensor | tuple[Tensor, list[Tensor]],
        cameras: Cameras | Tensor | None,
        views: int,
    ) -> Tensor:
        """The U-Net itself, in the prior's precision; float32 comes back. `told` is what its attention takes."""
        if x_t.device.type == "cpu" and self.config.fast_on_cpu:
            x_t = x_t.contiguous(memory_format=torch.channels_last)
        call: dict[str, Any] = {"cross_attention_kwargs": {"views": views}}
        with self.autocast():
            if cameras is None:
                with without_camera(self.unet):
                    return self.unet(x_t, t, told, **call).sample.float()
            numbers = cameras if isinstance(cameras, Tensor) else self.camera_numbers(cameras)
            return self.unet(x_t, t, told, class_labels=numbers.to(self.device), **call).sample.float()

    @torch.no_grad()
    def predict(
        self,
        x_t: Tensor,
        t: Tensor,
        context: Tensor | TextContext,
        cameras: Cameras | Tensor | None,
        views: int = 4,
    ) -> Tensor:
        """Predicted noise.

        Args:
            x_t: (B * views, C, h, w), view fastest.
            t: (B * views,) long in [0, 999], the same for all views of an object.
            context: (B * views, L, D) from `encode_text`, or the same in a `TextContext`.
            cameras: B * views cameras, or their numbers (B * views, 16); None runs without cameras.
            views: Views per object; 1 gives the 2D model; default 4.

        Returns:
            eps, the shape of x_t.
        """
        return self.noise_of(self.raw_output(x_t, t, context, cameras, views), x_t, t)

    @torch.no_grad()
    def predict_x0(
        self,
        x_t: Tensor,
        t: Tensor,
        context: Tensor | TextContext,
        cameras: Cameras | Tensor | None,
        views: int = 4,
    ) -> Tensor:
        """Predicted clean latents; arguments as in `predict`. Exact at zero terminal SNR for v-prediction weights."""
        return self.clean_of(self.raw_output(x_t, t, context, cameras, views), x_t, t)

    @staticmethod
    def _rays(cameras: Cameras | None, x_t: Tensor) -> Tensor:
        if cameras is None:
            return x_t.new_zeros(len(x_t), 6, *x_t.shape[2:])
        return ray_maps(cameras, x_t.shape[-1]).to(x_t)

    def ddim_views(
        self,
        x_T: Tensor,
        context: Tensor | Condition,
        negative: Tensor | Condition,
        cameras: Cameras | Tensor | None,
        *,
        steps: int = 50,
        guidance: float = 7.5,
        views: int = 4,
    ) -> Tensor:
        """Clean latents by DDIM with classifier-free guidance, as the published sampler computes them.

        Args:
            x_T: (B * views, C, h, w) noise, view fastest.
            context: As in `predict`, of the prompts.
            negative: The same of the negative prompts.
            cameras: As in `predict`.
            steps: A divisor of 1000; default 50.
            guidance: w in eps_u + w (eps_c - eps_u); default 7.5, the demo takes 10.
            views: Views per object; default 4.

        Returns:
            (B * views, C, h, w), scaled; see `decode_latents`.
        """
        both = context.cat([negative, context]) if isinstance(context, Condition) else torch.cat([negative, context])
        doubled = twice(cameras)

        def output(x: Tensor, t: Tensor) -> Tensor:
            without, wanted = self.raw_output(torch.cat([x, x]), t.repeat(2), both, doubled, views).chunk(2)
            return without + guidance * (wanted - without)

        return self.ddim(x_T, steps, output)

    def release_encoders(self) -> None:
        """Let go of the text encoder's memory once all prompts are encoded."""
        self.text_encoder = None

    @classmethod
    def build(cls, config: MVDreamConfig, tokenizer: Tokenizer, version: str = "") -> Self:
        """The model of a configuration, with whatever torch initialises its weights with.

        Args:
            config: Sizes and conventions.
            tokenizer: A closed vocabulary may be larger than the configuration's `vocab_size`.
            version: What is added to the name in provenance.
        """
        words = len(tokenizer) if isinstance(tokenizer, WordTokenizer) else 0
        unet, text = build_unet(config), build_text_encoder(config, words)
        return cls(config, unet, AutoencoderKL(**config.vae), text, tokenizer, version)

    @classmethod
    def random(cls, config: MVDreamConfig, words: Sequence[str] = (), seed: int = 0) -> Self:
        """The model of a configuration with random weights and a word tokenizer, for training and tests."""
        length = config.text["max_position_embeddings"] if config.text else 2
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls.build(config, WordTokenizer(words, length), "random weights")

    @classmethod
    def random_on_meta(cls, config: MVDreamConfig) -> Self:
        """The model of a configuration without memory for its weights: names and shapes, for planning and tests."""
        with torch.device("meta"):
            return cls.build(config, MissingTokenizer(None), "without weights")

    def about(self, version: str) -> dict[str, Any]:
        """What is written beside the tensors: also the words of a closed vocabulary."""
        words = self.tokenizer.words if isinstance(self.tokenizer, WordTokenizer) else ()
        return {**super().about(version), "words": list(words)}

    @classmethod
    def from_folder(cls, folder: Path, config: MVDreamConfig | None = None) -> Self:
        """Read what `save` wrote.

        Args:
            folder: Holds `model.safetensors` and `config.json`; CLIP's tokenizer may lie in `tokenizer/`.
            config: None takes the one in `config.json`, or the mini model's where an older file has none.

        Raises:
            FileNotFoundError: The folder holds no weights; says which file is missing.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        tensors, about = read_folder(folder)
        if config is None:
            config = cls.config_class(**about["config"]) if "config" in about else MINI
        config = replace(config, vae={**config.vae, "scaling_factor": about["scaling_factor"]})
        words = about["words"]
        length = config.text["max_position_embeddings"] if config.text else 2
        tokenizer = WordTokenizer(words, length) if words else find_tokenizer(folder / "tokenizer", config)
        with torch.device("meta"):
            prior = cls.build(config, tokenizer, about["version"])
        published.load_exactly(prior, tensors, "model")
        if config.fast_on_cpu:
            prior.unet.to(memory_format=torch.channels_last)
        return prior

    @classmethod
    def from_published(cls, source: Source, config: MVDreamConfig = MVDREAM_SD21) -> Self:
        """Read the weights as they are published. CLIP's tokenizer is taken from `tokenizer/` where that is there.

        Args:
            source: A file such as `sd-v2.1-base-4view.pt`, a folder in diffusers' layout (`layouts` lists them), or
                a state dict with the file's keys, whose memory the prior shares.
            config: Must be that file's: `MVDREAM_SD21`, `MVDREAM_SD15`, or `MVDreamConfig.from_reference(...)`.

        Raises:
            WeightsError: The file is missing, damaged, unsafe or another model's; see `files.read_weights`.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        parts = cls.read_parts(source, config)
        config = cls.fit(config, parts)
        with torch.device("meta"):  # neither memory nor time for weights that are replaced at once
            prior = cls.build(config, find_tokenizer(tokenizer_folder(source), config), "published")
        prior.load_parts(parts)
        return prior

    @classmethod
    def read_parts(cls, source: Source, config: MVDreamConfig) -> Parts:
        """Tensors of each module by its own names; arguments and errors as in `from_published`."""
        layers, levels = config.unet["layers_per_block"], len(config.vae["block_out_channels"])
        has_text = config.text is not None
        if is_folder(source):
            return read_folder_parts(Path(source), lambda unet: published.convert_unet(unet, layers, ""), has_text)
        state = state_of(source, Family.MVDREAM, Family.MVDREAM_15)
        tell_unread(state, published.UNET, published.VAE, "cond_stage_model.")
        return Parts(
            unet=published.convert_unet(state, layers),
            vae=published.convert_vae(state, levels),
            text=convert_text(state, config) if has_text else None,
        )

    @classmethod
    def fit(cls, config: MVDreamConfig, parts: Parts) -> MVDreamConfig:
        """The configuration with what only the weights tell: whether a 1.5 file has its text encoder.

        The authors' 1.5 code fetches CLIP ViT-L/14 by name, so that a file of its classes may come without.
        """
        if config.text_layout == "clip" and config.text is not None and not parts.text:
            log.warning("%s comes without its text encoder: prompts cannot be encoded, tokens neither.", config.name)
            return replace(config, text=None)
        return config

    def load_parts(self, parts: Parts) -> None:
        """Take the weights over, exactly.

        Raises:
            CheckpointMismatch: Keys are missing, left over or misshaped; says which, and in what module.
        """
        published.load_exactly(self.unet, parts.unet, "U-Net")
        published.load_exactly(self.vae, parts.vae, "VAE")
        if self.text_encoder is not None:
            published.load_exactly(self.text_encoder, parts.text or {}, "text encoder")

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Take all weights from a state dict in the published layout; errors as in `from_published`."""
        self.load_parts(self.read_parts(state, self.config))

    @classmethod
    def mini(cls, folder: Path = MINI_FOLDER) -> MVDreamPrior:
        """The embedded mini model."""
        return cls.from_folder(folder, MINI)
