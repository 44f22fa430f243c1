"""Several effects at once: Holm's step-down within a claim, and how many intervals exclude 0 by chance."""

from collections.abc import Callable, Sequence

from transferscope.measures.intervals import Interval


def step_down(
    effects: Sequence[Callable[[float], Interval]], error: float = 0.05, value: float = 0.0
) -> list[Interval]:
    """Every effect's interval at the level that Holm (1979) judges it at; those that exclude `value` are decided.

    `effects` give their interval at a level, nested: the wider, the higher. Of m effects, those whose interval at
    1 - error / m excludes `value` are decided; of the others, k, those at 1 - error / k; and so on until none is. The
    probability that any effect equal to `value` is decided is at most `error`, however they depend on each other.
    An effect without an interval counts in m and is never decided. Where a claim needs every one of its effects, this
    is stricter than need be: each at 1 - error is enough there (Berger 1982).
    Raises ValueError unless 0 < error < 1.
    """
    if not 0 < error < 1:
        raise ValueError(f"the error of a family must be between 0 and 1, not {error}.")
    found: list[Interval | None] = [None] * len(effects)
    left = list(range(len(effects)))
    while left:
        now = {i: effects[i](1 - error / len(left)) for i in left}
        for i, interval in now.items():
            found[i] = interval
        still = [i for i in left if not now[i].excludes(value)]
        if len(still) == len(left):
            break
        left = still
    return [interval for interval in found if interval is not None]


def by_chance(intervals: int, level: float = 0.95) -> float:
    """How many of `intervals` exclude 0 on average where there is nothing to find: intervals x (1 - level).

    An expectation: it holds however the intervals depend on each other. Raises ValueError for a negative count or a
    level outside (0, 1).
    """
    if intervals < 0 or not 0 < level < 1:
        raise ValueError(f"a count of intervals at a level in (0, 1) is needed, not {intervals} at {level}.")
    return intervals * (1 - level)


def by_chance_words(found: Sequence[Interval], level: float = 0.95) -> str:
    """The sentence for a page with these intervals (those without ends do not count); "" where there are under 2."""
    ends = [one for one in found if one.low is not None]
    if len(ends) < 2:
        return ""
    beyond = sum(one.excludes() for one in ends)
    return (
        f"Of {len(ends)} intervals at {100 * level:.3g}%, {by_chance(len(ends), level):.2g} would exclude 0 by chance "
        f"on average if there were nothing to find; {beyond} do{'es' * (beyond == 1)}."
    )
