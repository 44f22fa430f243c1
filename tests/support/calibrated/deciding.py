"""Studies that look at a claim's effect by a design: how often they decide, and with how many seeds."""

from collections.abc import Sequence

import numpy as np

from calibrated import noise
from transferscope.measures.deciding import Design
from transferscope.measures.intervals import mean_interval


def decided(
    design: Design, effect: float, kind: str, repetitions: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Shares of studies that decide and that decide with the wrong sign, and the mean of the seeds they used.

    The effect is in deviations of a seed's paired difference; a study stops at its first decision.
    """
    samples = effect + noise(kind, rng, (repetitions, design.looks[-1]))
    ended = [_ended(design, values) for values in samples]
    return (
        float(np.mean([sign != 0 for sign, _ in ended])),
        float(np.mean([sign * effect < 0 for sign, _ in ended])),
        float(np.mean([seeds for _, seeds in ended])),
    )


def _ended(design: Design, values: np.ndarray) -> tuple[int, int]:
    """The sign that was decided (0: none) and the seeds used."""
    for n in design.looks:
        found = mean_interval(values[:n], 1 - design.level(n))
        if design.decides(n) and found.excludes():
            return (1 if found.mean > 0 else -1), n
    return 0, design.looks[-1]


def with_levels(
    looks: Sequence[int], levels: Sequence[float], effect: float, repetitions: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The same for any levels of the looks (normal noise): the share that decides, and the mean of the seeds used."""
    samples = effect + rng.normal(size=(repetitions, looks[-1]))
    hits = np.zeros((repetitions, len(looks)), dtype=bool)
    for k, (n, p) in enumerate(zip(looks, levels, strict=True)):
        half = mean_interval([0.0, *[1.0] * (n - 1)], 1 - p)  # its width in those of its deviation is t / sqrt(n)
        width = (half.high - half.mean) / np.std([0.0, *[1.0] * (n - 1)], ddof=1)
        hits[:, k] = np.abs(samples[:, :n].mean(1)) > width * samples[:, :n].std(1, ddof=1)
    any_hit = hits.any(1)
    return float(any_hit.mean()), float(np.where(any_hit, np.asarray(looks)[hits.argmax(1)], looks[-1]).mean())
