"""vertical_flip: mirrored top to bottom, for pictures without an upright (torchvision's `RandomVerticalFlip`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from transferscope.strict_models import Strict
from transferscope.tasks.augmentations._fields import Chance

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = True


class Options(Strict):
    p: Chance = 0.5
    """The chance that an image is mirrored."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with this option."""
    from torchvision.transforms import v2

    return cast("Callable[[Tensor], Tensor]", v2.RandomVerticalFlip(options.p))
