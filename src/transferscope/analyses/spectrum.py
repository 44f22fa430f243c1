"""Spectrum: which directions of the weights training kept, and how many there are.

Singular values of every weight matrix (a convolution as a matrix of outputs by inputs and places of the kernel), their
effective rank, and how far two networks share the leading singular directions of the input. Pairs: two seeds of an arm,
every trained network and its own start, and every other arm beside P and beside P-T with the same seed. (Neyshabur,
Sedghi and Zhang 2020, appendix; effective rank: Roy and Vetterli 2007.)

How to read it. The *excess* overlap is 0 for random directions and 1 for the same ones: it measures whether training
kept the leading directions of its start. The *effective rank* is the number of equal singular values that would be as
spread out; a network that has learned few directions has a lower one than its random start. Overlap is taken over a few
leading directions only and says nothing about the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, phrases
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import AND, sides
from transferscope.tasks import costs

TITLE = "Which directions of the weights are kept"
POINTS = 100  # of a spectrum that is drawn, at most


class Options(analyses.OfTrained):
    """Which weights are taken apart, and how many directions are compared."""

    directions: Annotated[int, Field(ge=1)] = 10
    """Leading directions compared per weight matrix, at most a quarter of its smaller side."""
    drawn: Annotated[int, Field(ge=1)] | Literal["blocks"] = 4
    """Weights whose singular values are drawn, from the first to the last; `blocks` draws one of every block, that with
    the most values."""


@task("spectrum", version=1, cost=costs.fixed(costs.FACTORED))
def measure(
    *, a: Artifact, a_at: str, b: Artifact, b_at: str, data: Artifact, directions: int, work: Work
) -> list[dict[str, Any]]:
    """Rows of `ts.spectrum`, one a weight matrix; the whole result is written as ``spectrum.safetensors``."""
    import torch

    from transferscope.probes.weights.spectrum import spectrum
    from transferscope.tasks import restore

    torch.set_num_threads(work.threads)
    found = spectrum(restore.weights(a, a_at), restore.weights(b, b_at), k=directions, like=restore.bare(a, data))
    found.save(work.folder / "spectrum.safetensors")
    return found.table().to_dicts()


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per pair."""
    yield from contrasts.steps(study, measure, options.checkpoint, directions=options.directions)


def section(table: ResultTable, options: Options) -> Section:
    """Overlap of leading directions by weight, effective ranks of starts and ends, and a few spectra."""

    def of_target(target: str, rows: pl.DataFrame) -> tuple[list[Finding], list[Chart], View]:
        title = f"Leading directions on {target}, means over weights and seeds"
        drawn = [*_charts(target, rows), *_spectra(target, table, options.drawn)]
        return (
            [*_overlap(target, rows), *_rank(target, rows)],
            drawn,
            View(f"{target}-pairs", title, _summary_table(rows)),
        )

    basis = f"{phrases.weights(options.checkpoint)} No image is looked at; singular values in float64."
    return contrasts.section(TITLE, table.rows, of_target, basis=basis)


def _per_pair(rows: pl.DataFrame, *values: str) -> pl.DataFrame:
    """Means over weights, one row per pair of runs."""
    return rows.group_by("pair", "seed", "seed_b", maintain_order=True).agg(*(pl.col(v).mean() for v in values))


def _overlap(target: str, rows: pl.DataFrame) -> list[Finding]:
    values = _per_pair(rows, "overlap", "expected", "excess")
    own = values.filter(pl.col("pair") == "P-T & P").drop_nulls(["overlap", "expected", "excess"])
    if own.is_empty():
        return []
    kept, chance = contrasts.average(own["overlap"]), contrasts.average(own["expected"])
    other = contrasts.mean(values, "RI-T & RI", "overlap")
    scratch = f" and RI-T {other:z.0%} with its own start" if other is not None else ""
    text = (
        f"On {target}, P-T shares {kept:z.0%} of its leading input directions with P{scratch}, where random directions "
        f"would share {chance:z.0%}."
    )
    return [contrasts.finding(text, contrasts.interval(own["excess"].to_numpy()), "excess overlap")]


def _rank(target: str, rows: pl.DataFrame) -> list[Finding]:
    """The change of effective rank from start to end, pretrained against random."""
    ratio = pl.when(pl.col("rank_b") > 0).then(pl.col("rank_a") / pl.col("rank_b"))
    share = rows.with_columns(change=100 * (ratio - 1))
    values = _per_pair(share, "change")
    gap = contrasts.contrast(values, "P-T & P", "RI-T & RI", "change")
    tuned, scratch = (contrasts.mean(values, kind, "change") for kind in ("P-T & P", "RI-T & RI"))
    if gap is None or tuned is None or scratch is None:
        return []
    text = (
        f"On {target}, training changes the effective rank of the weights by {tuned:+z.1f}% from P and by "
        f"{scratch:+z.1f}% from a random start."
    )
    return [contrasts.finding(text, gap, "points")]


