"""Mistakes in numbers: how alike the residuals of two networks are, as rows of a step and on the page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from transferscope import charts
from transferscope.analyses._shared import contrasts
from transferscope.measures import regression
from transferscope.measures.intervals import Interval
from transferscope.section import Chart, Finding, View
from transferscope.study.pairs import kind_of

KEY = "residual_correlation"
WORDS = {KEY: "correlation of residuals", "r2_a": "R² of the first", "r2_b": "R² of the second"}


def rows(a: np.ndarray, b: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """One row for all numbers, "all", then one for each: n examples, the correlation of the residuals of two networks
    (`measures.regression`; of all the mean over numbers), and the R² of each.

    `a`, `b` (outputs) and `truth` are (n, k).
    """
    found = regression.residual_correlation(a, b, truth)
    each = [_row(name, a[:, [j]], b[:, [j]], truth[:, [j]], float(found[j])) for j, name in enumerate(names)]
    known = found[np.isfinite(found)]
    return [_row("all", a, b, truth, float(known.mean()) if len(known) else float("nan")), *each]


def _row(group: str, a: np.ndarray, b: np.ndarray, truth: np.ndarray, correlation: float) -> dict[str, Any]:
    scores = {f"r2_{side}": regression.r_squared(out, truth) for side, out in (("a", a), ("b", b))}
    return {"group": group, "n": len(truth), KEY: None if np.isnan(correlation) else correlation, **scores}


def shown(target: str, every: pl.DataFrame) -> tuple[list[Finding], list[Chart], View]:
    """What the page says of one target: fine-tuned networks beside those from scratch, and every kind of pair."""
    whole = every.filter(pl.col("group") == "all").with_columns(pl.col(KEY).cast(pl.Float64))
    found = []
    if (gap := contrasts.contrast(whole, "P-T & P-T", "RI-T & RI-T", KEY)) is not None:
        tuned, scratch = (contrasts.mean(whole, kind_of(arm), KEY) for arm in ("P-T", "RI-T"))
        text = (
            f"On {target}, the residuals of two fine-tuned networks {_alike(gap)} than those of two from scratch: "
            f"their correlation is {tuned:z.2f} between two P-T and {scratch:z.2f} between two RI-T. Better networks "
            "have more in common, because nobody predicts noise."
        )
        found.append(contrasts.finding(text, gap, "in correlation"))
    charts_ = []
    means = contrasts.over_pairs(whole, [], KEY)
    if not means.is_empty():
        spec = charts.dots(
            means,
            "pair",
            KEY,
            low="low",
            high="high",
            runs=whole.select("pair", "seed", KEY).drop_nulls(),
            value_title="correlation of the residuals",
            reference=0.0,
        )
        caption = "Large: mean and 95% interval over seeds. Small: single pairs. 0: nothing in common but the truth."
        charts_.append(Chart(f"{target}-residuals", f"Agreement in residuals on {target}", spec, caption))
    table = (
        every.group_by("pair", "group", maintain_order=True)
        .agg(pl.len().alias("pairs"), *(pl.col(name).cast(pl.Float64).mean().round(3) for name in WORDS))
        .rename({"group": "number", **WORDS})
    )
    view = View(f"{target}-pairs", f"Pairs on {target}, means over seeds", table, "On all test images.")
    return found, charts_, view


def _alike(gap: Interval) -> str:
    """How a difference of correlations reads, no stronger than its interval."""
    if not gap.excludes():
        return "are not shown to be more alike, nor less,"
    return f"are {'more' if gap.mean > 0 else 'less'} alike"
