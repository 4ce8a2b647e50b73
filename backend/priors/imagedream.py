"""ImageDream as a prior: a picture, a text and cameras to the denoising of four views of what the picture shows.

MVDream with a second condition (checkpoints.md, section 2): the picture's CLIP features become 16 tokens by a resampler
and are attended to apart from the text; in the pixel variant the picture itself stands as a fifth frame beside the four
views, clean at every noise level, and the views attend to it. Knows no fields, losses or jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.embeddings import IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from ..rendering.cameras import Cameras
from . import published
from .attention import use_image_attention
from .clip_images import normalise
from .configs import IMAGEDREAM_PIXEL, ImageDreamConfig, MVDreamConfig
from .contract import Condition, Source
from .files import Family
from .imagedream_keys import convert_image_unet
from .layouts import Parts, is_folder, read_folder_parts, state_of
from .mvdream import MVDreamPrior, Tokenizer, build_text_encoder, build_unet, convert_text, tell_unread, twice

VAE, CLIP = "vae_model.", "clip_model.model."


@dataclass(frozen=True)
class ImageContext(Condition):
    """What ImageDream is told. Rows are objects or their frames; a row for an object counts for all its frames.

    Args:
        text: Hidden states of the prompt's tokens. (B, L, D) float32.
        image: The picture's tokens from the resampler. (B, 16, D) float32.
        pixels: The picture's scaled latents; None for the local variant. (B, C, h, w) float32.
    """

    text: Tensor
    image: Tensor
    pixels: Tensor | None = None


def clip_pixels(images: Tensor, size: int) -> Tensor:
    """Pictures as the vision tower takes them: resized, cut to the centre, normalised; OpenCLIP's evaluation transform.

    Args:
        images: (B, 3, H, W) in [0, 1].
        size: Height and width of the answer.
    """
    short = min(images.shape[-2:])
    height, width = (max(size, round(side * size / short)) for side in images.shape[-2:])
    resized = F.interpolate(images, (height, width), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return normalise(resized[..., top : top + size, left : left + size])


def rows(value: Tensor, count: int) -> Tensor:
    """A condition's rows brought to `count`: each repeated for its frames, or every so-manieth taken.

    Raises:
        ValueError: Neither number divides the other.
    """
    if count % len(value) == 0:
        return value.repeat_interleave(count // len(value), 0)
    if len(value) % count == 0:
        return value[:: len(value) // count]
    raise ValueError(f"A condition of {len(value)} rows does not fit {count} frames or objects.")


class ImageDreamPrior(MVDreamPrior):
    """The image-conditioned four-view diffusion model with its encoders.

    Args:
        config: Sizes and conventions.
        modules: U-Net with 3D and decoupled attention and its resampler, VAE, text encoder, image encoder.
        tokenizer: Prompts to token ids.
        version: What is added to the name in provenance.
    """

    config_class: ClassVar[type[MVDreamConfig]] = ImageDreamConfig
    config: ImageDreamConfig

    def __init__(
        self,
        config: ImageDreamConfig,
        modules: tuple[Any, AutoencoderKL, CLIPTextModel | None, CLIPVisionModelWithProjection],
        tokenizer: Tokenizer,
        version: str = "",
    ):
        unet, vae, text_encoder, image_encoder = modules
        super().__init__(config, unet, vae, text_encoder, tokenizer, version)
        self.image_encoder: CLIPVisionModelWithProjection | None = image_encoder
        self.finish_init()

    @torch.no_grad()
    def encode(
        self, prompts: Sequence[str], images: Tensor | None, generator: torch.Generator | None = None
    ) -> ImageContext:
        """What the denoiser is told by prompts and pictures, one row each.

        Args:
            prompts: B prompts.
            images: (B, 3, H, W) in [0, 1], the object on a plain background. None is the unconditional side: features
                of zeros through the resampler, which are not zero tokens, and a picture of zero latents.
            generator: Draws the posterior sample of the pixel frame, as the published code does; None takes the mean.
        """
        return self.context(self.encode_text(prompts), images, generator)

    @torch.no_grad()
    def context(self, text: Tensor, images: Tensor | None, generator: torch.Generator | None = None) -> ImageContext:
        """As `encode`, for a text that is encoded already; (B, L, D) with (B, 3, H, W) or None."""
        if images is None:
            tokens = self.zero_tokens(len(text))
            pixels = self._zero_pixels(len(text)) if self.config.pixel else None
        else:
            images = images.to(self.device)
            tokens = self.image_tokens(self.image_features(clip_pixels(images, self.config.vision["image_size"])))
            pixels = self.picture_latents(images, generator) if self.config.pixel else None
        return ImageContext(text, tokens, pixels)

    @torch.no_grad()
    def picture_latents(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents of pictures as the fifth frame: (B, 3, H, W) in [0, 1] -> (B, C, h, w); see `encode`."""
        size = self.config.image_size
        fitted = F.interpolate(images.to(self.device), (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        return self.encode_images(fitted, generator)

    @torch.no_grad()
    def image_features(self, pixels: Tensor) -> Tensor:
        """Output of the vision tower's last block but one, without a norm: (B, 3, S, S) of `clip_pixels` -> (B, P, W).

        Raises:
            RuntimeError: The image encoder was released.
        """
        if self.image_encoder is None:
            raise RuntimeError(f"{self.name} has let go of its image encoder; encode pictures before that.")
        with self.autocast():
            return self.image_encoder(pixels.to(self.device), output_hidden_states=True).hidden_states[-2].float()

    @torch.no_grad()
    def image_tokens(self, features: Tensor) -> Tensor:
        """Image features (B, P, W) through the resampler: (B, 16, D)."""
        with self.autocast():
            return self.unet.encoder_hid_proj.image_projection_layers[0](features.to(self.device)).float()

    def zero_tokens(self, count: int = 1) -> Tensor:
        """Tokens of no picture: zero features through the resampler, (count, 16, D). They are not zero."""
        side = self.config.vision["image_size"] // self.config.vision["patch_size"]
        features = torch.zeros(1, side**2 + 1, self.config.resampler["embed_dims"], device=self.device)
        return self.image_tokens(features).expand(count, -1, -1)

    def _zero_pixels(self, count: int) -> Tensor:
        size = self.config.image_size // 2 ** (len(self.config.vae["block_out_channels"]) - 1)
        return torch.zeros(count, self.config.vae["latent_channels"], size, size, device=self.device)

    @torch.no_grad()
    def predict_frames(
        self, x_t: Tensor, t: Tensor, context: ImageContext, cameras: Tensor, frames: int | None = None
    ) -> Tensor:
        """Predicted noise of whole frames, the picture's own included, as the published U-Net is called.

        Args:
            x_t: (B * frames, C, h, w), frame fastest. The last frame of each object is overwritten by the picture's
                latents where the condition has them.
            t: (B * frames,) long.
            context: Rows for objects or for frames.
            cameras: (B * frames, 16) numbers; zeros for the picture's frame.
            frames: Frames per object; None takes 5 where the condition has a picture frame, else 4.

        Returns:
            eps, the shape of x_t. The picture's frame has one too, which means nothing.
        """
        frames = frames or 4 + (context.pixels is not None)
        if context.pixels is not None:
            x_t = x_t.clone()
            x_t[frames - 1 :: frames] = rows(context.pixels, len(x_t) // frames).to(x_t)
        told = (rows(context.text, len(x_t)), [rows(context.image, len(x_t))])
        return self.noise_of(self.call_unet(x_t, t, told, cameras, frames), x_t, t)

    def raw_output(
        self, x_t: Tensor, t: Tensor, context: ImageContext, cameras: Cameras | Tensor | None, views: int
    ) -> Tensor:
        """What the U-Net says of the views; arguments as in `predict`. Adds the picture's frame and takes it away."""
        numbers = cameras if isinstance(cameras, Tensor | None) else self.camera_numbers(cameras).to(self.device)
        objects = len(x_t) // views
        if context.pixels is None:
            told = (rows(context.text, len(x_t)), [rows(context.image, len(x_t))])
            return self.call_unet(x_t, t, told, numbers, views)
        frames = views + 1
        picture = rows(context.pixels, objects).to(x_t)[:, None]
        x_t = torch.cat([x_t.unflatten(0, (objects, views)), picture], 1).flatten(0, 1)
        t = t.view(objects, views)[:, :1].expand(-1, frames).flatten()
        if numbers is not None:
            numbers = F.pad(numbers.view(objects, views, 16), (0, 0, 0, 1)).flatten(0, 1)
        per_object = rows(context.text, objects), rows(context.image, objects)
        told = per_object[0].repeat_interleave(frames, 0), [per_object[1].repeat_interleave(frames, 0)]
        output = self.call_unet(x_t, t, told, numbers, frames)
        return output.unflatten(0, (objects, frames))[:, :views].flatten(0, 1)

    def ddim_frames(
        self,
        x_T: Tensor,
        context: ImageContext,
        negative: ImageContext,
        cameras: Tensor,
        *,
        steps: int = 50,
        guidance: float = 5.0,
    ) -> Tensor:
        """Clean latents of all frames of an object by DDIM, as the published sampler computes them.

        Args:
            x_T: (B * frames, C, h, w) noise, frame fastest.
            context: Of the picture and prompt.
            negative: Of the unconditional side, see `encode`.
            cameras: (B * frames, 16) numbers; zeros for the picture's frame.
            steps: A divisor of 1000; default 50.
            guidance: w in eps_u + w (eps_c - eps_u); default 5.0.

        Returns:
            (B * frames, C, h, w), scaled; the picture's frame is to be thrown away.
        """
        both = ImageContext.cat([negative, context])

        def noise(x: Tensor, t: Tensor) -> Tensor:
            eps_u, eps_c = self.predict_frames(torch.cat([x, x]), t.repeat(2), both, twice(cameras)).chunk(2)
            return eps_u + guidance * (eps_c - eps_u)

        return self.ddim(x_T, steps, noise)

    def release_encoders(self) -> None:
        """Let go of the text encoder's and the image encoder's memory once everything is encoded."""
        super().release_encoders()
        self.image_encoder = None

    @classmethod
    def build(cls, config: ImageDreamConfig, tokenizer: Tokenizer, version: str = "") -> Self:
        """The model of a configuration, with whatever torch initialises its weights with; see `MVDreamPrior.build`."""
        unet = build_unet(config)
        use_image_attention(unet, config.resampler["num_queries"], config.image_weight)
        # The U-Net would run the resampler in every call if its configuration said so; it runs once a picture instead.
        unet.encoder_hid_proj = MultiIPAdapterImageProjection([IPAdapterPlusImageProjection(**config.resampler)])
        text, vae = build_text_encoder(config), AutoencoderKL(**config.vae)
        width = config.vision["projection_dim"] or config.vision["hidden_size"]  # see `fit`; nothing reads it
        vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**{**config.vision, "projection_dim": width}))
        return cls(config, (unet, vae, text, vision), tokenizer, version)

    @classmethod
    def from_published(cls, source: Source, config: ImageDreamConfig = IMAGEDREAM_PIXEL) -> Self:
        """Read the weights as they are published; arguments and errors as in `MVDreamPrior.from_published`.

        `config` is `IMAGEDREAM_PIXEL` for `sd-v2.1-base-4view-ipmv.pt` (the default), `IMAGEDREAM_LOCAL` for
        `sd-v2.1-base-4view-ipmv-local.pt`: the two files hold the same tensors, and nothing in them tells which.
        """
        return super().from_published(source, config)

    @classmethod
    def read_parts(cls, source: Source, config: ImageDreamConfig) -> Parts:
        """Tensors of each module by its own names; arguments and errors as in `from_published`."""
        layers, levels = config.unet["layers_per_block"], len(config.vae["block_out_channels"])
        has_text = config.text is not None
        if is_folder(source):
            return read_folder_parts(source, lambda unet: convert_image_unet(unet, layers, ""), has_text, vision=True)
        state = state_of(source, Family.IMAGEDREAM)
        tell_unread(state, published.UNET, VAE, CLIP)
        return Parts(
            unet=convert_image_unet(state, layers),
            vae=published.convert_vae(state, levels, VAE),
            text=convert_text(state, config, CLIP) if has_text else None,
            vision=published.convert_openclip_vision(state, f"{CLIP}visual."),
        )

    @classmethod
    def fit(cls, config: ImageDreamConfig, parts: Parts) -> ImageDreamConfig:
        """The configuration with the width of the image embedding, which no yaml holds."""
        projection = (parts.vision or {}).get("visual_projection.weight")
        if config.vision["projection_dim"] is not None or projection is None:
            return config
        return replace(config, vision={**config.vision, "projection_dim": projection.shape[0]})

    def load_parts(self, parts: Parts) -> None:
        """Take the weights over, exactly; errors as in `MVDreamPrior.load_parts`."""
        super().load_parts(parts)
        own = self.image_encoder.visual_projection.weight
        # The hub's folders keep a vision tower without its last projection, which ImageDream does not read.
        vision = {"visual_projection.weight": torch.zeros_like(own, device="cpu"), **(parts.vision or {})}
        published.load_exactly(self.image_encoder, vision, "image encoder")
