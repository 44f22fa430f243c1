"""trivial_augment: one of 14 operations at any strength (Müller and Hutter 2021; `TrivialAugmentWide`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from transferscope.strict_models import Strict
from transferscope.tasks.augmentations._fields import Grey

if TYPE_CHECKING:
    from torch import Tensor


class Options(Strict):
    fill: Grey = 0.0
    """The grey value, 0 (black) to 255, of what comes in from outside."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options."""
    from torchvision.transforms import InterpolationMode, v2

    made = v2.TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR, fill=options.fill)
    return cast("Callable[[Tensor], Tensor]", made)
