"""Each way of fine-tuning against full fine-tuning: its score, its work, and whether it is enough."""

import polars as pl

from transferscope.analyses._shared import contrasts, outcomes, phrases
from transferscope.measures.intervals import Interval, paired_interval
from transferscope.section import Finding

PROBE, FULL, BOTH = "linear probe", "full", "probe, then full"


def told(target: str, runs: pl.DataFrame, by_way: pl.DataFrame, margin: float) -> list[Finding]:
    """The head alone, the cheapest way that is enough, and probing first; `by_way`: see `means`. `margin`: how many
    points below full fine-tuning still count as enough."""
    return [*_probe(target, runs), *_enough(target, runs, by_way, margin), *_both(target, runs)]


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


def difference(runs: pl.DataFrame, way: str) -> Interval | None:
    """The final metric of a way minus that of full fine-tuning in points."""
    part, full = outcomes.paired(runs, of(way), of(FULL), "test_metric")
    return paired_interval(100 * part, 100 * full) if len(part) else None


def _probe(target: str, runs: pl.DataFrame) -> list[Finding]:
    gap = difference(runs, PROBE)
    if gap is None:
        return []
    part, full = outcomes.paired(runs, of(PROBE), of(FULL), "test_metric")
    text = (
        f"On {target}, the final test {phrases.word(runs['metric'][0])} is {part.mean():z.1%} with only the head "
        f"trained and {full.mean():z.1%} with everything trained."
    )
    return [contrasts.told(text, gap, phrases.unit(runs["metric"][0]))]


def _enough(target: str, runs: pl.DataFrame, by_way: pl.DataFrame, margin: float) -> list[Finding]:
    """The cheapest way that is not seen to be worse than full fine-tuning."""
    unit = phrases.unit(runs["metric"][0])
    cheaper = by_way.filter((pl.col("work") < 1) & ~of(FULL)).sort("work")
    costs = cheaper.select("way", "work").iter_rows()
    gaps = [(str(way), float(work), difference(runs, str(way))) for way, work in costs]
    known = [(way, work, gap) for way, work, gap in gaps if gap is not None]
    if not known:
        return []
    for way, work, gap in known:
        if gap.mean < -margin or (gap.excludes(0) and gap.mean < 0):
            continue
        text = f"On {target}, {_said(way)} is enough, for {work:z.0%} of the work of full fine-tuning: "
        if gap.low is None:
            text += f"with one seed it ends {_apart(gap.mean, unit)}."
        elif gap.mean > 0 and gap.excludes(0):
            text += f"it even ends {_apart(gap.mean, unit)}."
        else:
            text += f"it ends {_apart(gap.mean, unit)}, which {gap.n} seeds do not tell from no difference."
        return [contrasts.told(text, gap, f"{unit} against full fine-tuning")]
    way, _, gap = max(known, key=lambda one: one[2].mean)
    text = (
        f"On {target}, no cheaper way is enough: the best of them, {_said(way)}, ends {_apart(gap.mean, unit)} "
        f"on average."
    )
    return [contrasts.told(text, gap, f"{unit} against full fine-tuning")]


def _said(way: str) -> str:
    """A way as the subject of a sentence."""
    return "a linear probe" if way == PROBE else f"training the {way}"


def _apart(points: float, unit: str, what: str = "it") -> str:
    """How far from full fine-tuning, in words."""
    if abs(points) < 0.05:
        return f"level with {what}"
    return f"{abs(points):z.1f} {unit} {'above' if points > 0 else 'below'} {what}"


def _both(target: str, runs: pl.DataFrame) -> list[Finding]:
    gap = difference(runs, BOTH)
    if gap is None:
        return []
    unit = phrases.unit(runs["metric"][0])
    clear = "" if gap.excludes(0) else ", which these seeds do not tell from no difference" if gap.n > 1 else ""
    apart = _apart(gap.mean, unit, "full fine-tuning from the pretrained weights")
    text = f"On {target}, full fine-tuning that begins where the linear probe ended comes out {apart}{clear}."
    return [contrasts.told(text, gap, f"{unit} against full fine-tuning")]
