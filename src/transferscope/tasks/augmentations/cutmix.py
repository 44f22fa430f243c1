"""cutmix: a rectangle from the next image pasted in, labels shared by area (Yun et al. 2019)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from transferscope.strict_models import Strict
from transferscope.tasks.augmentations._fields import Alpha, Chance

if TYPE_CHECKING:
    from torch import Tensor


class Options(Strict):
    alpha: Alpha = 1.0
    """Of Beta(alpha, alpha), from which the share of the area that stays is drawn, before the rectangle is cut off at
    the border."""
    p: Chance = 1.0
    """The chance that an image is mixed."""


def mix(options: Options) -> "Callable[[Tensor, Tensor], tuple[Tensor, float]]":
    """It draws what torchvision's `CutMix` draws, after whether to mix; the share is that of the pixels that stay."""
    import torch
    from torch.distributions import Beta

    shares = Beta(torch.tensor([options.alpha]), torch.tensor([options.alpha]))

    def mixed(image: "Tensor", partner: "Tensor") -> "tuple[Tensor, float]":
        if options.p < 1 and float(torch.rand(1)) >= options.p:
            return image, 1.0
        height, width = image.shape[-2:]
        half = 0.5 * (1.0 - float(shares.sample(()))) ** 0.5
        x, y = int(torch.randint(width, (1,))), int(torch.randint(height, (1,)))
        left, right = max(0, x - int(half * width)), min(width, x + int(half * width))
        top, bottom = max(0, y - int(half * height)), min(height, y + int(half * height))
        out = image.clone()
        out[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
        return out, 1.0 - (right - left) * (bottom - top) / (width * height)

    return mixed
