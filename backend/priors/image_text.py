"""A small image-text model: pictures and prompts as points on one sphere, near where they say the same.

CLIP's construction [Radford et al. 2021] on transformers' own classes. Its vision tower is the mini ImageDream's image
encoder, and both towers judge how well an asset fits its prompt or its picture. Knows pictures and prompts; knows no
diffusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

from .clip_images import clip_pixels
from .configs import MINI, MINI_VISION
from .latent import read_model, write_folder
from .tokenizer import WordTokenizer

MINI_FOLDER = Path(__file__).parent.parent / "mini" / "image_text"


class ImageTextModel(nn.Module):
    """Two towers into one space.

    Args:
        words: The vocabulary of the text tower.
        version: Of the weights, for reports.
    """

    name = "mini-image-text"

    def __init__(self, words: Sequence[str], version: str = ""):
        super().__init__()
        self.version = version
        self.tokenizer = WordTokenizer(words, MINI.text["max_position_embeddings"])
        sizes = {**MINI.text, "vocab_size": len(self.tokenizer)}
        self.text = CLIPTextModelWithProjection(CLIPTextConfig(**sizes))
        self.vision = CLIPVisionModelWithProjection(CLIPVisionConfig(**MINI_VISION))
        self.log_scale = nn.Parameter(torch.tensor(2.7))  # of the cosines; CLIP starts at 1 / 0.07

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_scale.device

    def embed_images(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to unit vectors (B, 96); resized to 64 px. Differentiable."""
        pixels = clip_pixels(images.to(self.device), MINI_VISION["image_size"])
        return F.normalize(self.vision(pixels).image_embeds, dim=-1)

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to unit vectors (B, 96). Differentiable."""
        return F.normalize(self.text(self.tokenizer(prompts).to(self.device)).text_embeds, dim=-1)

    def save(self, folder: Path, version: str) -> None:
        """Write the weights in half precision with their words, version and hashes."""
        tensors = {key: value.half().contiguous() for key, value in self.state_dict().items()}
        about = {"name": self.name, "version": version, "words": list(self.tokenizer.words)}
        write_folder(folder, tensors, about)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: The folder holds no weights.
            CheckpointMismatch: Keys are missing, left over or misshaped; says which.
        """
        return read_model(folder, lambda about: cls(about["words"], about["version"]))

    @classmethod
    def mini(cls) -> Self:
        """The embedded model."""
        return cls.from_folder(MINI_FOLDER)
