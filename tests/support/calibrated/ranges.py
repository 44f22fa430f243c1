"""Means over seeds of values near an end of their range, where the truth is known: three intervals compared."""

import sys

import numpy as np

from calibrated import show
from transferscope.measures.intervals import mean_interval
from transferscope.measures.ranges import bounded, clipped


def _beta(mean, sd, low=0.0, high=1.0):
    """Draws with this mean and standard deviation on [low, high]."""
    m, s = (mean - low) / (high - low), sd / (high - low)
    k = m * (1 - m) / s**2 - 1
    return mean, low, high, lambda rng, shape: low + (high - low) * rng.beta(m * k, (1 - m) * k, shape)


def _gamma(mean, sd):
    """Positive draws with this mean and standard deviation."""
    return mean, 0.0, np.inf, lambda rng, shape: rng.gamma((mean / sd) ** 2, sd**2 / mean, shape)


VALUES = {
    "accuracy .97, sd .01": _beta(0.97, 0.01),
    "accuracy .97, sd .03": _beta(0.97, 0.03),
    "accuracy .99, sd .01": _beta(0.99, 0.01),
    "AUC .95, sd .05": _beta(0.95, 0.05),
    "kappa .90, sd .08": _beta(0.9, 0.08, -1.0),
    "barrier .02, sd .02": _gamma(0.02, 0.02),
    "criticality 1, sd 1": _gamma(1.0, 1.0),
    "middle .50, sd .10": _beta(0.5, 0.1),
}


def compared(reps, ns=(3, 6, 10), names=tuple(VALUES)):
    """One row a kind of value and count of seeds. "none": the values are told instead, which counts as held."""
    rows = []
    for name in names:
        mean, low, high, draw = VALUES[name]
        for n in ns:
            x = draw(np.random.default_rng(0), (reps, n))
            t, inside = [mean_interval(row) for row in x], [bounded(row, low, high) for row in x]
            cut = [clipped(row, low, high) for row in x]
            told = np.array([i.low is None for i in inside])
            row = {"values": name, "n": n}
            for word, of in (("t", t), ("clipped t", cut), ("in range", inside)):
                held = np.array([i.low is None or i.low <= mean <= i.high for i in of])
                row[f"{word} %"] = round(100 * float(held.mean()), 1)
            row["t leaves the range %"] = round(100 * float(np.mean([i.low < low or i.high > high for i in t])), 1)
            row["none %"] = round(100 * float(told.mean()), 1)
            known = [i.high - i.low for i in inside if i.low is not None]
            row["width, t"] = round(float(np.median([i.high - i.low for i in t])), 3)
            row["width, in range"] = round(float(np.median(known)), 3) if known else None
            rows.append(row)
    return rows


if __name__ == "__main__":
    show(compared(int(sys.argv[1])))
