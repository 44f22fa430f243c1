"""dimmed: darker by a factor that is drawn, as films that were exposed for less."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.strict_models import Real, Strict

if TYPE_CHECKING:
    from torch import Tensor


class Options(Strict):
    least: Annotated[Real, Field(ge=0, lt=1)] = 0.5
    """The smallest factor of the grey values."""


def alter(options: Options) -> "Callable[[Tensor], Tensor]":
    """Every value times a factor from `least` to 1."""
    import torch

    def dim(image: "Tensor") -> "Tensor":
        factor = options.least + (1 - options.least) * float(torch.rand(1))
        return (image * factor).round().to(torch.uint8)

    return dim
