"""Similarity: do two networks compute the same features, block by block?

Centred kernel alignment (CKA) of every block of one network with every block of another, on the same test images.
Pairs: two seeds of an arm, every trained network and its own start, and every other arm beside P and beside P-T with
the same seed. Beside it, how well nearest neighbours in each block's features name the class. (Neyshabur, Sedghi and
Zhang 2020, section 3, table 1; CKA: Kornblith et al. 2019; the unbiased estimate over batches: Nguyen et al. 2021;
k-NN by block: Matsoukas et al. 2022.)

How to read it. 1 means the same features up to rotation and scale, 0 unrelated ones. The curve compares each block with
the same block of the other network, the map all blocks with all. Judge a value against the pair of an untrained network
and its trained self (RI-T & RI), not against 0: even random layers have much in common where images do, above all in
the first blocks. CKA sees mostly the few directions with the largest variance: a high value does not mean that a small
but decisive part is shared. The unbiased estimate may fall below 0. Numbers depend on the estimator, the number of
images and the pooling, which stand under the charts.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from transferscope.analyses._shared import contrasts, phrases, readings
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.similarity.figures import by_block, caption, maps_and_curves, vote_chart
from transferscope.analyses.similarity.findings import (
    EARLY,
    early,
    early_values,
    kept,
    undefined,
    votes_before_the_head,
)
from transferscope.analyses.similarity.options import Options
from transferscope.analyses.similarity.step import features, measure
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Section, View
from transferscope.study import Study
from transferscope.study.pairs import Point, pairs

TITLE = "Whether features are alike"


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per point (a run's start or end), in which its network runs, and one per pair, in which none does.

    So every network runs once however many pairs it is in, and a seed added later recomputes nothing.
    """
    how = options.model_dump(exclude={"checkpoint"})
    if study.example.vocabulary is not None and "pool" not in options.model_fields_set:
        how["pool"] = "mean"
    at = {"start": "start", "end": options.checkpoint}
    for target in study.targets:
        points: dict[Point, Step] = {}
        for pair in pairs(study, target):
            for point in (pair.a, pair.b):
                if point not in points:
                    points[point] = features.step(run=point.run, at=at[point.at], data=study.data(target), **how)
                    labels = {"target": target, "pair": point.name, "seed": point.seed, "seed_b": None}
                    yield labels, points[point]
            yield {"target": target, **pair.labels}, measure.step(a=points[pair.a], b=points[pair.b])


def section(table: ResultTable, options: Options) -> Section:
    """CKA of like blocks by pair, the maps, k-NN accuracy by block, and the paper's ordering of the early blocks."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No pair of networks has finished yet."])
    for target, rows in by_target(table.rows):
        maps = rows.filter(pl.col("layer_b").is_not_null()) if "layer_b" in rows.columns else rows.clear()
        if not maps.is_empty():
            like = maps.filter(pl.col("layer_a") == pl.col("layer_b")).rename({"layer_a": "block"})
            said.findings += [*early(target, like), *kept(target, like)]
            said.readings += readings.cka(target, early_values(like)[1], EARLY)
            said.charts += maps_and_curves(target, maps, like)
            said.tables.append(
                View(f"{target}-blocks", f"CKA of like blocks on {target}", by_block(like), caption(maps))
            )
            said.notes += undefined(target, like)
        if "accuracy" in rows.columns:
            votes = rows.filter(pl.col("accuracy").is_not_null()).rename({"layer_a": "block"})
            said.findings += votes_before_the_head(target, votes)
            said.charts += vote_chart(target, votes, options.neighbours)
    said.notes += contrasts.notes_on_pairs(table.rows)
    pools = [found.said["params"]["pool"] for _, found in table.artifacts if "pool" in found.said["params"]]
    return said.section(TITLE, _basis(options, pools[0] if pools else options.pool))


def _basis(options: Options, pool: str | None) -> str:
    pooled = {None: "every value of a layer", "mean": "means over space or tokens", "token": "the class token"}
    return (
        f"Features ({pooled[pool]}) of at most {options.images} test images, the same for all networks, in "
        f"eval mode with each network's own running statistics. {phrases.weights(options.checkpoint)}"
    )
