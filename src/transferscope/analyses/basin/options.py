"""What may be asked of a basin."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.strict_models import as_tuple

Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Options(analyses.OfTrained):
    """Whose segments are explored, how far and how finely, and on which images."""

    arms: Annotated[tuple[str, ...] | None, BeforeValidator(as_tuple)] = None
    """Arms whose neighbouring seeds are compared; null for the pretrained one."""
    loss: Literal["error", "cross-entropy"] = "error"
    """What is measured along the way: the share of wrong answers, or what the metric that a target says lacks of its
    best (`error`), or the cross-entropy."""
    samples: Annotated[int, Field(ge=3)] = 8
    """Points on the segment."""
    draws: Annotated[int, Field(ge=2)] = 4
    """Draws of noise at each end."""
    per_weight: Annotated[tuple[Deviation, ...], BeforeValidator(as_tuple), Field(min_length=1)] = (0.01, 0.02, 0.04)
    """Standard deviations of the noise in a single weight to try, smallest first."""
    slack: Annotated[float, Field(ge=0)] = 0.02
    """The segment is extended beyond its ends as far as the loss stays this close to its mean; of a target judged by an
    error as a share of the numbers' deviation."""
    limit: Annotated[float, Field(gt=0)] = 1.0
    """How far beyond either end the segment is extended at most, in lengths of the segment."""
    images: Annotated[int, Field(ge=8)] = 200
    """Test images to score on, at most."""
    statistics: Annotated[int, Field(ge=8)] = 100
    """Training images from which batch-norm statistics are re-estimated."""
