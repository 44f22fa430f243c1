"""The card of averaging: is one network of averaged weights better than the best single one?"""

import polars as pl

from transferscope.analyses._shared import barriers, cards
from transferscope.measures.intervals import Interval, stretched
from transferscope.section import Card


def card(target: str, soups: pl.DataFrame) -> list[Card]:
    """The score of the average of all pretrained networks less that of the best single one, over test images."""
    if "gain" not in soups.columns:  # no soup has finished
        return []
    tuned = soups.filter(pl.col("arm") == "pretrained")
    of = tuned.filter((pl.col("networks") == pl.col("networks").max()) & (pl.col("way") == "soup of all"))
    of = of.drop_nulls("gain")
    if of.is_empty():
        return []
    row, times, (_, below) = of.row(0, named=True), barriers.times(of), barriers.falls(of)
    ends = [None if row[name] is None else times * float(row[name]) for name in ("gain_low", "gain_high")]
    effect = stretched(Interval(times * float(row["gain"]), ends[0], ends[1], int(row["images"] or 0)))
    count = row["networks"]
    made = cards.answer(
        "Average",
        target,
        effect,
        f"{barriers.points(of)} against the best single network",
        yes=f"Average: the weights of {count} networks, averaged, beat the best single one",
        no=f"Do not average: the weights of {count} networks, averaged, end {below} the best single one",
        unsure=f"Averaging {count} networks is not shown to beat the best single one, nor to harm",
        counted="test images",
    )
    return [made]
