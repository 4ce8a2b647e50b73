"""Counting instead of guessing: parameters of every configuration, and the peak of live tensors of a pass.

Both on the meta device, where tensors have shapes and no memory: any model of any size can be counted here. Knows
priors' configurations; `parts.py` and `formulas.py` keep what came out, tests count again. Prints the table of parts:

    python -m dreamlift.memory.count
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dreamlift.priors.configs import IMAGEDREAM_PIXEL, MINI_IMAGEDREAM, MVDREAM_SD15, MVDREAM_SD21
from dreamlift.priors.deepfloyd import DeepFloydPrior
from dreamlift.priors.deepfloyd_config import IF_I_XL
from dreamlift.priors.imagedream import ImageDreamPrior
from dreamlift.priors.mvdream import MVDreamPrior
from dreamlift.priors.random_weights import empty_parameters
from dreamlift.priors.stable_diffusion import StableDiffusionPrior
from dreamlift.priors.stable_diffusion_config import SD21_BASE
from dreamlift.priors.t5 import T5_XXL, build_encoder
from dreamlift.priors.v3d import V3DPrior
from dreamlift.priors.v3d_config import V3D_512
from dreamlift.priors.zero123 import Zero123Prior
from dreamlift.priors.zero123_config import ZERO123

FULL_SIZE = {
    "mvdream": (MVDreamPrior, MVDREAM_SD21),
    "mvdream-1.5": (MVDreamPrior, MVDREAM_SD15),
    "imagedream": (ImageDreamPrior, IMAGEDREAM_PIXEL),
    "zero123": (Zero123Prior, ZERO123),
    "sd-2.1": (StableDiffusionPrior, SD21_BASE),
    "deepfloyd": (DeepFloydPrior, IF_I_XL),
    "v3d": (V3DPrior, V3D_512),
}


def parameters(module: nn.Module) -> int:
    """How many numbers a module's weights are; buffers, which are small and not loaded, are left out."""
    return sum(value.numel() for value in module.parameters())


def count_parts() -> dict[str, int]:
    """Parameters by model and part, as `parts.PARAMETERS` keeps them. No weight gets memory: a minute at most."""
    models = {"mini-mvdream": MVDreamPrior.mini()}  # its vocabulary is in its folder
    with empty_parameters():
        words = models["mini-mvdream"].tokenizer.words
        models["mini-imagedream"] = ImageDreamPrior.random(MINI_IMAGEDREAM, words)
        models |= {name: family.random(config) for name, (family, config) in FULL_SIZE.items()}
        models["t5"] = nn.ModuleDict({"encoder": build_encoder(T5_XXL)})
    return {
        f"{model} {part}": parameters(module)
        for model, prior in models.items()
        for part, module in prior.named_children()
        if parameters(module)
    }


class _TiledAttention(torch.autograd.Function):
    """Attention as its flash kernels keep memory: inputs and output, no matrix of all pairs. Computes nothing."""

    @staticmethod
    def forward(context, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        context.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _ = context.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


class _Tiled(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            return _TiledAttention.apply(*args[:3])
        return function(*args, **(kwargs or {}))


class _Live(TorchDispatchMode):
    """Follows the bytes of every tensor that is made until nothing refers to it."""

    def __init__(self, known: Iterable[nn.Module]):
        super().__init__()
        self.now = self.peak = 0
        self.sizes: dict[int, int] = {}
        self.known = {
            value.untyped_storage()._cdata for module in known for value in (*module.parameters(), *module.buffers())
        }

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        answer = function(*args, **(kwargs or {}))
        for value in tree_leaves(answer):
            if isinstance(value, Tensor):
                self._note(value.untyped_storage())
        return answer

    def _note(self, storage) -> None:
        key = storage._cdata
        if key in self.sizes or key in self.known:
            return
        self.sizes[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


def peak_bytes(work: Callable[[], object], *modules: nn.Module, tiled: bool = True) -> int:
    """Bytes of all tensors alive at once while `work` runs, the weights of `modules` left out.

    Args:
        work: A forward, or a forward and a backward; on the meta device, or for real.
        *modules: Whose weights were there before.
        tiled: Counts attention as flash kernels do it; False counts what torch really calls. Must be False where a
            backward pass recomputes: it would meet another attention than the forward did.
    """
    with _Live(modules) as live:
        if tiled:
            with _Tiled():
                work()
        else:
            work()
    return live.peak


def main() -> None:
    """Print the table of `parts.py`."""
    for part, count in count_parts().items():
        print(f'    "{part}": {count:_},')


if __name__ == "__main__":
    main()
