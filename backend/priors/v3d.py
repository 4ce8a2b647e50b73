"""V3D as a prior: one picture to the 18 frames of an orbit around the object, denoised together.

Knows the video U-Net, the temporal decoder, the picture's two encoders and the EDM sampler. Knows no fields, jobs or
background removal. Facts and traps: checkpoints.md section 4. The released model has no camera input: its frames are
`orbit_cameras`. Glossary: sigma noise level, D the denoised sample, c_concat the picture's latent, which is NOT scaled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from ..rendering.cameras import Cameras, orbit
from . import edm, published, svd_keys
from .clip_images import normalise, resize_antialiased
from .contract import Condition, Source
from .families import Family
from .files import read_weights
from .latent import LatentPrior, read_folder
from .v3d_config import V3D_512, V3DConfig

log = logging.getLogger(__name__)

PARTS = ("unet", "decoder", "encoder", "image_encoder")
FROM_CONDITIONER = ("encoder", "image_encoder")  # of svd_xt.safetensors
RESNET_EPSILON = 1e-5  # published; diffusers has 1e-6 in most of these norms, 1.5e-5 of the largest value off


@dataclass(frozen=True)
class V3DCondition(Condition):
    """What V3D is told: the picture of the first frame.

    Args:
        embedding: CLIP's projected embedding. (N, 1, 1024) float32.
        latent: The picture's latent, unscaled, with a little noise. (N, 4, h, w) float32.
        vector: Frames a second, motion bucket, share of that noise. (N, 3) float32.
    """

    embedding: Tensor
    latent: Tensor
    vector: Tensor

    def unconditional(self) -> V3DCondition:
        """The unconditional side of the guidance: embedding and latent are zero, the vector stays."""
        return replace(self, embedding=torch.zeros_like(self.embedding), latent=torch.zeros_like(self.latent))


class V3DPrior(LatentPrior):
    """The orbit video model with its encoders; a part that was not loaded is None, and using it says so.

    Args:
        config: Sizes and conventions.
        unet: Video denoiser of 8 input channels.
        vae: Encoder of the picture and temporal decoder of the frames, with its scaling factor set.
        image_encoder: OpenCLIP's vision tower with its projection.
        version: What is added to the name in provenance.
    """

    config: V3DConfig

    def __init__(
        self,
        config: V3DConfig,
        unet: UNetSpatioTemporalConditionModel | None,
        vae: AutoencoderKLTemporalDecoder,
        image_encoder: CLIPVisionModelWithProjection | None,
        version: str = "",
    ):
        super().__init__(config, vae, version)
        self.scheduler = edm.euler_scheduler(config.sigma_min, config.sigma_max)
        self.unet, self.image_encoder = unet, image_encoder
        if unet is not None:
            use_published_epsilon(unet)
        self.finish_init()

    @property
    def parts(self) -> tuple[str, ...]:
        """Which of `PARTS` are loaded."""
        return tuple(part for part in PARTS if self._part(part) is not None)

    def _part(self, part: str) -> nn.Module | None:
        return getattr(self.vae if part in ("encoder", "decoder") else self, part)

    def _need(self, part: str) -> None:
        if self._part(part) is None:
            raise RuntimeError(f"The {part} of {self.name} is not loaded; load it with parts=(..., {part!r}).")

    # What the denoiser is told

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> V3DCondition:
        """Pictures of objects to conditions.

        Args:
            images: (N, 3, H, W) in [0, 1], on white, the object recentred, at the model's size (512 px published).
            generator: Draws the posterior sample and the noise on it, as published; None takes the mean without noise.
        """
        vector = torch.tensor(self.config.vector, device=self.device).expand(len(images), 3)
        return V3DCondition(self.image_embedding(images), self.concat_latent(images, generator), vector)

    @torch.no_grad()
    def image_embedding(self, images: Tensor) -> Tensor:
        """OpenCLIP's projected embedding, from 224 px with antialiasing. (N, 3, H, W) in [0, 1] -> (N, 1, 1024)."""
        self._need("image_encoder")
        pixels = normalise(resize_antialiased(images, self.config.vision["image_size"]))
        with self.autocast():
            return self.image_encoder(pixel_values=pixels).image_embeds[:, None].float()

    @torch.no_grad()
    def concat_latent(
        self, images: Tensor, generator: torch.Generator | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """c_concat: the CLEAN picture's latent, not scaled, then noise on the latent (not on the pixels).

        Args:
            images: (N, 3, H, W) in [0, 1].
            generator: Draws the posterior sample and the noise; None takes the mean.
            noise: Unit noise, (N, 4, H / f, W / f), instead of drawing it; None without a generator adds none.
        """
        self._need("encoder")
        latent = self.image_posterior(images, generator)
        if noise is None and generator is not None:
            noise = torch.randn(latent.shape, generator=generator, device=generator.device)
        return latent if noise is None else latent + self.config.vector[2] * noise.to(latent)

    def vector_embedding(self, condition: V3DCondition) -> Tensor:
        """The three numbers as the network sees them, sines and cosines: (N, 3 * 256)."""
        self._need("unet")
        return self.unet.add_time_proj(condition.vector.flatten()).reshape(len(condition), -1)

    def orbit_cameras(self) -> Cameras:
        """Cameras of the frames: even azimuths from the picture's, elevation 0, distance 2, 60 degrees of view."""
        return orbit([360.0 / self.config.frames * k for k in range(self.config.frames)], 0.0, 2.0, 60.0)

    # What it says

    def raw_output(self, x: Tensor, noise_label: Tensor, condition: V3DCondition) -> Tensor:
        """The U-Net's answer F.

        Args:
            x: Scaled input, frame fastest. (N * frames, 4, h, w).
            noise_label: c_noise. (N,).
            condition: N rows.
        """
        self._need("unet")
        frames = len(x) // len(condition)
        told = torch.cat([x, condition.latent.repeat_interleave(frames, 0)], dim=1)
        with self.autocast():
            output = self.unet(
                told.unflatten(0, (len(condition), frames)),
                noise_label,
                encoder_hidden_states=condition.embedding,
                added_time_ids=condition.vector,
            ).sample
        return output.flatten(0, 1).float()

    @torch.no_grad()
    def denoise(self, x: Tensor, sigma: Tensor, condition: V3DCondition) -> Tensor:
        """D(x, sigma): the clean latents the network sees in noisy ones.

        Args:
            x: x_0 + sigma n, frame fastest. (N * frames, 4, h, w).
            sigma: Noise level of every orbit, above 0. (N,).
            condition: N rows.

        Returns:
            Scaled latents of x's shape.
        """
        factors = edm.scalings(sigma)
        frames = len(x) // len(condition)
        skip, out, into = (
            factor.repeat_interleave(frames).view(-1, 1, 1, 1) for factor in (factors.skip, factors.out, factors.input)
        )
        return skip * x + out * self.raw_output(into * x, factors.noise, condition)

    def predict(self, x_t: Tensor, t: Tensor, condition: V3DCondition, cameras: None = None) -> Tensor:
        """Predicted noise n of x_0 + sigma n; arguments as in `denoise`, with sigma as `t`.

        Raises:
            ValueError: Cameras are given: the released model has no input for them.
        """
        if cameras is not None:
            raise ValueError("V3D has no camera input; leave cameras out. Its frames are orbit_cameras().")
        frames = len(x_t) // len(condition)
        return (x_t - self.denoise(x_t, t, condition)) / t.repeat_interleave(frames).view(-1, 1, 1, 1)

    def denoise_guided(
        self, x: Tensor, sigma: Tensor, condition: V3DCondition, guidance: Tensor, together: bool = True
    ) -> Tensor:
        """D with guidance D_u + w (D_c - D_u).

        Args:
            x, sigma, condition: As in `denoise`.
            guidance: w of every frame, (frames, 1, 1, 1), see `edm.frame_guidance`.
            together: Whether both sides go through the network in one batch; one by one takes half the memory.
        """
        if together:
            both = V3DCondition.cat([condition.unconditional(), condition])
            without, told = self.denoise(torch.cat([x] * 2), torch.cat([sigma] * 2), both).chunk(2)
        else:
            without = self.denoise(x, sigma, condition.unconditional())
            told = self.denoise(x, sigma, condition)
        return without + guidance.to(x).repeat(len(condition), 1, 1, 1) * (told - without)

    def sigmas(self, steps: int | None = None) -> Tensor:
        """Noise levels of the sampler, falling, with a last 0: (steps + 1,); None takes the configuration's steps."""
        config = self.config
        return edm.sigmas(config.steps if steps is None else steps, config.sigma_min, config.sigma_max, config.rho)

    @torch.no_grad()
    def sample(
        self,
        condition: V3DCondition,
        *,
        steps: int | None = None,
        guidance: tuple[float, float] | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw orbits with Euler's method, deterministic after its start.

        Args:
            condition: N rows.
            steps: None takes the configuration's (25 published).
            guidance: w of the first and the last frame; None takes the configuration's (3.5 and 3.5 published).
            noise: Unit noise to start from, (N * frames, 4, h, w); None draws it.
            generator: Draws the start, on the CPU.

        Returns:
            Scaled latents (N * frames, 4, h, w), frame fastest, for `decode_latents`.
        """
        if noise is None:
            shape = (len(condition) * self.config.frames, *condition.latent.shape[1:])
            noise = torch.randn(shape, generator=generator)
        last = noise
        for x, _ in self.sample_steps(condition, noise, steps=steps, guidance=guidance):
            last = x
        return last

    @torch.no_grad()
    def sample_steps(
        self,
        condition: V3DCondition,
        noise: Tensor,
        *,
        steps: int | None = None,
        guidance: tuple[float, float] | None = None,
        together: bool = True,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `sample`, step by step.

        Args:
            condition, noise, steps, guidance: As there.
            together: As in `denoise_guided`.

        Yields:
            After every step: the sample, whose last one is the result, and the denoised latents that the step saw.
        """
        weights = edm.frame_guidance(*(guidance or self.config.guidance), self.config.frames)
        levels = self.sigmas(steps).to(self.device)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return self.denoise_guided(x, sigma.expand(len(condition)), condition, weights, together)

        yield from edm.euler_steps(denoise, edm.start(noise.to(self.device), levels[0]), levels)

    @torch.no_grad()
    def decode_raw(self, latents: Tensor, together: int | None = None) -> Tensor:
        """Frames of scaled latents as the decoder gives them, about [-1, 1] and not clamped.

        Args:
            latents: (N * frames, 4, h, w), frame fastest.
            together: Frames that are decoded at once and see each other; None is a whole orbit, as published. Fewer
                need less memory, and the picture may jump between the groups.
        """
        self._need("decoder")
        together = together or self.config.frames
        with self.autocast(self.codec_precision):
            parts = [
                self.vae.decode(part, num_frames=len(part)).sample.float()
                for orbit_latents in (latents / self.vae.config.scaling_factor).split(self.config.frames)
                for part in orbit_latents.split(together)
            ]
        return torch.cat(parts)

    # Weights

    @classmethod
    def random(cls, config: V3DConfig = V3D_512, seed: int = 0) -> V3DPrior:
        """The model of a configuration with seeded random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(config, *_modules(config, PARTS), version="random weights")

    @classmethod
    def from_published(
        cls,
        source: Source,
        config: V3DConfig = V3D_512,
        *,
        conditioner: Source | None = None,
        parts: Sequence[str] | None = None,
    ) -> V3DPrior:
        """Read the published files, or their tensors.

        Args:
            source: `V3D.ckpt` (U-Net and decoder), or its state dict.
            config: Sizes and conventions.
            conditioner: `svd_xt.safetensors` of Stable Video Diffusion (the picture's two encoders), or its state dict;
                None looks for them in `source`, which the published file does not hold.
            parts: Which of `PARTS` to load, others stay None; None is all of files, and of state dicts those that they
                have keys of.

        Raises:
            WeightsError: A file is missing, unfinished, damaged, unsafe or of another model.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
            ValueError: `parts` names something else.
        """
        if unknown := set(parts or ()) - set(PARTS):
            raise ValueError(f"parts are {', '.join(PARTS)}; got {', '.join(sorted(unknown))}.")
        state = source if isinstance(source, dict) else read_weights(Path(source), Family.V3D)
        told = state if conditioner is None else conditioner
        if not isinstance(told, dict):
            told = read_weights(Path(told), Family.STABLE_VIDEO)
        parts = parts or (svd_keys.held(state, told) if isinstance(source, dict) else PARTS)
        with torch.device("meta"):  # nothing is allocated twice; the files' own tensors move in
            modules = _modules(config, parts)
        prior = cls(config, *modules, version="published")
        prior.load_published(state, told)
        prior.finish_init()
        return prior

    def load_published(self, state: dict[str, Tensor], conditioner: dict[str, Tensor]) -> None:
        """Take the weights of all parts that this prior has; arguments and errors as in `from_published`."""
        if unread := published.unread(state, published.UNET, published.VAE, svd_keys.OPEN_CLIP):
            log.warning("%d tensors of the file are not needed: %s", len(unread), ", ".join(unread[:5]))
        layers, levels = self.config.unet["layers_per_block"], len(self.config.vae["block_out_channels"])
        convert = {
            "unet": lambda: svd_keys.convert_unet(state, layers),
            "decoder": lambda: svd_keys.convert_first_stage(state, "decoder", levels),
            "encoder": lambda: svd_keys.convert_first_stage(conditioner, "encoder", levels),
            "image_encoder": lambda: published.convert_openclip_vision(conditioner, svd_keys.VISION),
        }
        for part in self.parts:
            if not (tensors := convert[part]()):
                raise published.CheckpointMismatch(_absent(part, self.parts))
            published.load_exactly(self._part(part), tensors, part.replace("_", " "))
        if self.vae.quant_conv is not None:
            identity = svd_keys.identity_quantiser(2 * self.config.vae["latent_channels"])
            published.load_exactly(self.vae.quant_conv, identity, "quantiser")

    def about(self, version: str) -> dict[str, Any]:
        """What is written beside the tensors: also which parts they are."""
        return {**super().about(version), "parts": list(self.parts)}

    @classmethod
    def from_folder(cls, folder: Path, config: V3DConfig | None = None) -> V3DPrior:
        """Read what `save` wrote, with the parts it had.

        Args:
            folder: Holds `model.safetensors` and `config.json`.
            config: None takes the one that the folder holds.

        Raises:
            FileNotFoundError: The folder holds no weights; says which file is missing.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        tensors, about = read_folder(Path(folder))
        config = config or V3DConfig(**about["config"])
        with torch.device("meta"):
            modules = _modules(config, about["parts"])
        prior = cls(config, *modules, version=about["version"])
        published.load_exactly(prior, tensors, about["name"])
        prior.finish_init()
        return prior


def use_published_epsilon(unet: UNetSpatioTemporalConditionModel) -> None:
    """Give the norms of all residual blocks the published epsilon; those of the transformers keep their own."""
    for name, module in unet.named_modules():
        if ".resnets." in name and isinstance(module, nn.GroupNorm):
            module.eps = RESNET_EPSILON


def _absent(part: str, wanted: tuple[str, ...]) -> str:
    others = tuple(name for name in wanted if name != part)
    remedy = "give svd_xt.safetensors of Stable Video Diffusion as conditioner=" if part in FROM_CONDITIONER else ""
    remedy = remedy or "give V3D.ckpt as source"
    return f"The checkpoint holds no {part}; {remedy}, or load only the others with parts={others}."


def _modules(
    config: V3DConfig, parts: Sequence[str]
) -> tuple[UNetSpatioTemporalConditionModel | None, AutoencoderKLTemporalDecoder, CLIPVisionModelWithProjection | None]:
    """The wanted parts of a model, with random weights; the codec loses the half that is not wanted."""
    vae = AutoencoderKLTemporalDecoder(**config.vae)
    if "decoder" not in parts:
        vae.decoder = None
    if "encoder" not in parts:
        vae.encoder = vae.quant_conv = None
    return (
        UNetSpatioTemporalConditionModel(**config.unet) if "unet" in parts else None,
        vae,
        CLIPVisionModelWithProjection(CLIPVisionConfig(**config.vision)) if "image_encoder" in parts else None,
    )
