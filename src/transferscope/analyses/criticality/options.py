"""What may be asked of criticality."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.analyses._shared.per_block import Which
from transferscope.probes.batch_norm import OfBlocks
from transferscope.strict_models import as_tuple


class Options(analyses.OfTrained):
    """How finely way and noise are searched, what error is allowed, and which valleys are drawn."""

    images: Annotated[int, Field(ge=8)] = 200
    """Training images to score on, at most."""
    alphas: Annotated[int, Field(ge=2)] = 6
    """Points on the way from start to end, both counted."""
    sigmas: Annotated[int, Field(ge=2)] = 6
    """Levels of noise to try."""
    draws: Annotated[int, Field(ge=1)] = 3
    """Draws of noise at each level."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The training error above the final one that is allowed, as a share of the images (0.01 is one point)."""
    relative: bool = False
    """Whether `tolerance` is a share of the final error."""
    path: Literal["direct", "optimisation"] = "direct"
    """The way: straight from start to end (`direct`), or along the saved epochs (`optimisation`)."""
    grid: bool = False
    """Whether every cell is evaluated, and not only those that decide."""
    valleys: Annotated[tuple[str, ...] | Literal["auto", "none"], BeforeValidator(as_tuple)] = "auto"
    """The blocks whose whole valley is drawn, by name; `auto` takes the first, a middle one and the last."""
    valley_seeds: Which = "first seed"
    """The seeds whose valleys are drawn."""
    valley_images: Annotated[int, Field(ge=8)] = 100
    """Training images for the valleys, at most."""
    valley_alphas: Annotated[int, Field(ge=2)] | None = None
    """Points on the way of a valley, both ends counted; null for those of `alphas`."""
    valley_sigmas: (
        Annotated[int, Field(ge=2)]
        | Annotated[tuple[Annotated[float, Field(gt=0)], ...], BeforeValidator(as_tuple), Field(min_length=1)]
        | None
    ) = None
    """Levels of noise of a valley, their number or their list, as shares of the size of the block's weights; null for
    those of `sigmas`."""
    batch_norm: OfBlocks = "refresh"
    """Batch-norm statistics are re-estimated in every cell (`refresh`), or left `as found`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What numbers the network computes in."""
