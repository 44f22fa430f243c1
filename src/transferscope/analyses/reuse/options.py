"""What may be asked of feature reuse."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.strict_models import Real, as_tuple
from transferscope.study.schema import Seeds

POINTS = 5  # cut points by default


Places = Annotated[tuple[Annotated[int, Field(ge=1)] | str, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Options(analyses.Options):
    """Where pretrained values end, what stands above, and what the arms are compared with."""

    at: Literal["every", "none"] | Places | None = None
    """The blocks up to which pretrained values are kept, as counts or names, `every` block, or `none`, which asks of
    the controls alone; null for about five of them."""
    above: Literal["random", "stats"] = "random"
    """What the blocks above get: random values as in the arm `random` or in `stats`."""
    controls: Annotated[tuple[Literal["stats", "permuted"], ...], BeforeValidator(as_tuple)] = ("stats",)
    """Other starts without features to compare with."""
    margin: Annotated[Real, Field(gt=0)] = 2.0
    """Points below pretrained values in all blocks that would not matter: fewer blocks are enough if they are shown to
    lose less."""
    seeds: Seeds | None = None
    """The seeds to train, a count or a list; null for the study's."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of every training; null for the study's."""
