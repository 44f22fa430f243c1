"""Shapes: what one image of a target is like, for whoever needs images of that kind or the room they take."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BYTES = {"uint8": 1}  # of one value, by the kinds of values that a table of images stores


@dataclass(frozen=True)
class Example:
    """One image as it is stored: `shape` is (channels, height, width), `dtype` the kind of its values."""

    shape: tuple[int, int, int]
    dtype: str = "uint8"

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.shape[1] * self.shape[2]

    @property
    def bytes(self) -> int:
        """Of one stored image."""
        return math.prod(self.shape) * BYTES[self.dtype]

    def example(self, count: int, *, seed: int = 0) -> "Tensor":
        """Random images (count, channels, height, width), float32, as normalised ones are; the same for a seed."""
        import torch

        return torch.randn((count, *self.shape), generator=torch.Generator().manual_seed(seed))

    def resized(self, side: int) -> "Example":
        """The same kind of image as a square of `side` pixels."""
        return replace(self, shape=(self.channels, side, side))

    def __str__(self) -> str:
        _, height, width = self.shape
        return f"{width} px" if height == width else f"{width} x {height} px"


def picture(side: int) -> Example:
    """A decoded picture: a square of `side` pixels in red, green and blue."""
    return Example((3, side, side))