def _by_block(rows: pl.DataFrame, value: str) -> pl.DataFrame:
    """Means over the weights of each block, one row per pair of runs and block."""
    return rows.group_by("pair", "seed", "seed_b", "block", maintain_order=True).agg(pl.col(value).mean())


def _charts(target: str, rows: pl.DataFrame) -> list[Chart]:
    found = []
    means = contrasts.over_pairs(_by_block(rows, "excess"), ["block"], "excess")
    if not means.is_empty():
        spec = charts.lines(means, "block", "excess", "pair", x_title="block", y_title="excess overlap", reference=0.0)
        caption = (
            f"Up to {contrasts.most(rows['k'])} leading directions of the input, means over the weights of a block. 0: "
            "as random directions; 1: the same."
        )
        found.append(Chart(f"{target}-overlap", f"Shared leading directions on {target}", spec, caption))
    own = rows.filter(pl.col("pair").map_elements(_own_start, pl.Boolean))
    sides = [
        own.select(
            pl.col("pair").str.split(AND).list.get(place).map_elements(phrases.point, pl.String).alias("pair"),
            "seed",
            "seed_b",
            "block",
            pl.col(f"rank_{side}").alias("rank"),
        )
        for place, side in enumerate("ab")
    ]
    ranks = contrasts.over_pairs(_by_block(pl.concat(sides), "rank"), ["block"], "rank")
    if not ranks.is_empty():
        spec = charts.lines(ranks, "block", "rank", "pair", x_title="block", y_title="effective rank")
        caption = (
            "Means over the weights of a block and over seeds, at the start and at the end. A rank is at most the "
            "smaller side of its weight: compare a block with itself."
        )
        found.append(Chart(f"{target}-rank", f"Effective rank on {target}", spec, caption))
    return found


def _own_start(kind: str) -> bool:
    """Whether a kind of pair is a trained network and its own start."""
    a, b = sides(kind)
    return a == f"{b}-T"


def _spectra(target: str, table: ResultTable, drawn: int | str) -> list[Chart]:
    """Singular values of a few weights of one seed, for the start and the end of every arm."""
    parts: list[pl.DataFrame] = []
    done: set[str] = set()
    seed = None
    for labels, artifact in table.artifacts:
        kind = str(labels["pair"])
        if labels["target"] != target or not _own_start(kind) or kind in done:
            continue
        done.add(kind)
        seed = labels["seed"] if seed is None else seed
        arrays = artifact.arrays("spectrum")
        for title, name in _named(artifact.rows, arrays, drawn):
            for side, point in zip("ab", sides(kind), strict=True):
                values = arrays[f"values_{side}/{name}"]
                shown = np.unique(np.linspace(0, len(values) - 1, min(POINTS, len(values))).round().astype(int))
                part = {
                    "weight": title,
                    "point": phrases.point(point),
                    "place": (shown + 1) / len(values),
                    "value": values[shown],
                }
                parts.append(pl.DataFrame(part))
    if not parts:
        return []
    spec = charts.lines(
        pl.concat(parts),
        "place",
        "value",
        "point",
        facet="weight",
        columns=2,
        height=180,
        x_title="rank over the number of values",
        y_title="singular value",
    )
    which = (
        "of every block the weight with the most values" if drawn == "blocks" else "weights from the first to the last"
    )
    caption = f"Seed {seed}, {which}."
    return [Chart(f"{target}-spectra", f"Singular values on {target}", spec, caption)]


def _named(rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any], drawn: int | str) -> list[tuple[str, str]]:
    """(title, weight) of the weights that are drawn."""
    names = [str(row["weight"]) for row in rows]
    if isinstance(drawn, int):
        count = min(drawn, len(names))
        chosen = [names[round(i * (len(names) - 1) / max(1, count - 1))] for i in range(count)]
        return list(zip(chosen, chosen, strict=True))
    largest: dict[str, str] = {}
    for row, name in zip(rows, names, strict=True):
        held = largest.setdefault(str(row["block"]), name)
        if len(arrays[f"values_a/{name}"]) > len(arrays[f"values_a/{held}"]):
            largest[str(row["block"])] = name
    return list(largest.items())


def _summary_table(rows: pl.DataFrame) -> pl.DataFrame:
    values = ("overlap", "expected", "excess", "rank_a", "rank_b")
    return rows.group_by("pair", maintain_order=True).agg(*(pl.col(v).mean().round(3) for v in values))
