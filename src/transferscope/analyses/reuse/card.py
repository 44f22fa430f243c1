"""The card of feature reuse: are it features, or the scale of the weights?"""

import polars as pl

from transferscope.analyses._shared import cards, gains, phrases
from transferscope.analyses.reuse.findings import of_arm
from transferscope.section import Card


def card(target: str, runs: pl.DataFrame) -> list[Card]:
    """What pretrained weights score beyond random ones with the same means and variances, paired by seed."""
    points = gains.difference(runs.filter(of_arm("pretrained")), runs.filter(of_arm("stats")))
    if points is None:
        return []
    higher = "higher" if phrases.below(str(runs["metric"][0])) == "below" else "lower"
    return [
        cards.answer(
            "Why",
            target,
            points.interval(),
            f"{phrases.unit(runs['metric'][0])} beyond random weights of the same scale",
            yes="Features: pretrained weights end above random ones of the same scale",
            no=f"Not features: random weights of the same scale end {higher}",
            unsure="Features are not told from the scale of the weights",
        )
    ]
