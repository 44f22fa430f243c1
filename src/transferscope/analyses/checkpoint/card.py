"""The card of checkpoints: would an earlier one have done?"""

from dataclasses import replace

import polars as pl

from transferscope.analyses._shared import cards, phrases
from transferscope.analyses.checkpoint import sweep
from transferscope.measures.deciding import ERROR, LEAST
from transferscope.measures.intervals import Interval
from transferscope.section import Card


def card(target: str, runs: pl.DataFrame, margin: float) -> list[Card]:
    """How far the earliest checkpoint that does lies behind the best; where none earlier does, the last over the
    best of the earlier ones."""
    made = _at(target, runs, margin, ERROR)
    return [] if made is None else [replace(made, again=lambda error: _at(target, runs, margin, error) or made)]


def _at(target: str, runs: pl.DataFrame, margin: float, error: float) -> Card | None:
    if (got := sweep.earliest(runs, "final", margin, 1 - error)) is None:
        return None
    places, choice = got
    named = {int(place): str(name) for place, name in sweep.by_checkpoint(runs, "final").select("place", "at").rows()}
    near = phrases.limit(phrases.margin(margin, runs), str(runs["metric"][0]))
    unit = f"{phrases.unit(runs['metric'][0])} behind the best (near: less than {near})"
    last = len(places) - 1
    if choice.place is not None and choice.place < last:
        name = named[places[choice.place]]
        lead = sweep.gap(runs, places[choice.best], places[choice.place], "final")
        few = choice.n < LEAST
        behind = phrases.difference(max(0.0, float(choice.limits[choice.place])), str(runs["metric"][0]))
        sure = f"{'not sure with so few seeds' if few else f'shown with {choice.n} seeds'}: at most {behind} behind"
        text = f"An earlier checkpoint does: {name} is as good as the later ones"
        card = Card("Checkpoint", "unsure" if few else "yes", text, n=choice.n, unit=unit, sure=sure, target=target)
        if choice.place == choice.best or lead is None:  # it is not behind itself
            return card
        return replace(card, effect=lead.mean, low=lead.low, high=lead.high)
    means = sweep.by_checkpoint(runs, "final").filter(pl.col("place") != places[last]).sort("final")
    if means.is_empty():
        return None
    best = int(means["place"][-1])
    lead = sweep.gap(runs, places[last], best, "final") or Interval(0.0, None, None, 0)
    lower = "lower" if phrases.below(str(runs["metric"][0])) == "below" else "higher"
    undecided = "Undecided whether an earlier checkpoint would do"
    made = cards.answer(
        "Checkpoint",
        target,
        lead,
        f"{unit.partition(' behind')[0]}, the last checkpoint over {named[best]}",
        below=True,
        limit=phrases.margin(margin, runs),
        yes=undecided,  # one earlier checkpoint is no worse, but it was picked for that
        no=f"Take the last checkpoint: the earlier ones end {lower}",
        unsure=undecided,
    )
    made = made if made.again is None else made.again(error)
    return replace(made, light="unsure", sure="not sure: see its section") if made.light == "yes" else made
