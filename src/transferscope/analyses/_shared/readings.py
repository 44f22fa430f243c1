"""Readings: the numbers behind a study's answers seed by seed, so that another study's can be held against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from transferscope import answers
from transferscope.analyses._shared import contrasts, gains, in_range, phrases
from transferscope.analyses._shared.gains import Gain, Scores
from transferscope.measures.deciding import LEAST
from transferscope.measures.intervals import Interval
from transferscope.measures.pairs import Key, pairs_difference
from transferscope.measures.unpaired import unpaired_difference


@dataclass(frozen=True)
class Reading:
    """One number of one target. Readings of one `name` in two studies answer one `question` and may be subtracted.

    `asks` says what it is, `unit` what it counts, `judged` names the metric and `at` what else must agree (blocks of 8
    px). `shown` is its interval as the page of the study tells it. What it is made of: `scores` of the `seeds`, or
    values by `pairs` of seeds. `level`: it is a score itself, in hundredths, or an error, and no difference.
    """

    name: str
    question: str
    asks: str
    target: str
    unit: str
    shown: Interval
    seeds: tuple[int, ...]
    scores: Scores | None = None
    pairs: Mapping[Key, float] | None = None
    judged: str = ""
    at: str = ""
    level: bool = False

    @property
    def whole(self) -> Interval:
        """Its interval over everything it is known over: of scores test images too, else what is `shown`."""
        return self.shown if self.scores is None else self.scores.interval()

    def over(self, other: "Reading", *, images: bool) -> Gain | None:
        """This less `other`, paired by seed, of scores by image too where both are of the same `images`, with its
        interval for new seeds (and images); None where the two share no seeds to pair."""
        common = shared(self.seeds, other.seeds)
        if not common:
            return None
        if self.pairs is not None and other.pairs is not None:
            mine_of, theirs_of = (
                {key: value for key, value in of.items() if set(key) <= set(common)} for of in (self.pairs, other.pairs)
            )
            return _gain(pairs_difference(mine_of, theirs_of))
        mine, theirs = self._of(common, images), other._of(common, images)
        return None if mine is None or theirs is None else mine.minus(theirs).interval()

    def apart(self, other: "Reading") -> Gain:
        """This less `other`, as of studies that share neither seeds nor images."""
        return _gain(unpaired_difference(other.whole, self.whole))

    def _of(self, seeds: Sequence[int], images: bool) -> Scores | None:
        """The scores of some seeds; without `images` those of single images are left out."""
        if self.scores is None:
            return None
        places = [self.seeds.index(seed) for seed in seeds]
        parts = self.scores.parts[places] if images and self.scores.parts is not None else None
        return replace(self.scores, values=self.scores.values[places], parts=parts)


def _gain(found: Interval) -> Gain:
    """An interval over seeds as one that could be over images too."""
    return Gain(found.mean, found.low, found.high, found.n, found.note, found.again)


def shared(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The seeds over which two studies are paired: those of both, where that is all of one of them, or enough to decide
    anything."""
    common = set(first) & set(second)
    return tuple(sorted(common)) if common in (set(first), set(second)) or len(common) >= LEAST else ()


def of_scores(
    name: str, question: str, asks: str, target: str, metric: str, scores: Scores, seeds: Sequence[int], **more: Any
) -> list[Reading]:
    """The reading of `scores`, in hundredths of a metric, of these `seeds`; none without any. `more`: fields of it."""
    if not len(scores.values):
        return []
    said = {"unit": phrases.unit(metric), "shown": scores.interval(), **more}
    return [Reading(name, question, asks, target, seeds=tuple(seeds), scores=scores, judged=metric, **said)]


def of_pairs(
    name: str, question: str, asks: str, target: str, unit: str, rows: pl.DataFrame, value: str, **more: Any
) -> list[Reading]:
    """The reading of the column `value` over `rows`, pairs of networks of one kind; none without any.

    `more`: `together`, as `contrasts.of_pairs` has it, `times` what values are multiplied with, and fields of it.
    """
    together, times = more.pop("together"), more.pop("times", 1.0)
    known = rows.drop_nulls(value)
    found = {key: times * v for key, v in contrasts.by_seeds(known, value).items() if not together or key[0] != key[1]}
    if not found:
        return []
    shown = contrasts.moved(contrasts.of_pairs(known, value, together=together), times)
    seeds = tuple(sorted({seed for key in found for seed in key}))
    return [Reading(name, question, asks, target, unit, shown, seeds, pairs=found, **more)]


