"""Cards: how an interval becomes a short answer for the first screen, no stronger than the interval."""

import math
from collections.abc import Sequence
from dataclasses import replace

from transferscope.measures.deciding import ERROR, LEAST
from transferscope.measures.intervals import ALIKE, Interval
from transferscope.section import Card, Light, Question

NAMED = 4  # modules named in a headline; of more the first and the last


def answer(
    question: Question,
    target: str,
    effect: Interval,
    unit: str,
    *,
    yes: str,
    no: str,
    unsure: str,
    limit: float = 0.0,
    below: bool = False,
    margin: bool = False,
    advice: str = "",
    counted: str = "seeds",
) -> Card:
    """The card whose light says on which side of `limit` the whole interval lies.

    "yes" above it (`below`: below it), "no" on the other side, "unsure" where it lies on both sides, where there is
    none, and with fewer seeds than decide anything. `yes`, `no` and `unsure` are the headlines. With `margin` the limit
    is one that was stated before, and one end of the interval is held against it (`measures.equivalence`).
    """
    headlines: dict[Light, str] = {"yes": yes, "no": no, "unsure": unsure}
    level = 1 - 2 * ERROR if margin else 1 - ERROR
    shown = _telling(effect.at(level) if margin else effect, counted)
    light = _light(shown, limit, below)
    mean, low, high = (
        None if end is None or not math.isfinite(end) else end for end in (shown.mean, shown.low, shown.high)
    )
    said = sure(shown, light, limit, counted)
    card = Card(question, light, headlines[light], mean, low, high, shown.n, unit, said, advice, target, counted, level)

    def again(error: float) -> Card:
        found = _light(_telling(effect.at(1 - 2 * error if margin else 1 - error), counted), limit, below)
        return replace(card, light=found, headline=headlines[found], sure=sure(shown, found, limit, counted))

    return card if effect.again is None else replace(card, again=again)


def _light(shown: Interval, limit: float, below: bool) -> Light:
    if shown.low is None or shown.high is None:
        return "unsure"
    if shown.low > limit:
        return "no" if below else "yes"
    if shown.high < limit:
        return "yes" if below else "no"
    return "unsure"


def _telling(effect: Interval, counted: str) -> Interval:
    """The interval where it may decide: not with fewer than 3 seeds, nor with a few equal differences, which do not
    show how seeds vary."""
    if effect.low is None or effect.high is None or counted != "seeds":
        return effect
    if effect.n < LEAST:
        return replace(effect, low=None, high=None, note=f"fewer than {LEAST} decide nothing")
    if effect.n < ALIKE and effect.high - effect.low <= 1e-9:
        return replace(effect, low=None, high=None, note=f"the same in all {effect.n}")
    return effect


def sure(effect: Interval, light: Light, limit: float = 0.0, counted: str = "seeds") -> str:
    """How sure an answer is, in words: by its interval, the limit it hangs on, and the seeds."""
    if effect.low is None or effect.high is None:
        why = f" ({effect.note})" if effect.note else ""
        return "one seed cannot tell" if effect.n == 1 else f"not sure: {effect.n} {counted} give no interval{why}"
    where = f"the limit of {limit:g}".replace("-", "−") if limit else "0"
    if light != "unsure":
        side = "above" if effect.low > limit else "below"
        return f"shown with {effect.n} {counted}: the interval lies {side} {where}"
    held = effect.low <= limit <= effect.high
    return (
        f"not sure: the interval holds {where}" if held else "not sure: seeds are added until it is shown more surely"
    )


def modules(names: Sequence[str]) -> str:
    """Names of modules in a headline: all of a few, else the first and the last of them."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]}"
