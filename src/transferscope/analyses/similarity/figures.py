"""The charts of the similarity of features, block by block and all blocks with all, and its table."""

import polars as pl

from transferscope import charts
from transferscope.analyses._shared import contrasts, phrases
from transferscope.section import Chart


def maps_and_curves(target: str, maps: pl.DataFrame, like: pl.DataFrame) -> list[Chart]:
    found = []
    means = contrasts.over_pairs(like, ["block"], "cka")
    if not means.is_empty():
        runs = like.select("pair", "block", pl.format("{}-{}", "seed", "seed_b").alias("seed"), "cka").drop_nulls()
        spec = charts.lines(means, "block", "cka", "pair", runs=runs, x_title="block", y_title="CKA of like blocks")
        found.append(Chart(f"{target}-blocks", f"CKA of like blocks on {target}", spec, caption(maps)))
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
    found.append(Chart(f"{target}-maps", f"CKA of all blocks on {target}", spec, "Means over seeds. " + caption(maps)))
    return found


def vote_chart(target: str, votes: pl.DataFrame, k: int) -> list[Chart]:
    if votes.is_empty():
        return []
    votes = votes.with_columns(pl.col("pair").map_elements(phrases.point, pl.String))
    means = contrasts.over_pairs(votes, ["block"], "accuracy")
    runs = votes.select("pair", "block", "seed", "accuracy")
    spec = charts.lines(
        means, "block", "accuracy", "pair", runs=runs, percent=True, x_title="block", y_title=f"{k}-NN accuracy"
    )
    caption = "Features averaged over space or tokens; every image is left out of its own vote."
    return [Chart(f"{target}-neighbours", f"Nearest neighbours by block on {target}", spec, caption)]


def caption(maps: pl.DataFrame) -> str:
    return f"Estimator: {maps['how'][0]}, on {contrasts.most(maps['samples'])} test images."


def by_block(like: pl.DataFrame) -> pl.DataFrame:
    means = like.group_by("block", "pair", maintain_order=True).agg(pl.col("cka").mean().round(3))
    return means.pivot("pair", index="block", values="cka", maintain_order=True)
