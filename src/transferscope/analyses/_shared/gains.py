"""Differences of test scores between runs of the same seeds: over trainings and test images where the answers are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors import SafetensorError

from transferscope import answers
from transferscope.analyses._shared import outcomes, phrases
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import decode
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError
from transferscope.measures import judged
from transferscope.measures.equivalence import Outcome, against_margin, equivalence_level
from transferscope.measures.intervals import ALIKE, Interval, mean_interval
from transferscope.measures.seeds_and_images import gain_interval
from transferscope.section import Finding
from transferscope.tasks import inputs, restore

Values = NDArray[np.float64]
Truth = tuple[NDArray[Any], tuple[float, ...] | None]  # of the test examples, and the scale of numbers
SAME = 1e-6  # parts whose mean is further from the score that the table tells are not those of that score
UNREAD = (OSError, KeyError, TypeError, ValueError, IndexError, SafetensorError, UserError)
FINAL = (
    "Final scores are of all test images after the last epoch, in eval mode with each network's own running "
    "statistics. "
)
BOTH = "Intervals of differences between final test scores are over trainings and test images"


@dataclass(frozen=True)
class Gain(Interval):
    """An interval over trainings and test images (`images` of them), or over seeds alone (None); `n` counts seeds."""

    images: int | None = None


@dataclass(frozen=True)
class Scores:
    """A score of one run a seed, or what follows from several.

    `values` (seeds,); `parts` (seeds, images) of single images, whose mean over images the value is, None where they
    are not known; `reach`: the least and the most that the answers to one image can be worth, None where nobody knows.
    """

    values: Values
    parts: Values | None = None
    reach: tuple[float, float] | None = None

    def minus(self, other: "Scores") -> Self:
        """The difference, seed by seed and image by image."""
        return self.plus(other, -1.0)

    def plus(self, other: "Scores", times: float = 1.0) -> Self:
        """With `times` another score of the same seeds added; without parts unless both have them."""
        parts = reach = None
        if (known := _both(self, other)) is not None:
            parts = known[0] + times * known[1]
        if self.reach is not None and other.reach is not None:
            low, high = sorted((times * other.reach[0], times * other.reach[1]))
            reach = self.reach[0] + low, self.reach[1] + high
        return replace(self, values=self.values + times * other.values, parts=parts, reach=reach)

    def times(self, factor: float) -> Self:
        """The same in another unit."""
        parts = None if self.parts is None else factor * self.parts
        reach = None
        if self.reach is not None:
            low, high = sorted((factor * self.reach[0], factor * self.reach[1]))
            reach = low, high
        return replace(self, values=factor * self.values, parts=parts, reach=reach)

    def drop_to(self, other: "Scores") -> Self:
        """The relative drop 100 (self - other) / self in percent, one a seed, of scores above 0.

        An image's part is to first order what it moves the drop of its seed by (the delta method).
        """
        first, second = self.values, other.values
        drop, parts, reach = 100 * (1 - second / first), None, None
        if (known := _both(self, other)) is not None:
            by_first = (second / first**2)[:, None] * (known[0] - first[:, None])
            parts = drop[:, None] + 100 * (by_first - (known[1] - second[:, None]) / first[:, None])
        if self.reach == other.reach == (0.0, 1.0):
            reach = -100 / float(first.min()), 100 * float((second / first**2).max())
        return replace(self, values=drop, parts=parts, reach=reach)

    def interval(self, level: float = 0.95) -> Gain:
        """The mean with its interval for new trainings and new test images; a t interval over seeds without parts."""
        if self.parts is None:
            found = mean_interval(self.values, level)
            return Gain(found.mean, found.low, found.high, found.n, found.note, self.interval)
        span = None if self.reach is None else max(abs(end) for end in self.reach)
        found = gain_interval(self.parts, level, span)
        return Gain(found.mean, found.low, found.high, found.n, found.note, self.interval, self.parts.shape[1])

    def against(self, margin: float, error: float = 0.05) -> Outcome:
        """Whether the mean is shown to be below `margin` ("within"), above it ("beyond"), or neither ("undecided").

        Without parts, a few equal values do not show how seeds vary: scores of few images often agree.
        """
        if self.parts is None and len(self.values) < ALIKE and np.ptp(self.values) <= 1e-12:
            return "undecided"
        return against_margin(self.interval(equivalence_level(error)), margin)

    def most(self, error: float = 0.05) -> float | None:
        """How large the mean may be at most, one-sided; None without an interval."""
        return self.interval(equivalence_level(error)).high


def _both(first: Scores, second: Scores) -> tuple[Values, Values] | None:
    """The parts of both, where both have them, of the same images."""
    a, b = first.parts, second.parts
    return None if a is None or b is None or a.shape != b.shape else (a, b)


def with_parts(
    runs: pl.DataFrame, table: ResultTable, by: Sequence[str], value: str = "final", at: str = "final", run: str = "run"
) -> pl.DataFrame:
    """`runs` with a column of each test image's part in the score `value`, a list in the order of the test rows.

    A run is found among the finished cells of `table` by the labels `by`; a cell is a training run, or a step with one
    as its parameter called `run`. The part is that of `measures.judged.parts`: 1 or 0 for an accuracy. Null where the
    answers are not there, or are not those of that score, and for metrics without parts.
    """
    finished = {tuple(labels.get(name) for name in by): artifact for labels, artifact in table.artifacts}
    truths: dict[Path, Truth] = {}
    found: list[pl.Series | None] = []
    for *labels, metric, score in runs.select(*by, "metric", value).iter_rows():
        artifact = finished.get(tuple(labels))
        parts = None if artifact is None or score is None else _read(artifact, run, str(metric), at, truths)
        fits = parts is not None and abs(float(parts.mean()) - score) <= SAME * max(1.0, abs(score))
        found.append(pl.Series(parts) if fits else None)
    return runs.with_columns(pl.Series(column(value), found, pl.List(pl.Float64)))


def column(value: str) -> str:
    """The name of the column that `with_parts` adds."""
    return f"{value}_parts"


def _read(artifact: Artifact, name: str, metric: str, at: str, truths: dict[Path, Truth]) -> Values | None:
    try:
        run = decode(artifact.said["params"].get(name), artifact.beside) or artifact
        data = decode(restore.said(run)["data"], artifact.beside)
        if data.path not in truths:
            table = inputs.open_table(data.whole())
            truths[data.path] = table.labels[table.rows["test"]], table.error_scale
        truth, scale = truths[data.path]
        return judged.parts(restore.outputs(run, "test", at), truth, metric, scale)
    except UNREAD:
        return None


def common_seeds(runs: Sequence[pl.DataFrame], value: str = "final") -> list[int]:
    """The seeds in which all of several kinds of runs have a `value`, in their order."""
    return sorted(set.intersection(*(set(of.drop_nulls(value)["seed"]) for of in runs))) if runs else []


def scores(runs: Sequence[pl.DataFrame], value: str = "final") -> list[Scores]:
    """The scores of several kinds of runs, for the seeds that have them all, in the order of seeds.

    Without parts where `with_parts` was not asked for this `value`, and where one run lacks them.
    """
    lists = column(value)
    known = [of.drop_nulls(value).sort("seed") for of in runs]
    seeds = common_seeds(runs, value)
    found = []
    for of in known:
        of = of.filter(pl.col("seed").is_in(seeds))
        parts = reach = None
        if lists in of.columns and of.height and not of[lists].null_count() and of[lists].list.len().n_unique() == 1:
            parts = np.stack([one.to_numpy() for one in of[lists]])
            reach = (0.0, 1.0) if of["metric"][0] == "accuracy" else None
        found.append(Scores(of[value].to_numpy().astype(np.float64), parts, reach))
    return found


def difference(first: pl.DataFrame, second: pl.DataFrame, value: str = "final") -> Scores | None:
    """`value` of `first` minus that of `second` in points (of an error in its units) for the seeds that have both; None
    where none has."""
    a, b = scores([first, second], value)
    return in_points(a.minus(b), first) if len(a.values) else None


def in_points(found: Scores, runs: pl.DataFrame) -> Scores:
    """A difference of scores of such runs in what it is told in (`phrases.unit`)."""
    return found.times(phrases.times(str(runs["metric"][0])))


@dataclass(frozen=True)
class OverScratch:
    """Final scores of an arm and of the random one in the `seeds` in which both have learnt; `left`: the other seeds.

    Where there is no such seed the scores are those of all, and `learnt` is False: they decide nothing.
    """

    tuned: Scores
    scratch: Scores
    left: tuple[int, ...]
    learnt: bool
    seeds: tuple[int, ...] = ()
    metric: str = "accuracy"

    @property
    def points(self) -> Scores:
        return self.tuned.minus(self.scratch).times(phrases.times(self.metric))


def over_scratch(runs: pl.DataFrame, arm: str) -> OverScratch:
    """Of the runs (of `outcomes.summarise`) of one target."""
    of = runs.filter(pl.col("arm").is_in([arm, "random"]))
    failed = set(of.filter(~outcomes.has_learnt())["seed"])
    learnt = not failed >= set(of["seed"])
    kept = of.filter(~pl.col("seed").is_in(list(failed))) if learnt else of
    both = [kept.filter(pl.col("arm") == name) for name in (arm, "random")]
    tuned, scratch = scores(both)
    left, metric = tuple(sorted(failed)) if learnt else (), str(of["metric"][0])
    return OverScratch(tuned, scratch, left, learnt, tuple(common_seeds(both)), metric)


def picked(every: Sequence[Scores], places: Sequence[int] | NDArray[np.int64]) -> Scores:
    """Of scores of the same seeds, for each seed that of the kind at its place."""
    values = np.array([every[place].values[seed] for seed, place in enumerate(places)])
    whole = [one.parts for one in every if one.parts is not None]
    parts = None
    if len(whole) == len(every) and len({one.shape for one in whole}) == 1:
        parts = np.stack([whole[place][seed] for seed, place in enumerate(places)])
    return Scores(values, parts, every[0].reach)


def with_images(finding: Finding, effect: Interval | None) -> Finding:
    """The finding with the number of test images that its interval is over, if it is."""
    return replace(finding, images=getattr(effect, "images", None))


def basis(runs: pl.DataFrame, value: str = "final") -> str:
    """What final scores are of, and what their intervals are over, as sentences."""
    lists = column(value)
    missing = runs[lists].null_count() if lists in runs.columns else runs.height
    words = sorted({m for m in runs["metric"] if not answers.metric(m).parts}) if "metric" in runs.columns else []
    final = FINAL + lower_is_better(runs)
    if missing == runs.height and words:
        said = phrases.listed([phrases.word(name) for name in words])
        return f"{final}Intervals are over seeds alone, for {said} is no mean over test images."
    if missing == runs.height:
        return f"{final}Intervals are over seeds; all runs of a target share its test images."
    gap = ", or over seeds alone where the answers to single images are missing" if missing else ""
    return f"{final}{BOTH}{gap}; all others are over seeds."


def lower_is_better(runs: pl.DataFrame, metric: str = "metric") -> str:
    """How errors among the metrics are to be read, as a sentence; empty without any."""
    names: list[str] = runs[metric].drop_nulls().unique().to_list() if metric in runs.columns else []
    words = phrases.listed(sorted(phrases.word(name) for name in names if answers.metric(name).error))
    if not words:
        return ""
    return (
        f"Of {words} lower is better, in the units of the target (of several numbers the mean over them); differences "
        "are told so that above 0 is better, and where a threshold is stated in points, one is a hundredth of the "
        "numbers' standard deviation in training. "
    )
