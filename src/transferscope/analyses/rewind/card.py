"""The card of rewinding: which of the lowest blocks may stay frozen?"""

from collections.abc import Mapping

import polars as pl

from transferscope.analyses._shared import cards, contrasts, per_block, phrases
from transferscope.analyses._shared.advice import ONE, advice
from transferscope.measures.equivalence import equivalence_level
from transferscope.measures.intervals import Interval
from transferscope.section import Card


def card(target: str, alone: pl.DataFrame, bottom: pl.DataFrame, threshold: float) -> list[Card]:
    """The blocks of the pretrained arm, counted from the bottom, that go back together without harm.

    `alone` and `bottom` hold its blocks rewound alone and together; without the latter there is no card.
    """
    body, losses = per_block.order(alone)[:-1], per_block.intervals(bottom, "drop")
    if not body or not any(name in losses for name in body):
        return []
    decided = per_block.intervals(bottom, "drop", equivalence_level())
    count = _count(body, decided, threshold)
    upto = body[max(count, 1) - 1]
    if upto not in losses:
        return []
    modules = dict(zip(alone["block"], alone["modules"], strict=True))
    names = [module for block in body[: max(count, 1)] for module in str(modules[block]).split(", ")]
    which = f"the lowest {count} of {len(body)} blocks" if count > 1 else "the lowest block"
    times = phrases.times(alone["metric"][0])
    most = phrases.limit(times * threshold, str(alone["metric"][0]))
    named = cards.modules(names)
    unit = f"{phrases.unit(alone['metric'][0])} lost with them at their start (harmless: up to {most})"
    effect = contrasts.moved(losses[upto], times)
    made = cards.answer(
        "Freeze",
        target,
        effect,
        unit,
        yes=f"Freeze {which} ({named}): going back to the start costs next to nothing",
        no=f"Freeze nothing: already the lowest block ({named}) is needed as trained",
        unsure=f"Freezing {which} ({named}) is not shown to be harmless" if effect.n > 1 else f"Blocks: {ONE}",
        limit=times * threshold,
        below=True,
        margin=True,
        advice="Code to paste stands in the section; the analysis tuning tests it by training.",
    )
    return [made]


def _count(body: list[str], losses: Mapping[str, Interval], threshold: float) -> int:
    """How many blocks from the bottom are harmless, up to the first that is not shown to be."""
    count = 0
    for place, name in enumerate(body, 1):
        if name in losses and "safe" not in advice(losses[name], threshold):
            break
        count = place if name in losses else count
    return count