def by_seed(
    name: str, question: str, asks: str, target: str, unit: str, values: Mapping[int, float], **more: Any
) -> list[Reading]:
    """The reading of one value a seed that no test images stand behind; none without any."""
    seeds = tuple(sorted(values))
    if not seeds:
        return []
    scores = Scores(pl.Series([values[seed] for seed in seeds], dtype=pl.Float64).to_numpy())
    return [Reading(name, question, asks, target, unit, scores.interval(), seeds, scores, **more)]


def gain(target: str, runs: pl.DataFrame) -> list[Reading]:
    """What pretraining gained (of `outcomes.summarise`): final score and speed over those from scratch, and what the
    last quarter of the epochs still gave; where no run has learnt, nothing is read of final scores."""
    metric, unit = str(runs["metric"][0]), phrases.unit(runs["metric"][0])
    times = phrases.times(metric)
    over = gains.over_scratch(runs, "pretrained")
    word, found = phrases.word(metric), []
    if over.learnt:
        asks = f"Final test {word} {phrases.less('with pretraining', 'from scratch', metric)}"
        found += of_scores("gain", "Gain", asks, target, metric, over.points, over.seeds)
    tuned, scratch = (runs.filter(pl.col("arm") == arm) for arm in ("pretrained", "random"))
    both = tuned.drop_nulls("speed").join(scratch.drop_nulls("speed"), on="seed", suffix="_random")
    sooner = {row["seed"]: times * (row["speed"] - row["speed_random"]) for row in both.iter_rows(named=True)}
    asks = f"Training {word} averaged over the epochs, {phrases.less('with pretraining', 'from scratch', metric, '')}"
    found += by_seed("speed", "Gain", asks, target, unit, sooner, judged=metric)
    rises = {row["seed"]: times * row["rise"] for row in tuned.drop_nulls("rise").iter_rows(named=True)}
    gained = "lost" if answers.metric(metric).error else "gained"
    asks = f"Validation {word} that the pretrained arm {gained} in the last quarter of the epochs"
    return [*found, *by_seed("rise", "Train", asks, target, unit, rises, judged=metric)]


def finals(target: str, runs: pl.DataFrame) -> list[Reading]:
    """The final test score of every arm (of `outcomes.summarise`)."""
    found = []
    for (arm,), of in runs.drop_nulls("final").group_by(["arm"], maintain_order=True):
        of, metric = of.sort("seed"), str(of["metric"][0])
        how = answers.metric(metric)
        times = how.times if not how.error else -1.0  # the error itself
        scores = gains.scores([of])[0].times(times)
        shown = contrasts.moved(in_range.interval(of["final"].to_numpy(), "final", metric=metric), times)
        asks = f"Final test {answers.metric(metric).word}, {START.get(str(arm), f'from the {arm} start')}"
        found += of_scores(
            f"final/{arm}", "Scores", asks, target, metric, scores, of["seed"].to_list(), shown=shown, level=True
        )
    return found


def cka(target: str, values: pl.DataFrame, share: float) -> list[Reading]:
    """CKA over the lowest `share` of like blocks (pair, seed, seed_b, cka), for the kinds of pairs of the claim."""
    found = []
    for kind, who in ALIKE.items():
        rows = values.filter(pl.col("pair") == kind)
        asks = f"CKA of like blocks in the lowest {share:.0%} of the network, {who}"
        together = contrasts.twins(kind)
        found += of_pairs(kind, "Features", asks, target, "in CKA", rows, "cka", together=together)
    return found


ALIKE = {
    "P-T & P-T": "two fine-tuned networks",
    "P-T & P": "a fine-tuned network and its start",
    "RI-T & RI-T": "two networks from scratch",
}
START = {"pretrained": "pretrained", "random": "from scratch"}
