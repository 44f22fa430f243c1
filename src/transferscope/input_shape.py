"""Shapes: what one input of a target is like, for whoever needs inputs of that kind or the room they take."""

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BYTES = {"uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "float32": 4, "int64": 8}  # of one stored value
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green, blue in [0, 1]


@dataclass(frozen=True)
class Example:
    """One input as it is stored: for an image `shape` is (channels, height, width); `dtype` the kind of its values.

    Of a text `shape` is (tokens,), and `vocabulary` says how many tokens there are; elsewhere it is None. Pictures
    are `pixels`, whatever their dtype.
    """

    shape: tuple[int, ...]
    dtype: str = "uint8"
    vocabulary: int | None = None
    pixels: bool = field(default=False, compare=False)

    @property
    def channels(self) -> int:
        """Values at one place; 1 where an input is a plain series of values."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def places(self) -> int:
        """Places that hold values of every channel: of an image its pixels."""
        return math.prod(self.shape[1:] or self.shape)

    @property
    def bytes(self) -> int:
        """Of one stored input."""
        return math.prod(self.shape) * BYTES[self.dtype]

    def example(self, count: int, *, seed: int = 0) -> "Tensor":
        """Random inputs (count, *shape), the same for a seed: float32, as normalised ones are; of texts int64, tokens
        without padding."""
        import torch

        draw = torch.Generator().manual_seed(seed)
        if self.vocabulary is not None:
            return torch.randint(0, self.vocabulary, (count, *self.shape), generator=draw)
        return torch.randn((count, *self.shape), generator=draw)

    @property
    def noun(self) -> str:
        """What such inputs are called."""
        if self.vocabulary is not None:
            return "texts"
        return "images" if self.pixels or self.dtype == "uint8" else "arrays"

    def resized(self, side: int) -> "Example | None":
        """The same kind of image as a square of `side` pixels; None where it is no image."""
        return replace(self, shape=(self.channels, side, side)) if len(self.shape) == 3 else None

    def __str__(self) -> str:
        if self.vocabulary is not None:
            return f"{self.shape[0]} tokens"
        if len(self.shape) != 3:
            return " x ".join(map(str, self.shape)) + " values"
        _, height, width = self.shape
        return f"{width} px" if height == width else f"{width} x {height} px"


def picture(side: int, channels: int = 3, dtype: str = "uint8") -> Example:
    """A decoded picture: a square of `side` pixels in red, green and blue, or in other channels."""
    return Example((channels, side, side), dtype, pixels=True)
