"""The card of tuning: is it enough to train a part of the network?"""

import polars as pl

from transferscope.analyses._shared import cards, phrases
from transferscope.analyses.tuning.against_full import PROBE, asked, enough
from transferscope.section import Card


def card(target: str, runs: pl.DataFrame, by_way: pl.DataFrame, margin: float) -> list[Card]:
    """The cheapest way shown to end less than `margin` points below full fine-tuning, asked from the costliest down."""
    known = asked(runs, by_way, margin)
    if not known:
        return []
    one = known[max(enough(known) - 1, 0)]
    what = "the head alone" if one.way == PROBE else f"the {one.way}"
    made = cards.answer(
        "Freeze",
        target,
        one.gap.interval(),
        f"{phrases.unit(runs['metric'][0])} against training everything (enough: above −{margin:g})",
        yes=f"Train {what}: it ends about as well as training everything, for {one.work:.0%} of the work",
        no=f"Train everything: even training {what}, the costliest cheaper way, ends lower",
        unsure=f"Whether training {what} (for {one.work:.0%} of the work) is enough is undecided",
        limit=-margin,
        margin=True,
    )
    return [made]
