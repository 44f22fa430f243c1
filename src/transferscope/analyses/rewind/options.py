"""What may be asked of rewinding."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.analyses._shared.per_block import Which
from transferscope.probes.batch_norm import OfBlocks
from transferscope.strict_models import as_tuple


class Options(analyses.OfTrained):
    """What is set back, on which images that is tested, and which loss counts as harmless."""

    splits: Annotated[tuple[Literal["train", "val", "test"], ...], BeforeValidator(as_tuple), Field(min_length=1)] = (
        "train",
        "test",
    )
    """The splits to test on, the last of which the findings use."""
    images: Annotated[int, Field(ge=8)] = 250
    """Images of each split to score on, at most."""
    checkpoints: Which = "first seed"
    """For which seeds blocks are also set back to every saved epoch, drawn as a heat map."""
    redraw: Which = "first seed"
    """For which seeds blocks also get fresh random values."""
    cumulative: Literal["bottom", "both", "none"] = "bottom"
    """Whether ever more blocks are set back together: from the `bottom`, from `both` ends, or not at all (`none`)."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The largest loss that counts as harmless, as a share of the score (0.01 is one point), of an error as a share of
    the numbers' deviation."""
    statistics: Annotated[int, Field(ge=2)] = 250
    """Training images from which batch-norm statistics are re-estimated."""
    batch_norm: OfBlocks = "refresh"
    """Batch-norm statistics are re-estimated after every change (`refresh`), or left `as found`."""
