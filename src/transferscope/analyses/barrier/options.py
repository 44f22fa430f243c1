"""What may be asked of lines between networks."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.probes.batch_norm import OfLine
from transferscope.strict_models import as_tuple

Kind = Literal["replicas", "arms", "best"]
Where = Literal["test", "val", "train"]


class Options(analyses.OfTrained):
    """Which lines are drawn, how finely, and on which images they are tested."""

    pairs: Annotated[tuple[Kind, ...], BeforeValidator(as_tuple)] = ("replicas", "arms", "best")
    """What is joined: `replicas` (two seeds of an arm), `arms` (the pretrained arm and another), `best` (one run's best
    and last weights)."""
    same_init: bool = False
    """Whether two runs from one random start are joined too."""
    align: bool = False
    """Whether replicas of the random arm are joined once more after matching their units."""
    alphas: Annotated[int, Field(ge=3)] | Literal["adaptive"] = "adaptive"
    """How many even steps the line has; `adaptive` adds points until the barrier is known to `tolerance`."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """How exactly `adaptive` finds the barrier, as a share of the score (0.01 is one point; of an error: of the
    numbers' deviation)."""
    splits: Annotated[tuple[Where, ...], BeforeValidator(as_tuple), Field(min_length=1)] = ("test",)
    """The splits to test on, the first of which the findings use."""
    images: Annotated[int, Field(ge=8)] = 1000
    """Images of test and of val to score on, at most."""
    train_images: Annotated[int, Field(ge=8)] = 500
    """Training images to score on, at most."""
    statistics: Annotated[int, Field(ge=8)] = 250
    """Training images from which batch-norm statistics are re-estimated."""
    batch_norm: Annotated[tuple[OfLine, ...], BeforeValidator(as_tuple), Field(min_length=1)] = ("refresh",)
    """Where the statistics on the line come from, the findings using the first listed: `refresh` re-estimates them at
    every point, `average` averages them like the weights, `first` and `last` take those of one end."""
