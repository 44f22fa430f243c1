"""mixup: a weighted mean with the next image, and of their labels (Zhang et al. 2018), a weight for every image.

`recipe.mixup` draws one weight for a whole batch and a partner within it, as the paper does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from transferscope.strict_models import Strict
from transferscope.tasks.augmentations._fields import Alpha, Chance

if TYPE_CHECKING:
    from torch import Tensor


class Options(Strict):
    alpha: Alpha = 0.2
    """Of Beta(alpha, alpha), from which the image's own weight is drawn."""
    p: Chance = 1.0
    """The chance that an image is mixed."""


def mix(options: Options) -> "Callable[[Tensor, Tensor], tuple[Tensor, float]]":
    """It draws what torchvision's `MixUp` draws, after whether to mix."""
    import torch
    from torch.distributions import Beta

    weights = Beta(torch.tensor([options.alpha]), torch.tensor([options.alpha]))

    def mixed(image: "Tensor", partner: "Tensor") -> "tuple[Tensor, float]":
        if options.p < 1 and float(torch.rand(1)) >= options.p:
            return image, 1.0
        weight = float(weights.sample(()))
        return partner.lerp(image, weight), weight

    return mixed
