"""QIS, ImageDream's quality-only inception score: how sure a classifier is of each picture by itself.

exp(KL(p || uniform)) of the class posterior p, from 1 to the number of classes [evaluation.md, section 4: the table's
magnitude exceeds log 1000, so the paper reports the exponential]. Knows pictures and a classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamlift.evaluation.published.networks import InceptionV3, load_own
from dreamlift.priors.files import read_weights

SIZE = 299  # pixels


@torch.no_grad()
def quality_scores(backbone: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """exp(sum_i p_i log(N p_i)) of every picture.

    Args:
        backbone: Pictures (B, 3, 299, 299) in [-1, 1] to logits (B, N).
        images: (B, 3, H, W) in [0, 1].

    Returns:
        (B,), from 1 to N.
    """
    resized = F.interpolate(images, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    logits = backbone(resized * 2 - 1)
    log_p = logits.log_softmax(1)
    return (log_p.exp() * log_p).sum(1).add(torch.tensor(float(logits.shape[1])).log()).exp()


def read_inception(file: Path) -> InceptionV3:
    """Torchvision's Inception v3; its auxiliary head is left in the file.

    Raises:
        WeightsError: The file cannot be read, or is of another network.
    """
    network = InceptionV3()
    load_own(network, read_weights(file), file)
    return network
