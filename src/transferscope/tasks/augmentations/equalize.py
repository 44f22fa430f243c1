"""equalize: a histogram as flat as it can be made, of grey pictures in all bands alike (torchvision's `equalize`)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from transferscope.strict_models import Strict

if TYPE_CHECKING:
    from torch import Tensor

FIXED = True


class Options(Strict):
    """Nothing to set: every band has its own histogram."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """The transform, which draws nothing."""
    from torchvision.transforms.v2 import functional

    return cast("Callable[[Tensor], Tensor]", functional.equalize)
