"""What the analyses of single blocks share: halves, stage entries, and contrasts between them over seeds."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from transferscope.analyses._shared import outcomes
from transferscope.measures import depth
from transferscope.measures.intervals import Interval, mean_interval

Which = Literal["first seed", "every seed", "none"]
DRAWN = 3  # seeds from which on an interval is drawn
INTERVALS = f"Means over seeds, with 95% intervals from {DRAWN} seeds on; dots: seeds."
HEADLESS = "The last block, the head, is in neither group: it starts from random weights in every arm."


def includes(which: Which, seed: int, seeds: Sequence[int]) -> bool:
    """Whether a seed is among those asked for; "first seed" is the one listed first."""
    return which == "every seed" or (which == "first seed" and seed == seeds[0])


def order(rows: pl.DataFrame) -> list[str]:
    """The blocks in execution order: that of the rows."""
    return rows["block"].unique(maintain_order=True).to_list()


def halves(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lower and the upper half of the blocks without the last one; a middle one counts as upper."""
    body = list(names[:-1])
    return body[: len(body) // 2], body[len(body) // 2 :]


def entries(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Where stages begin, and the other blocks, both without the last block.

    A stage begins with the first block, and where the list that a block belongs to (`layer2` for `layer2.0`) is
    another than that of the block before it.
    """
    body = list(names[:-1])
    lists = [name.rpartition(".")[0] for name in body]
    first = [i for i in range(len(body)) if i == 0 or (lists[i] and lists[i] != lists[i - 1])]
    return [body[i] for i in first], [name for i, name in enumerate(body) if i not in first]


def contrast(rows: pl.DataFrame, value: str, more: Sequence[str], less: Sequence[str]) -> Interval | None:
    """Mean of `value` over the blocks `more` minus that over `less`, seed by seed; None where no seed has both."""
    both = _mean(rows, value, more).join(_mean(rows, value, less), on="seed", suffix="_less").sort("seed")
    return mean_interval((both[value] - both[f"{value}_less"]).to_numpy()) if both.height else None


def halves_apart(rows: pl.DataFrame, value: str) -> dict[int, float]:
    """Mean of `value` over the upper half of the blocks less that over the lower half, by seed."""
    lower, upper = halves(order(rows))
    both = _mean(rows, value, upper).join(_mean(rows, value, lower), on="seed", suffix="_less")
    return {row["seed"]: row[value] - row[f"{value}_less"] for row in both.iter_rows(named=True)}


def compared(
    rows: pl.DataFrame, value: str, more: Sequence[str], less: Sequence[str]
) -> tuple[Interval, Interval, Interval] | None:
    """The contrast of two groups of blocks, and the level of each; None where any of them has no value."""
    gap, first, second = contrast(rows, value, more, less), level(rows, value, more), level(rows, value, less)
    return None if gap is None or first is None or second is None else (gap, first, second)


def level(rows: pl.DataFrame, value: str, names: Sequence[str]) -> Interval | None:
    """Mean of `value` over some blocks, with its interval over seeds."""
    means = _mean(rows, value, names)
    return mean_interval(means[value].to_numpy()) if means.height else None


def trend(rows: pl.DataFrame, value: str, names: Sequence[str]) -> Interval | None:
    """Rank correlation of a block's depth and `value` without the last block, one a seed, with an interval over seeds.

    See `measures.depth.correlation`: blocks of one network depend on each other, their number is no sample size.
    """
    return along(rows, value, names[:-1])


def along(rows: pl.DataFrame, value: str, names: Sequence[str]) -> Interval | None:
    """`trend` over all of the blocks `names`, in their order."""
    places = {name: place for place, name in enumerate(names)}
    known = rows.filter(pl.col("block").is_in(list(names))).drop_nulls(value)
    table = np.full((known["seed"].n_unique(), len(places)), np.nan)
    for i, (_, of) in enumerate(known.group_by("seed", maintain_order=True)):
        table[i, [places[name] for name in of["block"]]] = of[value].to_numpy()
    return depth.correlation(table) if known.height else None


def with_depth(rank: Interval, rises: str, falls: str, neither: str) -> str:
    """How a trend along depth reads in a sentence that is no stronger than its interval over seeds."""
    return (neither, rises, falls)[depth.leans(rank)]


def intervals(rows: pl.DataFrame, value: str, level: float = 0.95) -> dict[str, Interval]:
    """The interval of `value` over seeds for every block, in the rows' order."""
    groups = rows.drop_nulls(value).group_by("block", maintain_order=True)
    return {str(name): mean_interval(of[value].to_numpy(), level) for (name,), of in groups}


def means(rows: pl.DataFrame, value: str) -> pl.DataFrame:
    """Mean of `value` by arm and block with `low` and `high`: null below 3 seeds, whose intervals dwarf everything."""
    found = outcomes.over_seeds(rows, ["arm", "block"], value)
    ends = [pl.when(pl.col("seeds") >= DRAWN).then(pl.col(name)).alias(name) for name in ("low", "high")]
    return found.with_columns(ends)


def span(names: Sequence[str]) -> str:
    """The first to the last of some blocks."""
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _mean(rows: pl.DataFrame, value: str, names: Sequence[str]) -> pl.DataFrame:
    inside = rows.filter(pl.col("block").is_in(list(names))).drop_nulls(value)
    return inside.group_by("seed", maintain_order=True).agg(pl.col(value).mean())
