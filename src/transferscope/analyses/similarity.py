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
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from transferscope import analyses, charts
from transferscope.analyses._shared import contrasts, phrases, readings
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.work import Work
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import Point, pairs
from transferscope.tasks import costs

TITLE = "Whether features are alike"
EARLY = 1 / 3  # share of the blocks, from the input on, that count as early; at least one


class Options(analyses.OfTrained):
    """Which features are compared, on which images."""

    images: Annotated[int, Field(ge=4)] = 1024
    """Test images to compare features on, at most."""
    batch: Annotated[int, Field(ge=8)] = 128
    """Images of a batch, about; the unbiased estimate is taken over batches."""
    layers: str = "blocks"
    """Where features are taken: `blocks`, `leaves` (the innermost layers), or a pattern of layer names."""
    pool: Literal["mean", "token"] | None = None
    """What of a layer's output is compared: its `mean` over space or tokens, its class `token`, or null for every
    value; of texts, where nothing is said, the mean over tokens that are no padding."""
    neighbours: Annotated[int, Field(ge=0)] = 5
    """Nearest neighbours that vote in the k-NN accuracy; 0 leaves it out."""


@task("features", version=1, cost=costs.features, sheds={"findings": ("grams.safetensors",)})
def features(
    *,
    run: Artifact,
    at: str,
    data: Artifact,
    images: int,
    batch: int,
    layers: str,
    pool: str | None,
    neighbours: int,
    work: Work,
) -> list[dict[str, Any]]:
    """What is asked of one network on test images: its Grams (``grams.safetensors``), and rows of k-NN accuracy.

    For the latter features are averaged over space or tokens; no rows for several labels an image.
    """
    import torch

    from transferscope.probes.features.grams import grams
    from transferscope.probes.features.neighbours import neighbours as vote
    from transferscope.tasks import restore
    from transferscope.tasks.inputs import open_table

    torch.set_num_threads(work.threads)
    net, precision = restore.network(run, data, at, device=work.device), restore.said(run)["precision"]

    def batches() -> Any:
        return restore.batches(run, data, "test", size=batch, images=images, device=work.device)

    grams(net, batches(), layers, pool, precision=precision).save(work.folder / "grams.safetensors")  # type: ignore[arg-type]
    table = open_table(data.whole())
    k = min(neighbours, images - 1, len(table.rows["test"]) - 1)
    if table.labels.ndim == 2 or k < 1:
        return []
    found = vote(net, batches(), layers, "mean", k=k, precision=precision)
    return [{"layer_a": row["layer"], "accuracy": row["accuracy"]} for row in found.table().to_dicts()]


@task("similarity", version=1, cost=costs.fixed(costs.SMALL))
def measure(*, a: Artifact, b: Artifact, work: Work) -> list[dict[str, Any]]:
    """CKA of two finished `features` steps: layer_a, layer_b, cka, stderr, samples."""
    from transferscope.probes.result import load

    found = load(a.file("grams.safetensors")).similarity(load(b.file("grams.safetensors")))
    return [{**row, "samples": found.samples, "how": found.estimator} for row in found.table().to_dicts()]


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
            said.findings += [*_early(target, like), *_kept(target, like)]
            said.readings += readings.cka(target, _early_values(like)[1], EARLY)
            said.charts += _maps(target, maps, like)
            said.tables.append(View(f"{target}-blocks", f"CKA of like blocks on {target}", _wide(like), _caption(maps)))
            said.notes += _undefined(target, like)
        if "accuracy" in rows.columns:
            votes = rows.filter(pl.col("accuracy").is_not_null()).rename({"layer_a": "block"})
            said.findings += _votes(target, votes)
            said.charts += _vote_chart(target, votes, options.neighbours)
    said.notes += contrasts.notes_on_pairs(table.rows)
    pools = [found.said["params"]["pool"] for _, found in table.artifacts if "pool" in found.said["params"]]
    return said.section(TITLE, _basis(options, pools[0] if pools else options.pool))


def _basis(options: Options, pool: str | None) -> str:
    pooled = {None: "every value of a layer", "mean": "means over space or tokens", "token": "the class token"}
    return (
        f"Features ({pooled[pool]}) of at most {options.images} test images, the same for all networks, in "
        f"eval mode with each network's own running statistics. {phrases.weights(options.checkpoint)}"
    )


def _blocks(like: pl.DataFrame) -> list[str]:
    return [str(block) for block in like["block"].unique(maintain_order=True)]


def _early(target: str, like: pl.DataFrame) -> list[Finding]:
    """Claim 5: in the early blocks P-T & P-T above P-T & P, and that above every pair with RI-T."""
    early, values = _early_values(like)
    kinds = ("P-T & P-T", "P-T & P", "P-T & RI-T", "RI-T & RI-T")
    if (main := contrasts.contrast(values, kinds[0], kinds[2], "cka")) is None:
        return []
    steps = [
        contrasts.contrast(values, kinds[0], kinds[1], "cka"),
        contrasts.contrast(values, kinds[1], kinds[2], "cka"),
        contrasts.contrast(values, kinds[1], kinds[3], "cka"),
    ]
    means = [(kind, contrasts.mean(values, kind, "cka")) for kind in kinds]
    said = phrases.listed([f"{value:z.2f} for {kind}" for kind, value in means if value is not None])
    where = f"block {early[0]}" if len(early) == 1 else f"blocks {early[0]} to {early[-1]}"
    text = f"On {target}, CKA of like blocks in {where} is {said}."
    return [contrasts.judged(text, main, "in CKA", 5, steps)]


