"""What analyses share: intervals over seeds, contrasts between kinds of pairs, verdicts, and words for metrics."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.engine.step import Step, Task
from transferscope.measures.intervals import Interval, mean_interval, too_few
from transferscope.section import Chart, Finding, Section, Verdict, View
from transferscope.study import Study
from transferscope.study.pairs import pairs, sides

TWINS = "Values of one kind of pair that share a run are not independent; the intervals allow for that."


def twins(kind: str) -> bool:
    """Whether a kind of pair ("P-T & P-T") joins two seeds of one arm: such pairs share runs with their neighbours."""
    a, b = sides(kind)
    return a == b


def interval(values: ArrayLike, *, chained: bool) -> Interval:
    """Mean over pairs with a 95% t interval; `n` counts seeds.

    `chained` values belong to seeds 2 and 1, 3 and 2, ...: neighbours share a run. The correlation of two values of a
    symmetric function that share one of two independent arguments is at most 1/2 (Hoeffding 1948, section 5), so with
    m values the variance of the mean is at most s^2 (2m - 1) / (m (m - 1)), and that is what is used. Values that are
    not finite are left out; with none left the mean is NaN.
    """
    given = np.asarray(values, dtype=np.float64)
    given = given[np.isfinite(given)]
    if not len(given):
        return Interval(math.nan, None, None, 0, "no value")
    plain = mean_interval(given)
    m = plain.n
    if not chained:
        return plain
    if plain.low is None or plain.high is None:
        return Interval(plain.mean, None, None, m + 1, "one pair has no interval")
    half = (plain.high - plain.mean) * math.sqrt((2 * m - 1) / (m - 1))
    return Interval(plain.mean, plain.mean - half, plain.mean + half, m + 1)


def steps(study: Study, measure: Task, checkpoint: str, **params: Any) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step of `measure` per pair of every target, with its labels; ends are read at `checkpoint`."""
    at = {"start": "start", "end": checkpoint}
    for target in study.targets:
        for pair in pairs(study, target):
            a, b = pair.a, pair.b
            step = measure.step(a=a.run, a_at=at[a.at], b=b.run, b_at=at[b.at], data=study.data(target), **params)
            yield {"target": target, **pair.labels}, step


def over_seeds(rows: pl.DataFrame, by: Sequence[str], value: str) -> pl.DataFrame:
    """Mean of `value` by pair and `by` with `low` and `high` (null where there is no interval), in the rows' order."""
    found = []
    for key, group in rows.drop_nulls(value).group_by(["pair", *by], maintain_order=True):
        of = interval(group[value].to_numpy(), chained=twins(str(key[0])))
        found.append(
            {
                **dict(zip(["pair", *by], key, strict=True)),
                value: of.mean,
                "low": of.low,
                "high": of.high,
                "seeds": of.n,
            }
        )
    kinds = {name: rows.schema[name] for name in ["pair", *by]}
    return pl.DataFrame(
        found, schema={**kinds, value: pl.Float64, "low": pl.Float64, "high": pl.Float64, "seeds": pl.Int64}
    )


def contrast(rows: pl.DataFrame, first: str, second: str, value: str) -> Interval | None:
    """`value` of the pairs called `first` minus that of `second`, seed by seed; None where no seed has both."""
    a, b = (rows.filter(pl.col("pair") == kind).select("seed", value).drop_nulls() for kind in (first, second))
    both = a.join(b, on="seed", suffix="_second").sort("seed")
    gap = both[value].to_numpy() - both[f"{value}_second"].to_numpy()
    if not np.isfinite(gap).any():
        return None
    return interval(gap, chained=twins(first) or twins(second))


def average(values: pl.Series) -> float:
    """Mean of a column without its gaps; NaN where nothing is left."""
    found = values.drop_nulls()
    return float(np.mean(found.to_numpy())) if len(found) else math.nan


def most(values: pl.Series) -> int:
    """The largest count of a column; 0 without any."""
    return int(max(values.drop_nulls(), default=0))


def mean(rows: pl.DataFrame, kind: str, value: str) -> float | None:
    """Mean of `value` over the pairs of a kind; None when there is none."""
    found = rows.filter(pl.col("pair") == kind)[value].drop_nulls()
    return average(found) if len(found) else None


def verdict(effects: Sequence[Interval | None]) -> Verdict:
    """ "supports" when every effect is surely above 0, "contradicts" when one is surely below, else "open".

    Sure: at least 6 seeds and an interval that excludes 0.
    """
    known = [effect for effect in effects if effect is not None]
    sure = [effect for effect in known if effect.excludes(0) and too_few(effect.n) is None]
    if any(effect.mean < 0 for effect in sure):
        return "contradicts"
    return "supports" if known and len(sure) == len(effects) else "open"


def more(gap: Interval) -> str:
    """How a difference reads in a sentence that is no stronger than its interval."""
    if not gap.excludes():
        return "not shown to be more"
    return "more" if gap.mean > 0 else "NOT more"


def judged(text: str, effect: Interval, unit: str, claim: int, effects: Sequence[Interval | None]) -> Finding:
    """A finding on a claim of the paper, with the verdict of all `effects` the claim speaks of."""
    return Finding(text, effect.mean, effect.low, effect.high, effect.n, unit, claim, verdict(effects))


def told(text: str, effect: Interval, unit: str = "") -> Finding:
    """A finding that judges no claim."""
    return Finding(text, effect.mean, effect.low, effect.high, effect.n, unit)


def notes_on_seeds(rows: pl.DataFrame) -> list[str]:
    """The sentence for too few seeds, and the one on pairs that share runs where there are several."""
    count = len({*rows["seed"], *rows["seed_b"]} - {None}) if not rows.is_empty() else 0
    few = too_few(count)
    return ([few] if few else []) + ([TWINS] if count > 2 else [])


def section(
    title: str,
    rows: pl.DataFrame,
    tell: Callable[[str, pl.DataFrame], tuple[list[Finding], list[Chart], View]],
    notes: Callable[[pl.DataFrame], list[str]] = notes_on_seeds,
    basis: str = "",
) -> Section:
    """The section that `tell` makes of each target's name and rows, with the `notes` on all rows and its `basis`."""
    if rows.is_empty():
        return Section(title, notes=["No pair of networks has finished yet."])
    said = Parts(notes=notes(rows))
    for target, of in by_target(rows):
        found, charts, view = tell(target, of)
        said.findings += found
        said.charts += charts
        said.tables.append(view)
    return said.section(title, basis)


def moved(found: Interval, times: float, plus: float = 0.0) -> Interval:
    """`times` x + `plus` for an interval."""
    mean = times * found.mean + plus
    if found.low is None or found.high is None:
        return Interval(mean, None, None, found.n, found.note)
    low, high = sorted((times * found.low + plus, times * found.high + plus))
    return Interval(mean, low, high, found.n, found.note)


def cell(values: pl.Series, digits: int = 3, *, chained: bool = False) -> str:
    """Values of seeds as text for a table: their mean with its interval, "-" without any. `chained`: see `interval`."""
    found = interval(values.cast(pl.Float64).to_numpy(), chained=chained)
    return found.text(digits) if math.isfinite(found.mean) else "-"
