"""CLIP score, similarity to a picture, and R-precision, with any two towers into one space.

Knows embeddings. The towers are the caller's: a CLIP model from a local folder, the mini image-text model, or others in
tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel

from dreamlift.priors.clip_images import clip_pixels


class Towers(Protocol):
    """What puts pictures and words into one space."""

    def embed_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to unit vectors (B, D)."""
        ...

    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to unit vectors (B, D)."""
        ...


class LocalClip:
    """A CLIP model of transformers in a folder of this machine; nothing is fetched.

    Args:
        folder: As `save_pretrained` writes it, with its tokenizer.
    """

    def __init__(self, folder: Path):
        if not (folder / "config.json").exists():
            raise FileNotFoundError(2, "no CLIP model of transformers", str(folder / "config.json"))
        self.model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.size = self.model.config.vision_config.image_size

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to unit vectors (B, D)."""
        pooled = self.model.vision_model(clip_pixels(images, self.size)).pooler_output
        return F.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def embed_texts(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to unit vectors (B, D)."""
        tokens = self.tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        chosen = {key: tokens[key] for key in ("input_ids", "attention_mask")}
        return F.normalize(self.model.text_projection(self.model.text_model(**chosen).pooler_output), dim=-1)


def text_scores(backbone: Towers, images: Tensor, prompt: str) -> Tensor:
    """100 times the cosine of every picture with the prompt, (B,): CLIP score, ImageDream's CLIP(TX)."""
    return 100 * (backbone.embed_images(images) @ backbone.embed_texts([prompt]).T)[:, 0]


def image_scores(backbone: Towers, images: Tensor, reference: Tensor) -> Tensor:
    """100 times the cosine of every picture with the reference (3, H, W), (B,): ImageDream's CLIP(IM)."""
    return 100 * (backbone.embed_images(images) @ backbone.embed_images(reference[None]).T)[:, 0]


def r_precision(backbone: Towers, images: Tensor, prompt: str, pool: Sequence[str]) -> float:
    """Share of the pictures whose nearest prompt of the pool is the right one.

    Args:
        backbone: The towers.
        images: (B, 3, H, W) in [0, 1].
        prompt: What they show.
        pool: All prompts; equal ones count as one, and the right one is added where it is missing.
    """
    prompts = list(dict.fromkeys([prompt, *pool]))
    nearest = (backbone.embed_images(images) @ backbone.embed_texts(prompts).T).argmax(1)
    return float((nearest == 0).float().mean())
