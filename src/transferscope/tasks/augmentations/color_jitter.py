"""color_jitter: brightness, contrast, saturation and hue changed in a drawn order (torchvision's `ColorJitter`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.strict_models import Real, Strict

if TYPE_CHECKING:
    from torch import Tensor

Part = Annotated[Real, Field(ge=0, le=1)]

FLOATS = True


class Options(Strict):
    brightness: Part = 0.2
    """How far the factor of brightness lies from 1 at most."""
    contrast: Part = 0.2
    """The same of contrast, around the image's mean grey value."""
    saturation: Part = 0.2
    """The same of saturation."""
    hue: Annotated[Real, Field(ge=0, le=0.5)] = 0.0
    """The most that the hue is turned to either side, as a share of the circle; it takes longer than all the rest."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options."""
    from torchvision.transforms import v2

    made = v2.ColorJitter(options.brightness, options.contrast, options.saturation, options.hue)

    def jittered(image: "Tensor") -> "Tensor":
        changed: Tensor = made(image / 255) * 255 if image.is_floating_point() else made(image)
        return changed

    return jittered
