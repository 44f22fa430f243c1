"""How values change along the depth of a network: one rank correlation a seed, and its interval over seeds."""

import numpy as np
from numpy.typing import ArrayLike

from transferscope.measures.intervals import ALIKE, Interval, levelled, spearman
from transferscope.measures.ranges import bounded


@levelled
def correlation(values: ArrayLike, along: ArrayLike | None = None, level: float = 0.95) -> Interval | None:
    """Mean over seeds of Spearman's correlation of a block's place and its value; `values` is (seeds, blocks).

    The blocks of one network depend on each other, so that their number is no sample size: the seed is the unit, and
    the interval is a t interval over seeds on Fisher's z (`ranges.bounded`). `along` (blocks,) stands in the place of
    0, 1, 2, .... NaN marks a missing block. Seeds with fewer than 2 values, or equal ones, do not count; None without
    any that do.
    """
    v = np.asarray(values, dtype=np.float64)
    places = np.arange(v.shape[1]) if along is None else np.asarray(along, dtype=np.float64)
    ranks = []
    for row in v:
        there = np.isfinite(row) & np.isfinite(places)
        if there.sum() > 1 and (found := spearman(places[there], row[there])) is not None:
            ranks.append(found.mean)
    return bounded(ranks, -1, 1, level) if ranks else None


def leans(found: Interval) -> int:
    """1 where values are shown to rise along depth, -1 where they are shown to fall, else 0.

    Shown: by an interval without 0; or, where all seeds have one and the same correlation, by at least 6 of them (all
    on one side of 0 by chance: 1 in 32, two-sided).
    """
    alike = found.low is None and found.n >= ALIKE and found.note.startswith("the same")
    return int(np.sign(found.mean)) if found.excludes() or alike else 0
