"""One basis for every comparison: all networks of it get their batch-norm statistics alike, and their own scores, with
the statistics they came with, stand beside."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from transferscope import answers
from transferscope.probes.walks.scored import Scored
from transferscope.probes.walks.states import Rows, States
from transferscope.probes.weights.combine import State

Scores = Mapping[str, Scored]  # by data set
SURE = 2.6  # standard errors (99%, two-sided) that a difference needs to be more than chance
PAIRED = f"more than chance: paired by image, beyond {SURE:g} standard errors"


def differ(own: ArrayLike, now: ArrayLike) -> bool:
    """Whether the mistakes (n,) of one network on the same n images, scored in two ways, differ by more than chance.

    The mean of the paired differences lies more than `SURE` of its standard errors from 0.
    """
    gap = np.asarray(now, dtype=np.float64) - np.asarray(own, dtype=np.float64)
    if len(gap) < 2 or not gap.any():
        return False
    return bool(abs(gap.mean()) > SURE * gap.std(ddof=1) / math.sqrt(len(gap)))


def beside(
    states: States, networks: Mapping[str, State], now: Mapping[str, Scores], rows: Mapping[str, Rows] | None = None
) -> tuple[Mapping[str, Scores], tuple[str, ...]]:
    """Networks, by the words they go by, scored with the statistics they came with, and what to say of that.

    `now`: their scores on the basis of the comparison, which are those where nothing is re-estimated.
    """
    if not states.has_batch_norm or states.batch_norm == "as found":
        return now, ()
    own = {word: states(state, batch_norm="as found", place=word, rows=rows) for word, state in networks.items()}
    data = tuple(states.names if rows is None else rows)
    notes = remarks(own, now, states.metric, f"re-estimated everywhere, {states.measured_words}", data)
    return own, (*notes, *sources(states, True))


def remarks(
    own: Mapping[str, Scores], now: Mapping[str, Scores], metric: str, basis: str, data: Sequence[str]
) -> tuple[str, ...]:
    """A sentence for every network (by the word it goes by) and data set where its own statistics score differently.

    `own` and `now`: its scores with its own statistics and on the basis of the comparison, which `basis` words.
    """
    found = []
    for who, scores in own.items():
        for name in data:
            first, second = scores[name], now[who][name]
            if differ(first.wrong, second.wrong):
                value = answers.metric(metric).word
                told = answers.metric(metric).told
                a, b = (1 - one.wrong.mean() if metric == "accuracy" else told(one.metric) for one in (first, second))
                where = f" on '{name}'" if len(data) > 1 else ""
                found.append(
                    f"Network {who}{where}: {value} {a:.3f} with its own batch-norm statistics, {b:.3f} with those "
                    f"{basis} ({PAIRED}). What is compared is compared with the latter."
                )
    return tuple(found)


def sources(states: States, refreshed: bool) -> tuple[str, ...]:
    """A sentence where statistics had to be re-estimated on the very images that are scored."""
    if not refreshed or not states.has_batch_norm or states.statistics_given:
        return ()
    return (
        f"Batch-norm statistics were re-estimated {states.measured_words}, since no statistics= were given: give "
        "training images to keep estimating and scoring apart.",
    )
