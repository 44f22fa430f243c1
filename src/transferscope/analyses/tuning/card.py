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
    limit = phrases.margin(margin, runs)
    near = phrases.limit(limit, str(runs["metric"][0]))
    what = "the head alone" if one.way == PROBE else f"the {one.way}"
    worse = "lower" if phrases.below(str(runs["metric"][0])) == "below" else "higher"
    made = cards.answer(
        "Freeze",
        target,
        one.gap.interval(),
        f"{phrases.unit(runs['metric'][0])} against training everything (enough: above −{near})",
        yes=f"Train {what}: it ends about as well as training everything, for {one.work:.0%} of the work",
        no=f"Train everything: even training {what}, the costliest cheaper way, ends {worse}",
        unsure=f"Whether training {what} (for {one.work:.0%} of the work) is enough is undecided",
        limit=-limit,
        margin=True,
    )
    return [made]
