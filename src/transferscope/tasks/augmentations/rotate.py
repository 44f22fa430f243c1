"""rotate: turned around the centre by an angle drawn evenly (torchvision's `RandomRotation`, bilinear)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from transferscope.strict_models import Real, Strict
from transferscope.tasks.augmentations._fields import Grey

if TYPE_CHECKING:
    from torch import Tensor

FLOATS = True


class Options(Strict):
    degrees: Annotated[Real, Field(gt=0, le=180)] = 15.0
    """The most that an image is turned to either side."""
    fill: Grey = 0.0
    """The grey value, 0 (black) to 255, of what comes in from outside."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options."""
    from torchvision.transforms import InterpolationMode, v2

    bilinear = InterpolationMode.BILINEAR
    return cast("Callable[[Tensor], Tensor]", v2.RandomRotation(options.degrees, bilinear, fill=options.fill))