def _early_values(like: pl.DataFrame) -> tuple[list[str], pl.DataFrame]:
    """The early blocks, and the mean CKA over them of every pair."""
    names = _blocks(like)
    early = names[: max(1, round(EARLY * len(names)))]
    of = like.filter(pl.col("block").is_in(early)).group_by("pair", "seed", "seed_b", maintain_order=True)
    return early, of.agg(pl.col("cka").mean())


def _kept(target: str, like: pl.DataFrame) -> list[Finding]:
    """How much of P's features fine-tuning kept, from the first block to the last of the body."""
    own = like.filter((pl.col("pair") == "P-T & P") & pl.col("cka").is_not_null())
    names = _blocks(own)[:-1]  # the last one is the head, of which P has none
    if len(names) < 2:
        return []
    ends = [own.filter(pl.col("block") == name).sort("seed") for name in (names[0], names[-1])]
    both = ends[0].join(ends[1], on="seed", suffix="_last")
    if both.is_empty():
        return []
    fall = contrasts.interval((both["cka_last"] - both["cka"]).to_numpy())
    means = contrasts.over_seeds(own.filter(pl.col("block").is_in(names)), ["block"], "cka").sort("cka")
    first, last = contrasts.average(both["cka"]), contrasts.average(both["cka_last"])
    kept = "better than" if fall.excludes() and fall.mean < 0 else "not visibly better than"
    text = (
        f"On {target}, fine-tuning kept the features of {names[0]} (CKA with P {first:z.2f}) {kept} those of "
        f"{names[-1]} ({last:z.2f}); it changed those of {means['block'][0]} most ({means['cka'][0]:z.2f})."
    )
    return [contrasts.finding(text, fall, "in CKA")]


def _votes(target: str, votes: pl.DataFrame) -> list[Finding]:
    """Where in the network the classes come apart: k-NN accuracy before the head, for P, P-T and RI-T."""
    names = _blocks(votes)[:-1]
    if not names:
        return []
    last = votes.filter(pl.col("block") == names[-1]).with_columns(points=100 * pl.col("accuracy"))
    gap = contrasts.contrast(last, "P-T", "P", "points")
    if gap is None:
        return []
    means = {kind: contrasts.mean(last, kind, "accuracy") for kind in ("P", "P-T", "RI", "RI-T")}
    said = phrases.listed([f"{value:z.1%} for {kind}" for kind, value in means.items() if value is not None])
    text = f"On {target}, nearest neighbours in the features of {names[-1]} name the class of {said}."
    return [contrasts.finding(text, gap, "points from P to P-T")]


def _maps(target: str, maps: pl.DataFrame, like: pl.DataFrame) -> list[Chart]:
    found = []
    means = contrasts.over_seeds(like, ["block"], "cka")
    if not means.is_empty():
        runs = like.select("pair", "block", pl.format("{}-{}", "seed", "seed_b").alias("seed"), "cka").drop_nulls()
        spec = charts.lines(means, "block", "cka", "pair", runs=runs, x_title="block", y_title="CKA of like blocks")
        found.append(Chart(f"{target}-blocks", f"CKA of like blocks on {target}", spec, _caption(maps)))
    cells = maps.group_by("pair", "layer_a", "layer_b", maintain_order=True).agg(pl.col("cka").mean())
    spec = charts.heat(
        cells,
        "layer_b",
        "layer_a",
        "cka",
        domain=(0, 1),
        facet="pair",
        columns=2,
        value_title="CKA",
        x_title="block of the second network",
        y_title="block of the first",
    )
    found.append(Chart(f"{target}-maps", f"CKA of all blocks on {target}", spec, "Means over seeds. " + _caption(maps)))
    return found


def _vote_chart(target: str, votes: pl.DataFrame, k: int) -> list[Chart]:
    if votes.is_empty():
        return []
    votes = votes.with_columns(pl.col("pair").map_elements(phrases.point, pl.String))
    means = contrasts.over_seeds(votes, ["block"], "accuracy")
    runs = votes.select("pair", "block", "seed", "accuracy")
    spec = charts.lines(
        means, "block", "accuracy", "pair", runs=runs, percent=True, x_title="block", y_title=f"{k}-NN accuracy"
    )
    caption = "Features averaged over space or tokens; every image is left out of its own vote."
    return [Chart(f"{target}-neighbours", f"Nearest neighbours by block on {target}", spec, caption)]


def _caption(maps: pl.DataFrame) -> str:
    return f"Estimator: {maps['how'][0]}, on {contrasts.most(maps['samples'])} test images."


def _wide(like: pl.DataFrame) -> pl.DataFrame:
    means = like.group_by("block", "pair", maintain_order=True).agg(pl.col("cka").mean().round(3))
    return means.pivot("pair", index="block", values="cka", maintain_order=True)


def _undefined(target: str, like: pl.DataFrame) -> list[str]:
    names = _blocks(like.filter(pl.col("cka").is_null()))
    if not names:
        return []
    return [f"On {target}, CKA has no value for {phrases.listed(names)}: some network's features do not vary there."]
