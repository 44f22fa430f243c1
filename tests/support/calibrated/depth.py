"""Values along 18 blocks that depend on each other, with and without a trend: two units compared."""

import sys

import numpy as np
from scipy import stats

from calibrated import show
from transferscope.measures.depth import correlation
from transferscope.measures.intervals import spearman

BLOCKS = 18


def draw(rng, shape, slope, near):
    """(*shape, blocks): a rising line and noise whose correlation between neighbours is `near`."""
    noise = rng.standard_normal((*shape, BLOCKS))
    for i in range(1, BLOCKS):
        noise[..., i] = near * noise[..., i - 1] + np.sqrt(1 - near**2) * noise[..., i]
    return slope * np.linspace(-1, 1, BLOCKS) + noise


def _truth(slope, near, seeds=20_000):
    """The mean over many seeds of one seed's rank correlation."""
    ranks = stats.rankdata(draw(np.random.default_rng(99), (seeds,), slope, near), axis=-1)
    own = ranks - ranks.mean(-1, keepdims=True)
    places = np.arange(BLOCKS) - np.mean(np.arange(BLOCKS))
    return float((own @ places / np.sqrt((own**2).sum(-1) * (places**2).sum())).mean())


def compared(reps, seeds=(1, 3, 6), slopes=(0.0, 0.5), near=(0.0, 0.6, 0.9)):
    """One row a count of seeds, slope and dependence. With one seed there is no interval over seeds."""
    rows = []
    for slope in slopes:
        for rho in near:
            truth = _truth(slope, rho)
            for n in seeds:
                x = draw(np.random.default_rng(0), (reps, n), slope, rho)
                blocks = [spearman(np.arange(BLOCKS), one.mean(0)) for one in x]
                of = [correlation(one) for one in x]
                row = {"seeds": n, "slope": slope, "neighbours": rho, "truth": round(truth, 2)}
                if not slope:  # with a trend the mean of several seeds has another correlation than one of them
                    row["18 blocks %"] = round(100 * float(np.mean([i.low <= truth <= i.high for i in blocks])), 1)
                held = np.mean([i.low is None or i.low <= truth <= i.high for i in of])
                row["seeds %"] = round(100 * float(held), 1) if n > 1 else None
                row["none %"] = round(100 * float(np.mean([i.low is None for i in of])), 1)
                rows.append(row)
    return rows


if __name__ == "__main__":
    show(compared(int(sys.argv[1])))
