"""ImageDream as a prior: a picture, a text and cameras to the denoising of four views of what the picture shows.

MVDream with a second condition (checkpoints.md, section 2): the picture's CLIP features become 16 tokens by a resampler
and are attended to apart from the text; in the pixel variant the picture itself stands as a fifth frame beside the four
views, clean at every noise level, and the views attend to it. Knows no fields, losses or jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection, MultiIPAdapterImageProjection
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from ..rendering.cameras import Cameras
from . import image_text, mvdream, published
from .attention import use_image_attention
from .clip_images import clip_pixels
from .configs import IMAGEDREAM_PIXEL, MINI_IMAGEDREAM, ImageDreamConfig, MVDreamConfig
from .contract import Condition, Source
from .files import Family
from .imagedream_keys import convert_image_unet
from .latent import read_folder, write_folder
from .layouts import Parts, is_folder, read_folder_parts, state_of
from .mvdream import MVDreamPrior, Tokenizer, build_text_encoder, build_unet, convert_text, tell_unread, twice
from .tokenizer import WordTokenizer

VAE, CLIP = "vae_model.", "clip_model.model."
MINI_FOLDER = Path(__file__).parent.parent / "mini" / "imagedream"
CONTROLLERS = ("pixel", "local", "global")


@dataclass(frozen=True)
class ImageContext(Condition):
    """What ImageDream is told. Rows are objects or their frames; a row for an object counts for all its frames.

    Args:
        text: Hidden states of the prompt's tokens. (B, L, D) float32.
        image: The picture's tokens from the resampler, or from its embedding. (B, 16 or 4, D) float32.
        pixels: The picture's scaled latents; None for the local and global variants. (B, C, h, w) float32.
    """

    text: Tensor
    image: Tensor
    pixels: Tensor | None = None


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


def _projection(config: ImageDreamConfig) -> ImageProjection | IPAdapterPlusImageProjection:
    """What turns image features into tokens."""
    if config.controller != "global":
        return IPAdapterPlusImageProjection(**config.resampler)
    width = config.unet["cross_attention_dim"]
    return ImageProjection(config.vision["projection_dim"], width, config.global_tokens)


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
        self,
        prompts: Sequence[str],
        images: Tensor | None,
        generator: torch.Generator | None = None,
        size: int | None = None,
    ) -> ImageContext:
        """What the denoiser is told by prompts and pictures, one row each.

        Args:
            prompts: B prompts.
            images: (B, 3, H, W) in [0, 1], the object on a plain background. None is the unconditional side: features
                of zeros through the resampler, which are not zero tokens, and a picture of zero latents.
            generator: Draws the posterior sample of the pixel frame, as the published code does; None takes the mean.
            size: Height and width in pixels at which the views will be; None takes the model's own.
        """
        return self.context(self.encode_text(prompts), images, generator, size)

    @torch.no_grad()
    def context(
        self,
        text: Tensor,
        images: Tensor | None,
        generator: torch.Generator | None = None,
        size: int | None = None,
    ) -> ImageContext:
        """As `encode`, for a text that is encoded already; (B, L, D) with (B, 3, H, W) or None."""
        if images is None:
            tokens = self.zero_tokens(len(text))
            pixels = self._zero_pixels(len(text), size) if self.config.pixel else None
        else:
            images = images.to(self.device)
            tokens = self.image_tokens(self.image_features(clip_pixels(images, self.config.vision["image_size"])))
            pixels = self.picture_latents(images, generator, size) if self.config.pixel else None
        return ImageContext(text, tokens, pixels)

    @torch.no_grad()
    def picture_latents(
        self, images: Tensor, generator: torch.Generator | None = None, size: int | None = None
    ) -> Tensor:
        """Scaled latents of pictures as the fifth frame: (B, 3, H, W) in [0, 1] -> (B, C, h, w); see `encode`."""
        size = size or self.config.image_size
        fitted = F.interpolate(images.to(self.device), (size, size), mode="bicubic", antialias=True).clamp(0, 1)
        return self.encode_images(fitted, generator)

    @torch.no_grad()
    def image_features(self, pixels: Tensor) -> Tensor:
        """What the controller takes of pictures: (B, 3, S, S) of `clip_pixels` -> (B, P, W), or (B, E) if it is global.

        Features of all patches are the output of the vision tower's last block but one, without a norm; the embedding
        is what CLIP compares with texts, not normalised.

        Raises:
            RuntimeError: The image encoder was released.
        """
        if self.image_encoder is None:
            raise RuntimeError(f"{self.name} has let go of its image encoder; encode pictures before that.")
        with self.autocast():
            seen = self.image_encoder(pixels.to(self.device), output_hidden_states=True)
        return (seen.image_embeds if self.config.controller == "global" else seen.hidden_states[-2]).float()

    @torch.no_grad()
    def image_tokens(self, features: Tensor) -> Tensor:
        """Image features through the resampler, (B, P, W) -> (B, 16, D), or the global layer, (B, E) -> (B, 4, D)."""
        return self.project(features)

    def project(self, features: Tensor) -> Tensor:
        """As `image_tokens`, differentiable, for training."""
        with self.autocast():
            return self.unet.encoder_hid_proj.image_projection_layers[0](features.to(self.device)).float()

    def zero_features(self, count: int = 1) -> Tensor:
        """Features of no picture, in the shape of `image_features`."""
        vision = self.config.vision
        if self.config.controller == "global":
            return torch.zeros(count, vision["projection_dim"], device=self.device)
        patches = (vision["image_size"] // vision["patch_size"]) ** 2
        return torch.zeros(count, patches + 1, self.config.resampler["embed_dims"], device=self.device)

    def zero_tokens(self, count: int = 1) -> Tensor:
        """Tokens of no picture: zero features through the resampler, (count, 16, D). They are not zero."""
        return self.image_tokens(self.zero_features()).expand(count, -1, -1)

    def _zero_pixels(self, count: int, size: int | None = None) -> Tensor:
        size = (size or self.config.image_size) // 2 ** (len(self.config.vae["block_out_channels"]) - 1)
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
        if self.config.ray_maps:
            x_t = torch.cat([x_t, self._rays(cameras, x_t)], dim=1)
        if context.pixels is None:
            told = (rows(context.text, len(x_t)), [rows(context.image, len(x_t))])
            return self.call_unet(x_t, t, told, numbers, views)
        frames = views + 1
        picture = rows(context.pixels, objects).to(x_t)[:, None]
        # The picture has no camera: zeros stand for its numbers, and for its rays where the model sees rays.
        picture = F.pad(picture, (0, 0, 0, 0, 0, x_t.shape[1] - picture.shape[2]))
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
        words = len(tokenizer) if isinstance(tokenizer, WordTokenizer) else 0
        unet = build_unet(config)
        use_image_attention(unet, config.image_tokens, config.image_weight)
        # The U-Net would run the projection in every call if its configuration said so; it runs once a picture instead.
        unet.encoder_hid_proj = MultiIPAdapterImageProjection([_projection(config)])
        text, vae = build_text_encoder(config, words), AutoencoderKL(**config.vae)
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

    @classmethod
    def mini(cls, controller: str = "pixel", folder: Path | None = None) -> Self:
        """The embedded model: MVDream's mini codec and text encoder, the image-text model's vision tower, and what
        `save_controller` wrote.

        Args:
            controller: One of `CONTROLLERS`.
            folder: Of the controller; None takes the embedded one.

        Raises:
            FileNotFoundError: A part is missing; says which file.
        """
        own, about = read_folder(folder or MINI_FOLDER / controller)
        return cls.from_parts_of_mini(controller, own, about["version"])

    @classmethod
    def from_parts_of_mini(
        cls, controller: str, own: dict[str, Tensor] | None, version: str, encoder: Path | None = None
    ) -> Self:
        """The mini model with a controller's own tensors.

        Args:
            controller: One of `CONTROLLERS`.
            own: What `save_controller` wrote; None leaves it as torch initialises it, for training.
            version: What is added to the name.
            encoder: Folder of the image-text model; None takes the embedded one.
        """
        shared, about = read_folder(mvdream.MINI_FOLDER)
        seeing, _ = read_folder(encoder or image_text.MINI_FOLDER)
        shared |= {f"image_encoder.{k[7:]}": value for k, value in seeing.items() if k.startswith("vision.")}
        vae = {**MINI_IMAGEDREAM.vae, "scaling_factor": about["scaling_factor"]}
        config = replace(MINI_IMAGEDREAM, vae=vae, controller=controller)
        prior = cls.build(config, WordTokenizer(about["words"], config.text["max_position_embeddings"]), version)
        fresh = {key: value for key, value in prior.state_dict().items() if key not in shared} if own is None else own
        published.load_exactly(prior, {**shared, **fresh}, "model")
        prior.unet.to(memory_format=torch.channels_last)
        return prior

    def save_controller(self, folder: Path, version: str) -> None:
        """Write what this mini model does not share with the others: a pixel model's whole U-Net, else its adapter."""
        shared = set() if self.config.pixel else read_folder(mvdream.MINI_FOLDER)[0].keys()
        own = {key: value for key, value in self.state_dict().items() if key.startswith("unet.") and key not in shared}
        tensors = {key: value.half().contiguous() for key, value in own.items()}
        write_folder(folder, tensors, {"name": f"{self.config.name} ({self.config.controller})", "version": version})
