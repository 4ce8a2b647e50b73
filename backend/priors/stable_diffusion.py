"""Stable Diffusion 2.1-base and 1.5 as priors: one picture at a time, and the base on which adapters are trained.

Knows the U-Net, its text encoder, and both published layouts: the original LDM file and the diffusers folder. The VAE
and the schedule are `latent`'s, adapters `lora`'s, view-dependent negatives `perp_neg`'s. Knows no losses or jobs.
Glossary: x_t noisy latents, eps noise, w guidance in eps_u + w (eps_c - eps_u) [systems.md 1.1 a].
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from ..rendering.cameras import Cameras
from . import published, zero123_keys
from .contract import Source, TextContext
from .files import Family, NotWeights, check_family, read_component, read_weights
from .latent import LatentPrior, read_folder
from .random_weights import empty_parameters
from .stable_diffusion_config import CONFIGS, SD21_BASE, StableDiffusionConfig
from .tokenizer import WordTokenizer, find_tokenizer

log = logging.getLogger(__name__)

EMA_CHOICES = ("auto", "ema", "raw")
_OLD_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}

Tokenizer = Callable[[Sequence[str]], Tensor]
State = dict[str, Tensor]


class StableDiffusionPrior(LatentPrior):
    """One Stable Diffusion with its encoders.

    Args:
        config: Sizes and conventions.
        unet: Denoiser; may carry adapters (`lora.LoraAdapters`).
        vae: Picture codec with its scaling factor set.
        text_encoder: Gives the last hidden state, final norm applied.
        tokenizer: Prompts to token ids.
        version: What is added to the name in provenance.
    """

    def __init__(
        self,
        config: StableDiffusionConfig,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: Tokenizer,
        version: str = "",
    ):
        super().__init__(config, vae, version)
        self.unet, self.tokenizer = unet, tokenizer
        self.text_encoder: CLIPTextModel | None = text_encoder
        self.finish_init()

    # What it is told

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Context of prompts: (B, 77, D) float32."""
        return self.encode_tokens(self.tokenizer(prompts))

    @torch.no_grad()
    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Context of token ids (B, L): (B, L, D) float32.

        Raises:
            RuntimeError: The text encoder was released.
        """
        if self.text_encoder is None:
            raise RuntimeError(f"{self.name} has let go of its text encoder; encode all prompts before that.")
        with self.autocast():
            return self.text_encoder(tokens.to(self.device)).last_hidden_state.float()

    def encode(self, prompts: Sequence[str]) -> TextContext:
        """The condition of some prompts."""
        return TextContext(self.encode_text(prompts))

    def release_encoders(self) -> None:
        """Let go of the text encoder's memory once all prompts are encoded."""
        self.text_encoder = None

    # What it says

    def raw_output(
        self, x_t: Tensor, t: Tensor, condition: TextContext | Tensor, cameras: Cameras | None = None
    ) -> Tensor:
        """What the U-Net says; arguments as in `predict`. Differentiable, for training adapters."""
        context = condition.text if isinstance(condition, TextContext) else condition
        told = {}
        if self.unet.class_embedding is not None:  # an adapter with cameras is in use
            told["class_labels"] = self.camera_numbers(cameras, len(x_t)).to(self.device)
        with self.autocast():
            return self.unet(x_t, t, context, **told).sample.float()

    @torch.no_grad()
    def predict(
        self, x_t: Tensor, t: Tensor, condition: TextContext | Tensor, cameras: Cameras | None = None
    ) -> Tensor:
        """Predicted noise.

        Args:
            x_t: (N, 4, h, w).
            t: (N,) long in [0, 999].
            condition: Of `encode`, or context (N, L, D).
            cameras: N cameras, seen only while an adapter with a camera embedding is in use; None tells it zeros,
                which is how such adapters are trained to run without.

        Returns:
            eps, the shape of x_t.
        """
        return self.noise_of(self.raw_output(x_t, t, condition, cameras), x_t, t)

    @torch.no_grad()
    def predict_x0(
        self, x_t: Tensor, t: Tensor, condition: TextContext | Tensor, cameras: Cameras | None = None
    ) -> Tensor:
        """Predicted clean latents; arguments as in `predict`."""
        return self.clean_of(self.raw_output(x_t, t, condition, cameras), x_t, t)

    def predict_guided(
        self, x_t: Tensor, t: Tensor, condition: TextContext, unconditional: TextContext, guidance: float
    ) -> Tensor:
        """Noise with guidance, both sides in one batch.

        Args:
            x_t: (N, 4, h, w).
            t: (N,) long.
            condition: N rows.
            unconditional: N rows, of the negative prompt.
            guidance: w in eps_u + w (eps_c - eps_u). DreamFusion's form eps_c + s (eps_c - eps_u) is w = 1 + s.

        Returns:
            eps, the shape of x_t.
        """
        both = TextContext.cat([unconditional, condition])
        without, told = self.predict(torch.cat([x_t] * 2), torch.cat([t] * 2), both).chunk(2)
        return without + guidance * (told - without)

    @staticmethod
    def camera_numbers(cameras: Cameras | None, count: int) -> Tensor:
        """What an adapter's camera embedding takes: camera-to-world, row by row, not normalised; (N, 16).

        Args:
            cameras: N cameras; None gives zeros.
            count: N.
        """
        return torch.zeros(count, 16) if cameras is None else cameras.c2w.reshape(count, 16)

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[str],
        *,
        negative_prompt: str = "",
        steps: int = 50,
        guidance: float = 7.5,
        seed: int = 0,
    ) -> Tensor:
        """Draw pictures with DDIM, eta 0.

        Args:
            prompts: One a picture.
            negative_prompt: The unconditional side.
            steps: DDIM steps.
            guidance: w.
            seed: Of the first noise.

        Returns:
            (len(prompts), 3, H, W) in [0, 1].
        """
        condition, unconditional = self.encode(prompts), self.encode([negative_prompt] * len(prompts))
        size = self.config.unet["sample_size"]
        generator = torch.Generator().manual_seed(seed)
        x_t = torch.randn(len(prompts), self.config.unet["in_channels"], size, size, generator=generator)
        x_t = x_t.to(self.device)
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            labels = t.to(self.device).expand(len(x_t))
            eps = self.predict_guided(x_t, labels, condition, unconditional, guidance)
            if self.config.prediction != "epsilon":  # the scheduler wants what the weights say
                abar = self.alphas_cumprod[t]
                eps = (eps - (1 - abar).sqrt() * x_t) / abar.sqrt()
            x_t = self.scheduler.step(eps, t, x_t).prev_sample
        return self.decode_latents(x_t)

    # Weights

    @classmethod
    def random(
        cls, config: StableDiffusionConfig = SD21_BASE, seed: int = 0, words: Sequence[str] = ()
    ) -> StableDiffusionPrior:
        """The model of a configuration with random weights and a word tokenizer, for training and tests."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            modules = _modules(config)
        tokenizer = WordTokenizer(words, config.text["max_position_embeddings"])
        return cls(config, *modules, tokenizer, version="random weights")

    @classmethod
    def from_published(
        cls, source: Source, config: StableDiffusionConfig = SD21_BASE, *, ema: str = "auto"
    ) -> StableDiffusionPrior:
        """Read published weights, with CLIP's tokenizer from `tokenizer/` in the folder or beside the file.

        Args:
            source: The original file, such as `v2-1_512-ema-pruned.ckpt` or `v1-5-pruned-emaonly.safetensors`; its
                tensors; or a folder in diffusers' layout (`unet/`, `vae/`, `text_encoder/`).
            config: `SD21_BASE` or `SD15`, or sizes of your own.
            ema: Of files that hold the U-Net twice: "auto" takes the averaged (EMA) copy where there is one; "ema" and
                "raw" insist. Other sources hold one only.

        Raises:
            WeightsError: A file is missing, unfinished, damaged, unsafe or of another model.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
            ValueError: `ema` is none of the three.
        """
        if ema not in EMA_CHOICES:
            raise ValueError(f"ema must be one of {', '.join(EMA_CHOICES)}, got {ema!r}.")
        is_folder = not isinstance(source, dict) and Path(source).is_dir()
        if is_folder:
            parts = _folder_parts(Path(source))
        else:
            state = source if isinstance(source, dict) else read_weights(Path(source))
            check_family(state, Family.STABLE_DIFFUSION, "the state dict" if isinstance(source, dict) else source)
            parts = _file_parts(state, config, ema)
        with empty_parameters():
            modules = _modules(config)
        names = ("U-Net", "VAE", "text encoder")
        for module, tensors, name in zip(modules, parts, names, strict=True):
            published.load_exactly(module, tensors, name)
        folder = None if isinstance(source, dict) else (Path(source) if is_folder else Path(source).parent)
        return cls(config, *modules, find_tokenizer(folder and folder / "tokenizer", config), version="published")

    def about(self, version: str) -> dict[str, Any]:
        """What is written beside the tensors: also the words of a closed vocabulary."""
        words = list(self.tokenizer.words) if isinstance(self.tokenizer, WordTokenizer) else None
        return {**super().about(version), "words": words}

    def save(self, folder: Path, version: str) -> None:
        """As `LatentPrior.save`. Adapters are saved by themselves and must be off.

        Raises:
            RuntimeError: The U-Net carries adapters.
        """
        if any(".lora_A." in key for key in self.unet.state_dict()):
            raise RuntimeError("The U-Net carries adapters; call LoraAdapters.save for each, then remove(), then save.")
        super().save(folder, version)

    @classmethod
    def from_folder(cls, folder: Path, config: StableDiffusionConfig | None = None) -> StableDiffusionPrior:
        """Read what `save` wrote, with CLIP's tokenizer from `tokenizer/` in it.

        Args:
            folder: Holds `model.safetensors` and `config.json`.
            config: None takes the published configuration whose name the folder holds.

        Raises:
            FileNotFoundError: The folder holds no weights; says which file is missing.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
            KeyError: The folder's model is none of the published ones and no configuration was given.
        """
        tensors, about = read_folder(Path(folder))
        if config is None and about["name"] not in CONFIGS:
            raise KeyError(f"{folder} holds {about['name']!r}, which is none of {', '.join(CONFIGS)}; give its config.")
        config = config or CONFIGS[about["name"]]
        with empty_parameters():
            modules = _modules(config)
        words = about.get("words")
        if words is not None:
            tokenizer = WordTokenizer(words, config.text["max_position_embeddings"])
        else:
            tokenizer = find_tokenizer(Path(folder) / "tokenizer", config)
        prior = cls(config, *modules, tokenizer, version=about["version"])
        published.load_exactly(prior, tensors, about["name"])
        return prior


def _modules(config: StableDiffusionConfig) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    text = CLIPTextModel(CLIPTextConfig(**config.text))
    return UNet2DConditionModel(**config.unet), AutoencoderKL(**config.vae), text


def _file_parts(state: State, config: StableDiffusionConfig, ema: str) -> tuple[State, State, State]:
    """U-Net, VAE and text encoder of an original file, in our modules' names."""
    averaged = ema == "ema" or (ema == "auto" and zero123_keys.has_ema(state))
    if averaged:
        state = zero123_keys.with_ema(state)
    text = published.TEXT if config.text_layout == "openclip" else published.CLIP_TEXT
    if left := published.unread(state, published.UNET, published.VAE, text, zero123_keys.EMA):
        log.warning("%d tensors of the file are not needed: %s", len(left), ", ".join(left[:5]))
    layers, levels = config.unet["layers_per_block"], len(config.vae["block_out_channels"])
    if config.text_layout == "openclip":
        encoder = published.convert_openclip_text(state, config.text["num_hidden_layers"])
    else:
        encoder = published.convert_clip_text(state)
    return published.convert_unet(state, layers), published.convert_vae(state, levels), encoder


def _folder_parts(folder: Path) -> tuple[State, State, State]:
    """The same of a folder in diffusers' layout; older VAEs name their attention otherwise."""
    unet = read_component(folder, "unet")
    if any(key.startswith(("class_embedding.", "encoder_hid_proj.")) for key in unet):
        what = f"{folder} holds a U-Net with camera or image inputs, not plain Stable Diffusion."
        raise NotWeights(folder, what, "Give it to the model that it belongs to.")
    vae = {}
    for key, value in read_component(folder, "vae").items():
        for old, new in _OLD_ATTENTION.items():
            key = key.replace(old, new)
        vae[key] = value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value
    text = read_component(folder, "text_encoder")
    flat = {key.removeprefix("text_model."): value for key, value in text.items() if not key.endswith("position_ids")}
    return unet, vae, flat
