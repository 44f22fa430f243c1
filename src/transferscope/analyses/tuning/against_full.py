"""Each way of fine-tuning against full fine-tuning: its score, its work, and whether it is enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from transferscope import answers
from transferscope.analyses._shared import contrasts, gains, outcomes, phrases
from transferscope.measures.equivalence import Outcome
from transferscope.section import Finding

PROBE, FULL, BOTH = "linear probe", "full", "probe, then full"
LORA, DECAYED = "LoRA of rank ", "full, layer decay "  # beginnings


def findings(target: str, runs: pl.DataFrame, by_way: pl.DataFrame, margin: float) -> list[Finding]:
    """The head alone, the cheapest way that is enough, the least rank of LoRA that is, layer decay, and probing first;
    `by_way`: see `means`. `margin`: how many points below full fine-tuning are still enough."""
    return [
        *_probe(target, runs),
        *_enough(target, runs, asked(runs, by_way, margin), margin),
        *_enough(target, runs, asked_lora(runs, by_way, margin), margin),
        *_decayed(target, runs),
        *_both(target, runs),
    ]


def of(way: str) -> pl.Expr:
    """The rows of a way."""
    return pl.col("way") == way


def means(runs: pl.DataFrame) -> pl.DataFrame:
    """One row a way: mean final metric with its interval, the work of full fine-tuning being 1 (null without it)."""
    work = runs.group_by("way", maintain_order=True).agg(
        pl.col("training_flops").mean(), pl.col("trained").first(), pl.col("parameters").first()
    )
    full = work.filter(of(FULL))["training_flops"]
    whole = float(full[0]) if len(full) and (full[0] or 0) > 0 else None
    share = pl.lit(None, pl.Float64) if whole is None else pl.col("training_flops") / whole
    found = outcomes.over_seeds(runs, ["way"], "test_metric")
    return found.join(work.with_columns(work=share), on="way", how="left", maintain_order="left")


def difference(runs: pl.DataFrame, way: str) -> gains.Scores | None:
    """The final metric of a way minus that of full fine-tuning in points."""
    return gains.difference(runs.filter(of(way)), runs.filter(of(FULL)), "test_metric")


def _probe(target: str, runs: pl.DataFrame) -> list[Finding]:
    points = difference(runs, PROBE)
    if points is None:
        return []
    part, full = gains.scores([runs.filter(of(way)) for way in (PROBE, FULL)], "test_metric")
    metric = runs["metric"][0]
    text = (
        f"On {target}, the final test {phrases.word(metric)} is {phrases.score(part.values.mean(), metric)} with only "
        f"the head trained and {phrases.score(full.values.mean(), metric)} with everything trained."
    )
    return [_told(text, points, phrases.unit(runs["metric"][0]))]


@dataclass(frozen=True)
class Asked:
    """A way asked whether it is enough: its share of the work and of the trained parameters, its score less full
    fine-tuning's, the answer."""

    way: str
    work: float
    trained: float
    gap: gains.Scores
    outcome: Outcome


def asked(runs: pl.DataFrame, by_way: pl.DataFrame, margin: float) -> list[Asked]:
    """Ways that freeze blocks and are cheaper than full fine-tuning, the costliest first, each held against `margin`
    points of loss."""
    cheaper = by_way.filter((pl.col("work") < 1) & ~of(FULL) & ~_begins(LORA) & ~_begins(DECAYED))
    return _held(runs, cheaper.sort("work", descending=True), margin)


def asked_lora(runs: pl.DataFrame, by_way: pl.DataFrame, margin: float) -> list[Asked]:
    """Ranks of LoRA that train fewer parameters than there are, the highest first, held as by `asked`."""
    fewer = by_way.filter(_begins(LORA) & (pl.col("trained") < pl.col("parameters")) & pl.col("work").is_not_null())
    return _held(runs, fewer.sort("trained", descending=True), margin)


def _held(runs: pl.DataFrame, ways: pl.DataFrame, margin: float) -> list[Asked]:
    found = []
    for row in ways.iter_rows(named=True):
        gap, trained = difference(runs, row["way"]), (row["trained"] or 0) / (row["parameters"] or 1)
        if gap is not None:
            outcome = gap.times(-1).against(phrases.margin(margin, runs))
            found.append(Asked(row["way"], row["work"], trained, gap, outcome))
    return found


def _begins(word: str) -> pl.Expr:
    return pl.col("way").str.starts_with(word)


