"""MVDream's 3D attention and ImageDream's decoupled attention, on stock diffusers blocks.

3D: self-attention over the tokens of all views of an object at once; cross-attention and feed-forward stay per view; no
weight is added, so one view gives the 2D model back (systems.md 6.2). Decoupled: the image's tokens get keys and values
of their own beside the text's (checkpoints.md, section 2). Knows one attention module at a time.
"""

from __future__ import annotations

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from torch import Tensor


class MultiViewAttention:
    """Attention processor. The number of views comes with each call, as `cross_attention_kwargs={"views": n}`."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,  # (B * views, L, C), view fastest
        encoder_hidden_states: Tensor | None = None,  # (B * views, T, D)
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        views: int = 1,
    ) -> Tensor:
        """Attend; (B * views, L, C) -> the same shape. Masks are not used by these models and are refused."""
        if attention_mask is not None:
            raise ValueError("MultiViewAttention takes no attention mask, got one; leave it out.")
        batch, tokens, channels = hidden_states.shape
        if encoder_hidden_states is None and views > 1:
            hidden_states = hidden_states.reshape(batch // views, views * tokens, channels)
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for projected in (attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source))
        )
        out = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](out)).reshape(batch, tokens, channels)


def use_multi_view_attention(unet: UNet2DConditionModel) -> None:
    """Install the processor on every attention of a U-Net."""
    unet.set_attn_processor({name: MultiViewAttention() for name in unet.attn_processors})


class ImageAttention(IPAdapterAttnProcessor2_0):
    """Diffusers' decoupled attention, let know that calls carry the number of views, which it has no use for."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,  # (N, L, C)
        encoder_hidden_states: tuple[Tensor, list[Tensor]] | None = None,  # text (N, T, D), [image (N, I, D)]
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        views: int = 1,
    ) -> Tensor:
        """Attend to text and image apart and add; (N, L, C) -> the same shape."""
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


def use_image_attention(unet: UNet2DConditionModel, tokens: int, weight: float) -> None:
    """Give every cross-attention of a U-Net keys and values for an image; call it before a resampler is attached.

    Args:
        unet: Already has 3D attention, which its self-attentions keep.
        tokens: Image tokens.
        weight: Factor on the image's attention.
    """
    processors = dict(unet.attn_processors)
    for name in processors:
        if ".attn2." in name:
            attention = unet.get_submodule(name.removesuffix(".processor"))
            inner, context = attention.to_k.out_features, attention.to_k.in_features
            processors[name] = ImageAttention(inner, context, num_tokens=(tokens,), scale=[weight])
    unet.set_attn_processor(processors)
