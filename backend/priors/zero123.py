"""Zero123 as a prior: one picture and a change of camera to the denoising of the new view.

Knows the U-Net, CLIP's vision tower, the camera's linear layer, the VAE and the published DDIM sampler. Knows no
fields, losses or jobs. Facts and traps: checkpoints.md section 3. Glossary: c_crossattn the one context token
Linear(CLIP embedding, T), T the 4 camera numbers, c_concat the picture's latent, which is NOT scaled.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ..rendering.cameras import Cameras, orbit, spherical, zero123_camera
from . import published, zero123_keys
from .clip_images import normalise, resize_aligned
from .contract import Condition, Source
from .families import Family
from .files import read_weights
from .latent import LatentPrior, read_folder
from .zero123_config import ZERO123, Zero123Config

log = logging.getLogger(__name__)

CAMERA_NUMBERS = 4
EMA_CHOICES = ("auto", "ema", "raw")
PARTS = tuple(zero123_keys.PARTS)


@dataclass(frozen=True)
class Zero123Condition(Condition):
    """What Zero123 is told: a picture and from where it was taken.

    Args:
        embedding: CLIP's projected embedding of the picture. (N, 1, 768) float32.
        latent: The picture's latent, unscaled. (N, 4, h, w) float32.
        view: Elevation and azimuth in degrees and distance of the picture's camera. (N, 3) float32.
        given: 1 where the row is conditional, 0 where it is not. (N,) float32.
    """

    embedding: Tensor
    latent: Tensor
    view: Tensor
    given: Tensor

    def unconditional(self) -> Zero123Condition:
        """The unconditional side of the guidance: context token and latent are zero, after the linear layer."""
        return replace(self, latent=torch.zeros_like(self.latent), given=torch.zeros_like(self.given))


class Zero123Prior(LatentPrior):
    """Zero-1-to-3, Zero123-XL or Stable-Zero123 with its encoders; a part that was not loaded is None.

    Args:
        config: Sizes and conventions.
        unet: Denoiser of 8 input channels.
        vae: Picture codec with its scaling factor set.
        image_encoder: CLIP's vision tower with its projection.
        camera_projection: Linear layer from embedding and camera numbers to the context token.
        version: What is added to the name in provenance.
    """

    config: Zero123Config

    def __init__(
        self,
        config: Zero123Config,
        unet: UNet2DConditionModel | None,
        vae: AutoencoderKL | None,
        image_encoder: CLIPVisionModelWithProjection | None,
        camera_projection: nn.Linear | None,
        version: str = "",
    ):
        super().__init__(config, vae, version)
        self.unet, self.image_encoder, self.camera_projection = unet, image_encoder, camera_projection
        self.weights_used = "raw"  # "ema" where a file's averaged copy was taken
        self.finish_init()

    def _need(self, part: str) -> None:
        if getattr(self, part) is None:
            raise RuntimeError(f"The {part} of {self.name} is not loaded; load it with parts=(..., {part!r}).")

    # What the denoiser is told

    def encode(self, images: Tensor, reference: Cameras | None = None) -> Zero123Condition:
        """Pictures of objects to conditions.

        Args:
            images: (N, 3, H, W) in [0, 1], on white, at the model's own size (256 px published).
            reference: Cameras of the pictures; None is the front at elevation 0, distance 3.8 and 20 degrees of view,
                as DreamCraft3D's configuration has it.

        Returns:
            N rows.
        """
        cameras = reference if reference is not None else orbit([0.0] * len(images), 0.0, 3.8, 20.0)
        view = spherical(cameras).to(self.device).expand(len(images), 3)
        given = torch.ones(len(images), device=self.device)
        return Zero123Condition(self.image_embedding(images), self.concat_latent(images), view, given)

    @torch.no_grad()
    def image_embedding(self, images: Tensor) -> Tensor:
        """CLIP's projected embedding, from 224 px without antialiasing. (N, 3, H, W) in [0, 1] -> (N, 1, 768)."""
        self._need("image_encoder")
        size = self.config.vision["image_size"]
        # The filter overshoots; resizing [0, 1] instead of the published [-1, 1] is the same, as its weights add to 1.
        pixels = normalise(resize_aligned(images, size))
        with self.autocast():
            return self.image_encoder(pixel_values=pixels).image_embeds[:, None].float()

    @torch.no_grad()
    def concat_latent(self, images: Tensor) -> Tensor:
        """c_concat: the posterior's mode, not scaled. (N, 3, H, W) in [0, 1] -> (N, 4, H / f, W / f)."""
        self._need("vae")
        return self.image_posterior(images)

    def camera_numbers(self, cameras: Cameras, condition: Zero123Condition) -> Tensor:
        """T of wanted cameras, seen from the condition's: (N, 4)."""
        wanted, view = spherical(cameras).to(condition.view), condition.view
        moves = (wanted - view) * torch.tensor([-1.0, 1.0, 1.0], device=view.device)  # up in elevation is down in polar
        return self.numbers_of_moves(moves, view[:, 0])

    def numbers_of_moves(self, moves: Tensor, elevation: Tensor | None = None) -> Tensor:
        """T of given changes.

        Args:
            moves: Polar angle (positive moves down) and azimuth in degrees, distance. (N, 3).
            elevation: The picture's, in degrees, (N,); ignored but for Stable-Zero123, which takes None as 0.

        Returns:
            (N, 4).
        """
        if not self.config.absolute_polar:
            return zero123_camera(moves)
        return zero123_camera(moves, 90 - (torch.zeros_like(moves[:, 0]) if elevation is None else elevation))

    def context(self, condition: Zero123Condition, numbers: Tensor) -> Tensor:
        """c_crossattn: one token from embedding and camera numbers; zero in unconditional rows.

        Args:
            condition: N rows.
            numbers: T. (N, 4).

        Returns:
            (N, 1, 768).
        """
        self._need("camera_projection")
        with self.autocast():
            token = self.camera_projection(torch.cat([condition.embedding, numbers[:, None]], dim=-1)).float()
        return token * condition.given[:, None, None]

    # What it says

    def raw_output(self, x_t: Tensor, t: Tensor, context: Tensor, latent: Tensor) -> Tensor:
        """The U-Net's answer from its parts: x_t and latent (N, 4, h, w), t (N,), context (N, 1, 768)."""
        self._need("unet")
        with self.autocast():
            return self.unet(torch.cat([x_t, latent], dim=1), t, context).sample.float()

    @torch.no_grad()
    def predict(self, x_t: Tensor, t: Tensor, condition: Zero123Condition, cameras: Cameras | Tensor) -> Tensor:
        """Predicted noise of the views that cameras see.

        Args:
            x_t: (N, 4, h, w).
            t: (N,) long in [0, 999].
            condition: N rows.
            cameras: N wanted cameras, or their camera numbers (N, 4).

        Returns:
            eps, the shape of x_t.
        """
        numbers = cameras if isinstance(cameras, Tensor) else self.camera_numbers(cameras, condition)
        context = self.context(condition, numbers.to(self.device))
        return self.noise_of(self.raw_output(x_t, t, context, condition.latent), x_t, t)

    def predict_guided(
        self, x_t: Tensor, t: Tensor, condition: Zero123Condition, cameras: Cameras | Tensor, guidance: float
    ) -> Tensor:
        """Noise with guidance eps_u + w (eps_c - eps_u), both sides in one batch; arguments as in `predict`."""
        numbers = cameras if isinstance(cameras, Tensor) else self.camera_numbers(cameras, condition)
        both = Zero123Condition.cat([condition.unconditional(), condition])
        noise = self.predict(torch.cat([x_t] * 2), torch.cat([t] * 2), both, torch.cat([numbers] * 2))
        without, told = noise.chunk(2)
        return without + guidance * (told - without)

    def timesteps(self, steps: int) -> list[int]:
        """The timesteps of the published sampler, noisiest first.

        It lays out range(0, 1000, 1000 // steps) + 1 and then leaves the noisiest out: 50 "steps" are 49, from t = 961.

        Raises:
            ValueError: `steps` is not in [2, 500].
        """
        if not 2 <= steps <= 500:
            raise ValueError(f"DDIM of Zero123 takes 2 to 500 steps, got {steps}; the published demo takes 50.")
        return [t + 1 for t in range(0, 1000, 1000 // steps)][-2::-1]

    def decode_raw(self, latents: Tensor) -> Tensor:
        """Pictures of scaled latents as the decoder gives them, about [-1, 1] and not clamped; for comparisons."""
        self._need("vae")
        return super().decode_raw(latents)

    @torch.no_grad()
    def sample(
        self,
        condition: Zero123Condition,
        cameras: Cameras | Tensor,
        *,
        steps: int = 50,
        guidance: float = 3.0,
        eta: float = 1.0,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw new views with the published DDIM; defaults are the demo's.

        Args:
            condition: N rows.
            cameras: N wanted cameras, or their camera numbers (N, 4).
            steps: As the published sampler counts them, see `timesteps`.
            guidance: w in eps_u + w (eps_c - eps_u).
            eta: 1 adds noise at every step, 0 is deterministic.
            noise: The start, (N, 4, h, w); None draws it.
            generator: Of all noise, on the CPU.

        Returns:
            Scaled latents (N, 4, h, w), for `decode_latents`.
        """
        x = noise if noise is not None else torch.randn(condition.latent.shape, generator=generator)
        x = x.to(self.device)
        self.scheduler.set_timesteps(steps)
        for t in self.timesteps(steps):
            labels = torch.full((len(x),), t, device=self.device)
            eps = self.predict_guided(x, labels, condition, cameras, guidance)
            fresh = torch.randn(x.shape, generator=generator).to(self.device) if eta > 0 else None
            x = self.scheduler.step(eps, t, x, eta=eta, variance_noise=fresh).prev_sample
        return x

    # Weights

    @classmethod
    def random(cls, config: Zero123Config = ZERO123, seed: int = 0) -> Zero123Prior:
        """The model of a configuration with seeded random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, *_modules(config, PARTS), version="random weights")

    @classmethod
    def from_published(
        cls,
        source: Source,
        config: Zero123Config = ZERO123,
        *,
        ema: str = "auto",
        parts: Sequence[str] | None = None,
    ) -> Zero123Prior:
        """Read a published file such as `105000.ckpt`, or its tensors.

        Args:
            source: Path of the file, or the state dict in its layout.
            config: Which of the family; `ZERO123_XL`, `STABLE_ZERO123`... beside the default.
            ema: "auto" takes the averaged (EMA) copy of the U-Net where there is one and the raw one otherwise; "ema"
                and "raw" insist.
            parts: Which of `PARTS` to load; None is all of a file, and of a state dict those that it has keys of.

        Raises:
            WeightsError: The file is missing, unfinished, damaged, unsafe or of another model.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
            ValueError: `ema` is none of the three, or `parts` names something else.
        """
        if unknown := set(parts or ()) - set(PARTS):
            raise ValueError(f"parts are {', '.join(PARTS)}; got {', '.join(sorted(unknown))}.")
        if isinstance(source, dict):
            state, parts = source, parts or zero123_keys.held(source)
        else:
            state, parts = read_weights(Path(source), Family.ZERO123), parts or PARTS
        with torch.device("meta"):  # nothing is allocated twice; the file's own tensors move in
            modules = _modules(config, parts)
        prior = cls(config, *modules, version="published")
        prior.load_published(state, ema)
        prior.finish_init()
        return prior

    def load_published(self, state: dict[str, Tensor], ema: str = "auto") -> None:
        """Take all weights from a state dict in the published layout; arguments and errors as in `from_published`."""
        if ema not in EMA_CHOICES:
            raise ValueError(f"ema must be one of {', '.join(EMA_CHOICES)}, got {ema!r}.")
        if unread := zero123_keys.unread(state):
            log.warning("%d tensors of the file are not needed: %s", len(unread), ", ".join(unread[:5]))
        averaged = ema == "ema" or (ema == "auto" and zero123_keys.has_ema(state))
        if averaged:
            state = zero123_keys.with_ema(state)
        self.weights_used = "ema" if averaged else "raw"
        if ema == "auto" and not averaged:
            log.info("the file has no averaged (EMA) U-Net; the raw one is taken")
        layers, levels = self.config.unet["layers_per_block"], len(self.config.vae["block_out_channels"])
        convert = {
            "unet": lambda: published.convert_unet(state, layers),
            "vae": lambda: published.convert_vae(state, levels),
            "image_encoder": lambda: published.convert_openclip_vision(state, zero123_keys.VISION),
            "camera_projection": lambda: published.below(state, zero123_keys.CAMERA),
        }
        for part in PARTS:
            if (module := getattr(self, part)) is not None:
                published.load_exactly(module, convert[part](), part.replace("_", " "))

    def about(self, version: str) -> dict[str, Any]:
        """What is written beside the tensors: also which copy of the U-Net they are."""
        for part in PARTS:
            self._need(part)
        return {**super().about(version), "weights_used": self.weights_used}

    @classmethod
    def from_folder(cls, folder: Path, config: Zero123Config | None = None) -> Zero123Prior:
        """Read what `save` wrote.

        Args:
            folder: Holds `model.safetensors` and `config.json`.
            config: None takes the one that the folder holds.

        Raises:
            FileNotFoundError: The folder holds no weights; says which file is missing.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        tensors, about = read_folder(Path(folder))
        config = config or Zero123Config(**about["config"])
        with torch.device("meta"):
            modules = _modules(config, PARTS)
        prior = cls(config, *modules, version=about["version"])
        published.load_exactly(prior, tensors, about["name"])
        prior.finish_init()
        prior.weights_used = about["weights_used"]
        return prior


def _modules(
    config: Zero123Config, parts: Sequence[str]
) -> tuple[UNet2DConditionModel | None, AutoencoderKL | None, CLIPVisionModelWithProjection | None, nn.Linear | None]:
    """The wanted parts of a model, with random weights."""
    inputs, token = config.vision["projection_dim"] + CAMERA_NUMBERS, config.unet["cross_attention_dim"]
    return (
        UNet2DConditionModel(**config.unet) if "unet" in parts else None,
        AutoencoderKL(**config.vae) if "vae" in parts else None,
        CLIPVisionModelWithProjection(CLIPVisionConfig(**config.vision)) if "image_encoder" in parts else None,
        nn.Linear(inputs, token) if "camera_projection" in parts else None,
    )
