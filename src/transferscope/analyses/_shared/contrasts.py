"""What analyses share: intervals over seeds, contrasts between kinds of pairs, verdicts, and words for metrics."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from transferscope import answers
from transferscope.analyses._shared import in_range, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.engine.step import Step, Task
from transferscope.measures.deciding import ERROR, Design, fixed, seeds_needed
from transferscope.measures.intervals import Interval, levelled
from transferscope.measures.multiple_comparisons import step_down
from transferscope.measures.pairs import Key, pairs_difference
from transferscope.measures.ranges import retold
from transferscope.section import Chart, Finding, Section, Verdict, View
from transferscope.study import Study
from transferscope.study.pairs import pairs, sides

TWINS = "Values of one kind of pair that share a run are not independent; the intervals allow for that."


def twins(kind: str) -> bool:
    """Whether a kind of pair ("P-T & P-T") joins two seeds of one arm: all pairs of its runs, which share runs."""
    a, b = sides(kind)
    return a == b


@levelled
def interval(values: ArrayLike, *, name: str = "", level: float = 0.95, metric: str = "accuracy") -> Interval:
    """Mean of one value per seed with its t interval. `name`: the column, whose range it does not leave (of scores that
    of their `metric`).

    Values that are not finite are left out; with none left the mean is NaN.
    """
    given = np.asarray(values, dtype=np.float64)
    given = given[np.isfinite(given)]
    return (
        in_range.interval(given, name, level, metric=metric)
        if len(given)
        else Interval(math.nan, None, None, 0, "no value")
    )


def of_pairs(rows: pl.DataFrame, value: str, *, together: bool) -> Interval:
    """Mean of the column `value` over the pairs `rows` (with `seed` and `seed_b`) with its interval; `n` counts seeds.

    `together`: they are pairs of runs of one arm, which share runs (see `measures.pairs`); else each has its own seed.
    """
    known = rows.drop_nulls(value)
    judged = known["measure"][0] if "measure" in known.columns and known.height else "accuracy"
    if not together:
        return interval(known[value].to_numpy(), name=value, metric=judged)
    apart = {key: v for key, v in by_seeds(known, value).items() if key[0] != key[1]}  # no run is its own pair
    return in_range.over_pairs(apart, value, metric=judged) if apart else Interval(math.nan, None, None, 0, "no value")


def by_seeds(rows: pl.DataFrame, value: str) -> dict[Key, float]:
    """The values of pairs by the seeds of both; one's own seed where only one is told."""
    known = rows.drop_nulls(value)
    second = known["seed_b"] if "seed_b" in known.columns else known["seed"]
    return {
        (int(a), int(a if b is None else b)): float(v)
        for a, b, v in zip(known["seed"], second, known[value], strict=True)
    }


def steps(study: Study, measure: Task, checkpoint: str, **params: Any) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step of `measure` per pair of every target, with its labels; ends are read at `checkpoint`."""
    at = {"start": "start", "end": checkpoint}
    for target in study.targets:
        for pair in pairs(study, target):
            a, b = pair.a, pair.b
            step = measure.step(a=a.run, a_at=at[a.at], b=b.run, b_at=at[b.at], data=study.data(target), **params)
            yield {"target": target, **pair.labels}, step


def over_pairs(rows: pl.DataFrame, by: Sequence[str], value: str) -> pl.DataFrame:
    """Mean of `value` by pair and `by` with `low` and `high` (null where there is no interval), in the rows' order."""
    found = []
    for key, group in rows.drop_nulls(value).group_by(["pair", *by], maintain_order=True):
        of = of_pairs(group, value, together=twins(str(key[0])))
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
    """Mean `value` of the pairs called `first` minus that of `second`, over the seeds that both have; None without any.

    Seeds are left out one at a time in both kinds together (`measures.pairs`), so that shared runs are allowed for.
    """
    a, b = (by_seeds(rows.filter(pl.col("pair") == kind), value) for kind in (first, second))
    found = pairs_difference(a, b)
    return found if math.isfinite(found.mean) else None


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


def verdict(effects: Sequence[Interval | None], design: Design, seeds: int) -> Verdict:
    """ "supports" when every effect is shown to be above 0, "contradicts" when one is shown to be below, else "open".

    Shown: by the interval at the level of the `design` at so many `seeds`, of 3 values at least. That of several
    effects one is below 0 is judged by Holm's steps; that all are above needs none (Berger 1982).
    """
    known = [effect for effect in effects if effect is not None and design.decides(effect.n, seeds)]
    level = design.level(seeds)
    if any(found.excludes() and found.mean < 0 for found in step_down([one.at for one in known], level)):
        return "contradicts"
    above = [found for found in (one.at(1 - level) for one in known) if found.excludes() and found.mean > 0]
    return "supports" if known and len(above) == len(effects) else "open"


