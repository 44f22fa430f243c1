"""What may be asked of the similarity of features."""

from typing import Annotated, Literal

from pydantic import Field

from transferscope import analyses


class Options(analyses.OfTrained):
    """Which features are compared, on which images."""

    images: Annotated[int, Field(ge=4)] = 1024
    """Test images to compare features on, at most."""
    batch: Annotated[int, Field(ge=8)] = 128
    """Images of a batch, about; the unbiased estimate is taken over batches."""
    layers: str = "blocks"
    """Where features are taken: `blocks`, `leaves` (the innermost layers), or a pattern of layer names."""
    pool: Literal["mean", "token"] | None = None
    """What of a layer's output is compared: its `mean` over space or tokens, its class `token`, or null for every
    value; of texts, where nothing is said, the mean over tokens that are no padding."""
    neighbours: Annotated[int, Field(ge=0)] = 5
    """Nearest neighbours that vote in the k-NN accuracy; 0 leaves it out."""
