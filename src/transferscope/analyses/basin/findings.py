"""Whether a pair lies in one basin, in a sentence: which conditions hold, with which margins."""

import math

import polars as pl

from transferscope import answers
from transferscope.analyses._shared import contrasts, phrases
from transferscope.section import Finding
from transferscope.study.pairs import sides

SURE = 2.0  # standard errors


UNITS = {  # of a loss: times what, and called how
    "error": (100.0, "points of error"),
    "unexplained variance": (100.0, "hundredths of the variance"),
    "squared error": (1.0, "squared deviations"),
}


OWN = {"at": "at the networks", "own": "with own statistics"}


EXTENT = {
    "could not be extended": "Beyond the networks themselves the segment has no length: it could not be extended",
    "a plateau": "The loss was the same wherever it was asked for, a plateau without walls, so the basin has no size",
}


CONDITIONS = {"noise": "with noise in every weight", "beyond": "when one goes on past the ends"}


def last(rows: pl.DataFrame) -> pl.DataFrame:
    """One row a pair, at the largest delta tried (the one found where there is one), with both margins over 2 epsilon.

    `noise_sure` and `beyond_sure` are the margins drawn towards 0 by two standard errors of their draws.
    """
    rows = rows.with_columns(pl.col("found_delta").cast(pl.Float64))  # all null where no pair has one
    of = rows.sort("delta").group_by("pair", "seed", "seed_b", maintain_order=True).last()
    margins = [(pl.col(name) - pl.col("twice_epsilon")).alias(f"{name}_margin") for name in CONDITIONS]
    of = of.with_columns(margins)
    sure = [
        (pl.col(f"{n}_margin").sign() * (pl.col(f"{n}_margin").abs() - SURE * pl.col(f"{n}_error")).clip(0)).alias(
            f"{n}_sure"
        )
        for n in CONDITIONS
    ]
    return of.drop_nulls(["epsilon", "first_end", "second_end", *CONDITIONS]).with_columns(sure).sort("pair", "seed")


def unit(loss: str) -> tuple[float, str]:
    """What a loss is multiplied with to be told, and what it is then counted in; a metric lacks that of its best."""
    if loss in answers.METRICS:
        return answers.METRICS[loss].times, answers.METRICS[loss].unit
    return UNITS.get(loss, (1.0, "nats"))


def word(loss: str) -> str:
    """A loss in a sentence: an error is one, of other metrics it is what they lack of their best."""
    how = answers.METRICS.get(loss)
    return loss if how is None else how.word if how.error else f"loss of {how.word}"


def basin(target: str, kind: str, of: pl.DataFrame) -> Finding:
    """Claim 8, from the pairs of one kind."""
    together = contrasts.twins(kind)
    count, held = of.height, of.drop_nulls("found_delta")
    (times, counted), loss = unit(of["loss"][0]), word(of["loss"][0])
    epsilon = contrasts.average(of["epsilon"]) * times
    who = " and ".join(sides(kind))
    reach = contrasts.average((of["second_end"] - of["first_end"] - 1) / 2)
    where = f"On {target}, the segment between {who}, extended by {reach:z.0%} of its length past either end"
    if open_ := 2 * count - int(of["first_reached"].sum()) - int(of["second_reached"].sum()):
        where += f" (at {open_} of {2 * count} ends the search stopped with the {loss} still low)"
    if held.height:
        delta = contrasts.average(held["found_delta"])
        each = delta / math.sqrt(held["size"][0] or math.inf)  # of no weight at all
        sure = int(held["sure"].sum())
        pairs = "" if sure in (0, count) else f" for {sure} of {count} pairs"
        some = "" if held.height == count else f" for {held.height} of {count} pairs"
        verb = (
            f"is a basin{pairs}" if sure else f"may be a basin{some}, but its walls are not clear of the draws' noise"
        )
        text = f"{where}, {verb}: epsilon is {epsilon:.2g} {counted}, delta {delta:.3g} ({each:.2g} per weight)"
    else:
        text = f"{where}, is NOT shown to be a basin: epsilon is {epsilon:.2g} {counted}, and no delta tried is enough"
        failing = sorted({part for text in of["failing"] if text for part in text.split("; ")})
        text += f", for {phrases.listed(failing)} fails" if failing else ""
    short = counted.split()[0] if counted.startswith(("points", "hundredths")) else counted
    short = "" if answers.metric(of["loss"][0]).error else f" {short}"  # an error is its own unit
    rise = [f"{times * contrasts.average(of[n]):.2g}{short} {way}" for n, way in CONDITIONS.items()]
    text += f"; the {loss} rises by {phrases.listed(rise)}."
    for told in ("could not be extended", "a plateau"):
        such = of.filter(pl.col("told").str.contains(told)).height if "told" in of.columns else 0
        if such:
            text += f" {EXTENT[told]}{'' if such == count else f' ({such} of {count} pairs)'}."
    effects = [contrasts.of_pairs(of, f"{name}_sure", together=together) for name in CONDITIONS]
    of = of.with_columns(least=pl.min_horizontal("noise_margin", "beyond_margin"))
    shown = contrasts.moved(contrasts.of_pairs(of, "least", together=together), times)
    said = f"{counted} over 2 epsilon, the smaller of both margins"
    return (
        contrasts.judged(text, shown, said, 8, effects) if kind == "P-T & P-T" else contrasts.finding(text, shown, said)
    )
