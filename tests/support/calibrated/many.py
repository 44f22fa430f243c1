"""Claims of several effects, most of them nothing: how often any of those is decided."""

from functools import partial

import numpy as np

from calibrated import noise
from transferscope.measures.intervals import mean_interval
from transferscope.measures.multiple_comparisons import step_down


def decided(
    effects: list[float], n: int, shared: float, kind: str, repetitions: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Shares of studies that decide an effect of 0: by Holm, by plain 95% intervals; and of real effects Holm decides.

    Each effect has one value a seed of deviation 1, of whose variance the part `shared` is common to all effects.
    """
    truth = np.asarray(effects)
    any_holm, any_plain, real = 0, 0, 0.0
    for _ in range(repetitions):
        own, common = noise(kind, rng, (len(truth), n)), noise(kind, rng, (1, n))
        values = truth[:, None] + np.sqrt(1 - shared) * own + np.sqrt(shared) * common
        holm = np.array([one.excludes() for one in step_down([partial(mean_interval, x) for x in values])])
        plain = np.array([mean_interval(x).excludes() for x in values])
        any_holm += bool(holm[truth == 0].any())
        any_plain += bool(plain[truth == 0].any())
        real += float(holm[truth != 0].mean()) if (truth != 0).any() else 0.0
    return any_holm / repetitions, any_plain / repetitions, real / repetitions
