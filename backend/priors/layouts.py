"""Where the parts of a multi-view model lie: in the authors' single file, or in one of the hub's diffusers folders.

Knows three folder layouts, all of which somebody made from the authors' files:
- U-Net with the authors' keys, without their prefix (ashawkey/mvdream-sd2.1-diffusers, imagedream-ipmv-diffusers);
- the same below `unet.` (KokeCacao/mvdream-hf and mvdream-base-hf);
- U-Net with diffusers' keys, and the camera's MLP in a folder `camera_proj` (lzq49/mvdream-sd21-diffusers).
Encoders and VAE are in transformers' and diffusers' names there. Reads weights only: whatever code or configuration a
folder carries is not looked at. Sources: the converters in those authors' repositories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from . import published
from .contract import Source
from .files import Family, MissingWeights, read_component, read_weights

State = dict[str, Tensor]

_OLD_VAE_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True)
class Parts:
    """Tensors of each module, by the module's own names.

    Args:
        unet: Of the denoiser.
        vae: Of the autoencoder.
        text: Of the text encoder, None where there is none.
        vision: Of the image encoder, None where there is none.
    """

    unet: State
    vae: State
    text: State | None = None
    vision: State | None = None


def is_folder(source: Source) -> bool:
    """Whether a source is a folder in diffusers' layout."""
    return not isinstance(source, dict) and Path(source).is_dir()


def state_of(source: Source, *families: Family) -> State:
    """Tensors of a single published file, read safely; a state dict is handed through.

    Args:
        source: A file or its tensors.
        *families: What a file must be one of; none takes any.

    Raises:
        WrongFamily: The file belongs to another model; says which.
        WeightsError: The file is missing, damaged or unsafe; see `files.read_weights`.
    """
    return source if isinstance(source, dict) else read_weights(Path(source), families or None)


def tokenizer_folder(source: Source) -> Path | None:
    """Where CLIP's tokenizer files would lie: `tokenizer/` in the folder or beside the file; None for a state dict."""
    if isinstance(source, dict):
        return None
    return (Path(source) if Path(source).is_dir() else Path(source).parent) / "tokenizer"


def read_folder_parts(folder: Path, convert: Callable[[State], State], text: bool, vision: bool = False) -> Parts:
    """The parts of a diffusers-layout folder.

    Args:
        folder: Holds `unet/`, `vae/`, `text_encoder/` and, for ImageDream, `image_encoder/`.
        convert: A U-Net with the authors' keys, without their prefix, to diffusers' keys.
        text: Whether the text encoder is wanted.
        vision: Whether the image encoder is wanted; default False.

    Raises:
        WeightsError: A part is missing or damaged; says which.
    """
    unet = read_component(folder, "unet")
    if any(key.startswith("unet.input_blocks.") for key in unet):
        unet = published.below(unet, "unet.")
    if any(key.startswith("input_blocks.") for key in unet):
        unet = convert(unet)
    else:
        unet = {**unet, **_camera(folder, unet)}
    return Parts(
        unet=unet,
        vae={_vae_key(key): _linear(key, value) for key, value in read_component(folder, "vae").items()},
        text=_flat(read_component(folder, "text_encoder"), "text_model.") if text else None,
        vision=_without_positions(read_component(folder, "image_encoder")) if vision else None,
    )


def _camera(folder: Path, unet: State) -> State:
    if any(key.startswith("class_embedding.") for key in unet):
        return {}
    try:
        camera = read_component(folder, "camera_proj")
    except MissingWeights as error:
        what = f"{folder} holds a U-Net without a camera embedding, and no camera_proj/ beside it."
        raise MissingWeights(
            folder, what, "Is it a multi-view model? Plain Stable Diffusion has no cameras."
        ) from error
    return {f"class_embedding.{key}": value for key, value in camera.items()}


def _vae_key(key: str) -> str:
    for old, new in _OLD_VAE_ATTENTION.items():
        key = key.replace(old, new)
    return key


def _linear(key: str, value: Tensor) -> Tensor:
    return value[:, :, 0, 0] if ".attentions." in key and value.ndim == 4 else value


def _without_positions(state: State) -> State:
    return {key: value for key, value in state.items() if not key.endswith("position_ids")}


def _flat(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in _without_positions(state).items()}
