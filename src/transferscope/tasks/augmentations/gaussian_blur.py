"""gaussian_blur: blurred by a Gaussian kernel of one width (torchvision's `gaussian_blur`)."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AfterValidator, Field

from transferscope.strict_models import Real, Strict

if TYPE_CHECKING:
    from torch import Tensor

FIXED = True


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("a kernel has an odd number of pixels")
    return value


class Options(Strict):
    size: Annotated[int, Field(ge=3, le=101), AfterValidator(_odd)] = 3
    """Pixels of the kernel's side, odd."""
    sigma: Annotated[Annotated[Real, Field(gt=0)] | None, "number > 0", "`null`"] = None
    """Its standard deviation in pixels; null for 0.3 ((size - 1) / 2 - 1) + 0.8, as OpenCV has it."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform with these options, which draws nothing."""
    from torchvision.transforms.v2 import functional

    sigma = options.sigma or 0.3 * ((options.size - 1) / 2 - 1) + 0.8
    blur: Any = partial(functional.gaussian_blur, kernel_size=[options.size] * 2, sigma=[sigma] * 2)
    return cast("Callable[[Tensor], Tensor]", blur)
