"""random_erasing: a rectangle painted over (Zhong et al. 2020; torchvision's `RandomErasing`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from transferscope.strict_models import Strict
from transferscope.tasks.augmentations._fields import Chance, Grey, Range, Shares

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = True


class Options(Strict):
    p: Chance = 0.25
    """The chance that an image is painted over."""
    scale: Shares = (0.02, 0.33)
    """Least and largest share of its area that the rectangle covers."""
    ratio: Range = (0.3, 3.3)
    """Least and largest aspect ratio of the rectangle."""
    fill: Grey = 0.0
    """The grey value of the rectangle, 0 (black) to 255."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options."""
    from torchvision.transforms import v2

    made = v2.RandomErasing(options.p, options.scale, options.ratio, value=options.fill)
    return cast("Callable[[Tensor], Tensor]", made)
