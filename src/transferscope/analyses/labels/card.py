"""The card of labels: how many labelled images is pretraining worth?"""

import math
from collections.abc import Mapping

import polars as pl

from transferscope.analyses._shared import cards, gains, phrases
from transferscope.analyses.labels.worth import by_budget, of
from transferscope.measures.intervals import Interval
from transferscope.measures.power_law import Worth
from transferscope.section import Card


def card(target: str, runs: pl.DataFrame, worths: Mapping[int, Worth]) -> list[Card]:
    """The worth of the largest number of labels at which training from scratch gets there with the images there are;
    where it never does, what fine-tuning on the fewest scores over training from scratch on all."""
    inside = {images: read for images, read in worths.items() if read.size is not None}
    if inside:
        images = max(inside)
        made = cards.answer(
            "Labels",
            target,
            _needed(runs, images, inside[images]),
            f"labels from scratch for the score of {images:,} with pretraining",
            yes=f"Pretraining saves labels: with it, {images:,} do what takes more from scratch",
            no=f"Pretraining costs labels: with it, {images:,} do less than as many from scratch",
            unsure=f"Pretraining is not shown to save labels at {images:,}",
            limit=float(images),
        )
        return [made]
    random = runs.filter(pl.col("arm") == "random")
    beyond = [images for images, read in worths.items() if read.side == "beyond"]
    if not beyond or random.is_empty():
        return []
    few, most = min(beyond), int(max(random["images"].to_list()))
    points = gains.difference(runs.filter(of("pretrained", few)), runs.filter(of("random", most)), "test_metric")
    if points is None:
        return []
    below = phrases.below(str(runs["metric"][0]))
    made = cards.answer(
        "Labels",
        target,
        points.interval(),
        f"{phrases.unit(runs['metric'][0])}, {few:,} labels with pretraining against {most:,} from scratch",
        yes=f"Pretraining saves more labels than can be told: {few:,} with it beat all {most:,} from scratch",
        no=f"Pretraining saves no labels: {few:,} with it end {below} all {most:,} from scratch",
        unsure=f"{few:,} labels with pretraining are not told from all {most:,} from scratch",
    )
    return [made]


def _needed(runs: pl.DataFrame, images: int, read: Worth) -> Interval:
    """The labels from scratch that a number of images with pretraining is worth, at whatever level it is asked."""

    def at(level: float) -> Interval:
        found = by_budget(runs, level)[images]
        return Interval(found.size or math.nan, found.low, found.high, found.seeds)

    open_end = read.seeds > 1 and (read.low is None or read.high is None)
    note = "it reaches beyond the numbers of labels tried" if open_end else ""
    return Interval(read.size or math.nan, read.low, read.high, read.seeds, note, again=at)
