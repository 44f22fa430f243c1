"""Effects held against a margin of 1: how often each outcome is told."""

import numpy as np

from calibrated import noise
from transferscope.measures.deciding import Design
from transferscope.measures.equivalence import against_margin, equivalence_level
from transferscope.measures.intervals import mean_interval


def outcomes(
    effect: float, spread: float, n: int, kind: str, both: bool, repetitions: int, rng: np.random.Generator
) -> dict[str, float]:
    """The share of each outcome, for `n` seeds whose values have the deviation `spread` around `effect`."""
    found = {"within": 0, "beyond": 0, "undecided": 0}
    for values in effect + spread * noise(kind, rng, (repetitions, n)):
        found[against_margin(mean_interval(values, equivalence_level()), 1.0, both=both)] += 1
    return {name: count / repetitions for name, count in found.items()}


def over_looks(
    design: Design, effect: float, spread: float, kind: str, repetitions: int, rng: np.random.Generator
) -> dict[str, float]:
    """The share of each outcome where a study stops at its first, each look at the level of the design."""
    found = {"within": 0, "beyond": 0, "undecided": 0}
    for values in effect + spread * noise(kind, rng, (repetitions, design.looks[-1])):
        told = [
            against_margin(mean_interval(values[:n], equivalence_level(design.level(n))), 1.0) for n in design.looks
        ]
        found[next((one for one in told if one != "undecided"), "undecided")] += 1
    return {name: count / repetitions for name, count in found.items()}