def enough(known: Sequence[Asked]) -> int:
    """How many of the ways are shown to be enough: those before the first that is not."""
    return next((place for place, one in enumerate(known) if one.outcome != "within"), len(known))


def _enough(target: str, runs: pl.DataFrame, known: Sequence[Asked], margin: float) -> list[Finding]:
    """The cheapest of the ways `known` that is shown to end less than `margin` points below full fine-tuning.

    Ways are asked from the costliest down, and no further than the first that is not shown to: whatever the scores, the
    chance to call one enough that is not is at most 5% for all of them together (a fixed sequence, Maurer et al. 1995).
    """
    if not known:
        return []
    metric, passed = str(runs["metric"][0]), enough(known)
    unit = phrases.unit(metric)
    told = known[max(passed - 1, 0)]
    below = phrases.below(metric)
    way, gap, lora = told.way, told.gap, told.way.startswith(LORA)
    near = phrases.amount(phrases.margin(margin, runs), unit)
    if passed:
        most = max(0.0, gap.times(-1).most() or 0.0)
        text = (
            f"On {target}, {_said(way)} is enough, for {_price(told)} of full fine-tuning: it ends at most "
            f"{phrases.difference(most, metric)} {unit} {below} it (one-sided 95%), within the margin of {near}"
        )
        if passed < len(known):
            less = _said(known[passed].way)
            beyond = known[passed].outcome == "beyond"
            text += f"; {less} ends further {below}" if beyond else f"; whether {less} would do is undecided"
    elif known[0].outcome == "beyond":
        none = "no rank of LoRA" if lora else "no cheaper way"
        text = (
            f"On {target}, {none} is shown to be enough: even {_said(way)}, the costliest of them, ends more "
            f"than {near} {below} full fine-tuning"
        )
    else:
        what = "LoRA" if lora else "a cheaper way"
        text = (
            f"On {target}, it is undecided whether {what} is enough: {len(gap.values)} "
            f"seed{'s do' if len(gap.values) > 1 else ' does'} not tell whether {_said(way)}, the costliest of them, "
            f"ends less or more than {near} {below} full fine-tuning"
        )
    return [_told(f"{text}.", gap, f"{unit} against full fine-tuning")]


def _price(one: Asked) -> str:
    """What a way costs, as the object of a sentence: its work, of LoRA also the parameters that are trained."""
    work = f"{one.work:z.0%} of the work"
    return f"{one.trained:z.1%} of the trained parameters and {work}" if one.way.startswith(LORA) else work


def _told(text: str, points: gains.Scores, unit: str) -> Finding:
    gap = points.interval()
    return gains.with_images(contrasts.finding(text, gap, unit), gap)


def _said(way: str) -> str:
    """A way as the subject of a sentence."""
    if way.startswith(LORA):
        return way
    return "a linear probe" if way == PROBE else f"training the {way}"


def _apart(points: float, metric: str, what: str) -> str:
    """How far from full fine-tuning, in words."""
    if not points or (abs(points) < 0.05 and not answers.metric(metric).error):
        return f"level with {what}"
    side = phrases.below(metric, points > 0)
    return f"{phrases.difference(abs(points), metric)} {phrases.unit(metric)} {side} {what}"


def _decayed(target: str, runs: pl.DataFrame) -> list[Finding]:
    """Full fine-tuning with every layer decay, which costs as much, against the recipe's rates."""
    found, metric = [], str(runs["metric"][0])
    for way in runs.filter(_begins(DECAYED))["way"].unique(maintain_order=True):
        points = difference(runs, way)
        if points is not None:
            found.append(_compared(f"On {target}, {way.replace('full,', 'full fine-tuning with')}", points, metric))
    return found


def _both(target: str, runs: pl.DataFrame) -> list[Finding]:
    points = difference(runs, BOTH)
    if points is None:
        return []
    begun = f"On {target}, full fine-tuning that begins where the linear probe ended"
    return [_compared(begun, points, str(runs["metric"][0]), " from the pretrained weights")]


def _compared(begun: str, points: gains.Scores, metric: str, whence: str = "") -> Finding:
    """The sentence `begun` ended: how far from full fine-tuning, and whether the seeds tell."""
    gap = points.interval()
    clear = "" if gap.excludes(0) else ", which these seeds do not tell from no difference" if gap.n > 1 else ""
    apart = _apart(gap.mean, metric, f"full fine-tuning{whence}")
    return _told(f"{begun} comes out {apart}{clear}.", points, f"{phrases.unit(metric)} against full fine-tuning")
