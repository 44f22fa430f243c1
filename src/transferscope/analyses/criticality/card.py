"""The card of criticality: did the lower half of the network have to move less?"""

import polars as pl

from transferscope.analyses._shared import cards, per_block
from transferscope.section import Card


def card(target: str, scores: pl.DataFrame) -> list[Card]:
    """How much more critical the upper half of the blocks is than the lower half, in the pretrained arm."""
    tuned = scores.filter(pl.col("arm") == "P-T")
    lower, upper = per_block.halves(per_block.order(scores))
    if (compared := per_block.compared(tuned, "value", upper, lower)) is None:
        return []
    where = per_block.span(lower)
    made = cards.answer(
        "Freeze",
        target,
        compared[0],
        "powers of ten in criticality, upper less lower half",
        yes=f"The lower half ({where}) had to move less than the upper: freeze there first",
        no=f"The lower half ({where}) had to move more than the upper: do not freeze there first",
        unsure=f"The lower half ({where}) is not shown to have moved less than the upper",
    )
    return [made]
