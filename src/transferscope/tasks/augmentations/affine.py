"""affine: turned, moved, scaled and sheared, each drawn evenly (torchvision's `RandomAffine`, bilinear)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from transferscope.strict_models import Real, Strict
from transferscope.tasks.augmentations._fields import Chance, Grey, Range

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = True


class Options(Strict):
    degrees: Annotated[Real, Field(ge=0, le=180)] = 10.0
    """The most that an image is turned to either side."""
    translate: Chance = 0.1
    """The most that it is moved along either axis, as a share of its side."""
    scale: Range = (0.9, 1.1)
    """Least and largest factor of its size."""
    shear: Annotated[Real, Field(ge=0, lt=90)] = 0.0
    """The most that it is sheared along the horizontal, in degrees to either side."""
    fill: Grey = 0.0
    """The grey value, 0 (black) to 255, of what comes in from outside."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options."""
    from torchvision.transforms import InterpolationMode, v2

    made = v2.RandomAffine(
        options.degrees,
        translate=(options.translate, options.translate),
        scale=options.scale,
        shear=options.shear or None,
        interpolation=InterpolationMode.BILINEAR,
        fill=options.fill,
    )
    return cast("Callable[[Tensor], Tensor]", made)
