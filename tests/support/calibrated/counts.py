"""Rare events, in exact shares: every possible count with its probability, the bootstrap among the intervals."""

import sys

import numpy as np
from scipy import stats

from calibrated import show
from transferscope.measures.counts import paired_shares
from transferscope.measures.intervals import wilson


def single(n, share):
    """How often Wilson's interval and a percentile bootstrap hold a `share` of n examples."""
    k = np.arange(n + 1)
    chance = stats.binom.pmf(k, n, share)
    score = np.array([(i := wilson(int(c), n)).low <= share <= i.high for c in k])
    low, high = (stats.binom.ppf(q, n, k / n) / n for q in (0.025, 0.975))
    return {"wilson": float(chance @ score), "bootstrap": float(chance @ ((low <= share) & (share <= high)))}


def paired(n, only_a, only_b, draws=2000):
    """How often Tango's interval and a percentile bootstrap hold the difference of two paired shares."""
    rng, truth = np.random.default_rng(0), only_a - only_b
    held = {"tango": 0.0, "bootstrap": 0.0, "counted": 0.0}
    for b in range(n + 1):
        for c in range(n + 1 - b):
            chance = float(stats.multinomial.pmf([b, c, n - b - c], n, [only_a, only_b, 1 - only_a - only_b]))
            if chance < 1e-5:
                continue
            found = paired_shares(b, c, n)
            again = rng.multinomial(n, [b / n, c / n, 1 - (b + c) / n], draws)
            low, high = np.quantile((again[:, 0] - again[:, 1]) / n, [0.025, 0.975])
            held["tango"] += chance * (found.low <= truth <= found.high)
            held["bootstrap"] += chance * (low <= truth <= high)
            held["counted"] += chance
    return {name: held[name] / held["counted"] for name in ("tango", "bootstrap")}


def singles(ns=(24, 50, 125), shares=(0.01, 0.02, 0.05, 0.1)):
    """One row a count and a share."""
    return [
        {"n": n, "share %": 100 * p, **{f"{w} covers %": round(100 * v, 1) for w, v in single(n, p).items()}}
        for n in ns
        for p in shares
    ]


def pairs(ns=(24, 125, 381), cells=((0.01, 0.01), (0.03, 0.01), (0.05, 0.0), (0.1, 0.05)), draws=2000):
    """One row a count and the two shares that only one of the networks gets wrong."""
    return [
        {
            "n": n,
            "only a %": 100 * a,
            "only b %": 100 * b,
            **{f"{w} covers %": round(100 * v, 1) for w, v in paired(n, a, b, draws).items()},
        }
        for n in ns
        for a, b in cells
    ]


if __name__ == "__main__":
    show(singles())
    show(pairs(draws=int(sys.argv[1])))
