"""Last loss: how low the test loss of every arm is after the last epoch.

How to read it. Each bar is the mean over seeds of the test cross-entropy, in nats, after the last epoch, on the images
that are watched after every epoch. Lower is better; a loss can rise while the accuracy does too.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from transferscope import analyses, charts
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.section import Chart, Finding, Section
from transferscope.study import Study

TITLE = "The last loss"


class Options(analyses.Options):
    """`arms` to look at; all of the study's when none is named."""

    arms: list[str] = []  # noqa: RUF012 (pydantic copies it)


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """The training run of every target, arm and seed."""
    for target in study.targets:
        for arm in options.arms or study.arms:
            for seed in study.seeds:
                yield {"target": target, "arm": arm, "seed": seed}, study.run(target, arm, seed)


def section(table: ResultTable, options: Options) -> Section:
    """One bar and one sentence an arm."""
    if "test_loss" not in table.rows.columns:  # nothing is done yet
        return Section(TITLE, notes=["No run has finished yet."])
    last = table.rows.filter(pl.col("epoch") == pl.col("epoch").max().over("target", "arm", "seed"))
    last = last.drop_nulls("test_loss").select("target", "arm", "seed", "test_loss")
    if last.is_empty():
        return Section(TITLE, notes=["No run has a test loss."])
    means = last.group_by("target", "arm", maintain_order=True).agg(pl.col("test_loss").mean(), n=pl.len())
    drawn = charts.bars(means, "arm", "test_loss", "arm", facet="target", value_title="test loss after the last epoch")
    return Section(
        TITLE,
        findings=[
            Finding(f"On {target}, the test loss of {arm} ends at {loss:.3g}.", effect=loss, n=n)
            for target, arm, loss, n in means.iter_rows()
        ],
        charts=[Chart("last-loss", TITLE, drawn)],
        basis="Losses are of the images watched after every epoch, with the weights of the last.",
    )
