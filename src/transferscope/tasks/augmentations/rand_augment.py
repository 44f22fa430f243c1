"""rand_augment: so many of 14 operations, drawn for every image (Cubuk et al. 2020; torchvision's `RandAugment`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from transferscope.strict_models import Strict
from transferscope.tasks.augmentations._fields import Grey

if TYPE_CHECKING:
    from torch import Tensor

BINS = 31  # magnitudes there are, torchvision's own number


class Options(Strict):
    num_ops: Annotated[int, Field(ge=1, le=14)] = 2
    """Operations an image."""
    magnitude: Annotated[int, Field(ge=0, lt=BINS)] = 9
    """How strong each is, up to 30."""
    fill: Grey = 0.0
    """The grey value, 0 (black) to 255, of what comes in from outside."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options."""
    from torchvision.transforms import InterpolationMode, v2

    bilinear = InterpolationMode.BILINEAR
    made = v2.RandAugment(options.num_ops, options.magnitude, BINS, interpolation=bilinear, fill=options.fill)
    return cast("Callable[[Tensor], Tensor]", made)
