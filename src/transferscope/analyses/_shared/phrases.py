"""Phrases that findings of several analyses share: names of metrics and units, of networks, and lists."""

import math
from collections.abc import Sequence

import polars as pl

from transferscope import answers
from transferscope.measures import rounding
from transferscope.measures.intervals import Interval

CHOSEN = "scored best on the validation images"
CHOSEN_ON_TEST = "scored best on the test images themselves (recipe.best_on: test)"


def weights(checkpoint: str) -> str:
    """Which weights of the trained networks were compared, as a sentence."""
    said = {
        "best": f"weights of the epoch that {CHOSEN}",
        "ema": "moving average of the weights (running statistics averaged too)",
    }
    return f"Trained networks have the {said.get(checkpoint, 'weights of the last epoch')}."


def deviation(rows: pl.DataFrame) -> float:
    """What a score of these rows ranges over, of which a point is a hundredth: 1, of an error the deviation of the
    numbers in training, in their units."""
    return float(rows["deviation"][0]) if answers.metric(str(_metric(rows))).error else 1.0


def threshold(share: float, rows: pl.DataFrame) -> float:
    """A share of what a score of these rows ranges over, in the score: itself, of an error of its `deviation`, to three
    digits."""
    return float(f"{share * deviation(rows):.3g}") if answers.metric(str(_metric(rows))).error else share


def margin(points: float, rows: pl.DataFrame) -> float:
    """So many points in what differences of these rows' scores are told in: themselves, of an error such a share."""
    return threshold(points / 100, rows) if answers.metric(str(_metric(rows))).error else points


def _metric(rows: pl.DataFrame) -> object:
    return rows["measure" if "measure" in rows.columns else "metric"][0]


def word(metric: str) -> str:
    """The metric in a sentence."""
    return answers.metric(metric).word


def unit(metric: str) -> str:
    """What a difference in the metric is counted in: a hundredth of it, of an error its units."""
    return answers.metric(metric).unit


def hundredths(metric: str) -> str:
    """The same in one word, where it is clear of what."""
    return "points" if percent(metric) else "units" if answers.metric(metric).error else "hundredths"


def times(metric: str) -> float:
    """What a difference of scores is multiplied with to be told in `unit`."""
    return answers.metric(metric).times


def percent(metric: str) -> bool:
    """Whether the metric is told in percent."""
    return answers.metric(metric).share


def score(value: float, metric: str) -> str:
    """A value of the metric in a sentence: "61.3%" of a share, "0.613" of others, an error to three digits."""
    if answers.metric(metric).error:
        return error(-value)
    return f"{value:z.1%}" if percent(metric) else f"{value:z.3f}"


def limit(points: float, metric: str) -> str:
    """A threshold in `unit`: as it was given, of an error to three digits."""
    return f"{points:.3g}" if answers.metric(metric).error else f"{points:g}"


def risen(gain: float, metric: str) -> str:
    """How far a score rose (an error fell), in a sentence: "1.3%", "0.013"."""
    return error(gain) if answers.metric(metric).error else score(gain, metric)


def error(value: float) -> str:
    """An error, or a difference of errors, to three digits at least: "0.0213", "12.3", "4,213"."""
    return f"{value:z,.{_three_digits(abs(value) if value and math.isfinite(value) else 1.0)}f}"


def difference(value: float, metric: str) -> str:
    """A difference in `unit` in a sentence: "1.3", of an error to three digits."""
    return error(value) if answers.metric(metric).error else f"{value:z.1f}"


def signed(value: float, metric: str) -> str:
    """The same with its sign, "+1.3"."""
    return f"{value:+z.1f}" if not answers.metric(metric).error else f"{'+' if value >= 0 else ''}{error(value)}"


def interval(found: Interval, metric: str) -> str:
    """A difference in `unit` with its interval, in a sentence or a table."""
    return found.text(places(metric, found.mean, found.low, found.high))


def places(metric: str, *values: float | None, usual: int = 1) -> int:
    """Decimals of values in a table: `usual`, of an error as many as three digits of the largest take."""
    if not answers.metric(metric).error:
        return usual
    size = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return _three_digits(size) if size else 0


def _three_digits(size: float) -> int:
    """The decimals that three digits of a number above 0 take, at most 12."""
    return min(12, max(0, 2 - math.floor(math.log10(size))))


def upright(rows: pl.DataFrame, value: str, metric: str) -> pl.DataFrame:
    """Scores, with their ends `low` and `high` where there are any, as a reader knows them: errors are positive."""
    if not answers.metric(metric).error:
        return rows
    ends = {"low": "high", "high": "low"} if {"low", "high"} <= set(rows.columns) else {}
    return rows.with_columns(-pl.col(value), *((-pl.col(other)).alias(name) for name, other in ends.items()))


def axis(metric: str) -> str:
    """The metric as the title of an axis, which says where lower is better."""
    return f"{word(metric)}, lower is better" if answers.metric(metric).error else word(metric)


def lower(gain: float, metric: str) -> str:
    """Of an error how far a gain lowers it, to end a sentence: ", 0.8 lower"; of other metrics nothing."""
    if not answers.metric(metric).error or not gain:
        return ""
    return f", {error(abs(gain))} {'lower' if gain > 0 else 'higher'}"


def compared(gain: float, metric: str) -> str:
    """Where a score stands that is better by `gain`: "higher than", of an error "lower than"."""
    words = ("higher than", "lower than")
    better, worse = words[::-1] if answers.metric(metric).error else words
    return better if gain > 0 else worse if gain < 0 else "the same as"


def less(first: str, second: str, metric: str, that: str = "that ") -> str:
    """A difference that is above 0 where the first is better: "a less that b", of an error "b less that a"."""
    better, other = (second, first) if answers.metric(metric).error else (first, second)
    return f"{better} less {that}{other}"


def below(metric: str, better: bool = False) -> str:
    """On which side a worse (or `better`) score lies: "below", of an error "above"."""
    return "above" if better != answers.metric(metric).error else "below"


def amount(points: float, unit: str) -> str:
    """A number of points with their unit: "1 point", "0.5 points of AUC"."""
    return f"{points:g} {rounding.of_one(unit) if points == 1 else unit}"


def point(name: str) -> str:
    """A point for a legend, where start and end of an arm need colours of their own: "P (start)", "P-T"."""
    return name if name.endswith("-T") else f"{name} (start)"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