def judge(section: Section, design: Design, seeds: int) -> Section:
    """The section with every verdict and every light of a card as `design` has it at so many `seeds`."""
    level = design.level(seeds)
    findings = [one if one.again is None or level == ERROR else one.again(level) or one for one in section.findings]
    findings = [_judged(one, design, seeds) if one.effects else one for one in findings]
    cards = [one if one.again is None or level == ERROR else one.again(level) for one in section.cards]
    return replace(section, findings=findings, cards=cards)


def _judged(finding: Finding, design: Design, seeds: int) -> Finding:
    said = verdict(finding.effects, design, seeds)
    if said != "open":
        return replace(finding, verdict=said, needed=None, shown=None)
    above = sum(verdict([one], design, seeds) == "supports" for one in finding.effects)
    shown = (above, len(finding.effects)) if len(finding.effects) > 1 else None
    return replace(finding, verdict=said, needed=_needed(finding.effects, design), shown=shown)


def _needed(effects: Sequence[Interval | None], design: Design) -> int | None:
    """The seeds at which all effects would be shown above 0, or one below it; None where nobody can say."""
    known = [one for one in effects if one is not None]
    below = [count for one in known if one.mean < 0 and (count := seeds_needed(one, design)) is not None]
    if below:
        return min(below)
    counts = [seeds_needed(one, design) for one in known]
    return max(count or 0 for count in counts) if len(known) == len(effects) and all(counts) else None


def more(gap: Interval) -> str:
    """How a difference reads in a sentence that is no stronger than its interval."""
    if not gap.excludes():
        return "not shown to be more"
    return "more" if gap.mean > 0 else "NOT more"


def judged(text: str, effect: Interval, unit: str, claim: int, effects: Sequence[Interval | None]) -> Finding:
    """A finding on a claim of the paper, with the verdict of all `effects` the claim speaks of.

    The verdict is that of seeds fixed in advance, until the study's own design is known (`judge`).
    """
    count = max((one.n for one in effects if one is not None), default=1)
    found = replace(finding(text, effect, unit), claim=claim, effects=tuple(effects))
    return replace(found, verdict=verdict(effects, fixed(max(count, 1)), max(count, 1)))


def finding(text: str, effect: Interval, unit: str = "") -> Finding:
    """A finding that judges no claim."""
    note = effect.note if effect.low is None and effect.n > 1 else ""
    return Finding(text, effect.mean, effect.low, effect.high, effect.n, unit, note=note)


def notes_on_pairs(rows: pl.DataFrame) -> list[str]:
    """The sentence on pairs that share runs, where there are several."""
    count = len({*rows["seed"], *rows["seed_b"]} - {None}) if not rows.is_empty() else 0
    return [TWINS] if count > 2 else []


def section(
    title: str,
    rows: pl.DataFrame,
    of_target: Callable[[str, pl.DataFrame], tuple[list[Finding], list[Chart], View]],
    notes: Callable[[pl.DataFrame], list[str]] = notes_on_pairs,
    basis: str = "",
) -> Section:
    """The section that `of_target` makes of each target's name and rows, with `notes` on all rows and its `basis`."""
    if rows.is_empty():
        return Section(title, notes=["No pair of networks has finished yet."])
    said = Parts(notes=notes(rows))
    for target, of in by_target(rows):
        found, charts, view = of_target(target, of)
        said.findings += found
        said.charts += charts
        said.tables.append(view)
    return said.section(title, basis)


def moved(found: Interval, times: float, plus: float = 0.0) -> Interval:
    """`times` x + `plus` for an interval, at whatever level it is asked."""
    mean = times * found.mean + plus
    if found.low is None or found.high is None:
        there = Interval(mean, None, None, found.n, retold(found.note, times, plus))
    else:
        low, high = sorted((times * found.low + plus, times * found.high + plus))
        there = Interval(mean, low, high, found.n, found.note)
    return replace(there, again=lambda level: moved(found.at(level), times, plus))


def told(found: Interval, metric: str) -> Interval:
    """A score's interval as a reader knows the metric: an error is positive."""
    return moved(found, -1.0) if answers.metric(metric).error else found


def one_sided(found: Interval) -> Interval:
    """For a claim that something is absent: the interval whose one end alone decides, at whatever level it is asked."""
    return replace(found, again=lambda level: found.at(2 * level - 1))


def cell(found: Interval, digits: int = 3) -> str:
    """An interval as text for a table, "-" without a value."""
    return found.text(digits) if math.isfinite(found.mean) else "-"


def seeds_cell(values: pl.Series, digits: int = 3, metric: str = "accuracy") -> str:
    """Values of seeds as text for a table: their mean with its interval, "-" without any."""
    found = told(interval(values.cast(pl.Float64).to_numpy(), name=values.name, metric=metric), metric)
    return cell(found, phrases.places(metric, found.mean, usual=digits))
