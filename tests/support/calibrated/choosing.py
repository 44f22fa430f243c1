"""Checkpoints of a pretraining whose worth is known: how often one that is a margin or more behind is named."""

import sys

import numpy as np

from calibrated import show
from transferscope.measures.choosing import earliest
from transferscope.measures.intervals import paired_interval

MARGIN = 1.0  # point
SHAPES = {  # in points
    "rises, then level": (0.0, 6.0, 11.0, 13.9, 15.0, 15.0),
    "slowly, then level": (10.0, 11.0, 12.0, 13.0, 14.0, 15.0),
    "one point behind": (14.0, 14.0, 14.0, 14.0, 14.0, 15.0),
    "rises and falls": (5.0, 13.5, 15.0, 15.0, 13.5, 12.0),
    "half a point behind": (12.0, 14.5, 14.6, 14.8, 15.0, 15.0),
}


def before(x):
    """What was named before: the earliest whose paired interval to the best in the mean does not leave 0 out."""
    best = int(x.mean(1).argmax())
    for place in range(len(x)):
        lead = paired_interval(x[best], x[place])
        if place == best or not (lead.excludes(0) and lead.mean > 0):
            return place
    return best


def compared(reps, seeds=(3, 6, 10), shapes=tuple(SHAPES), sd=0.7):
    """One row a shape and count of seeds; every score has a spread `sd` of its own and a seed's in common."""
    rows = []
    for name in shapes:
        worth = np.array(SHAPES[name])
        behind = worth.max() - worth
        for n in seeds:
            rng = np.random.default_rng(0)
            x = worth[:, None] + rng.normal(0, 1, (reps, 1, n)) + rng.normal(0, sd, (reps, len(worth), n))
            now, then = [earliest(one, MARGIN).place for one in x], [before(one) for one in x]
            far = behind >= MARGIN - 1e-9
            goal = int(np.flatnonzero(~far)[0])
            rows.append(
                {
                    "shape": name,
                    "seeds": n,
                    "too far behind, before %": round(100 * float(far[then].mean()), 1),
                    "too far behind, now %": round(100 * float(np.mean([p is not None and far[p] for p in now])), 1),
                    "undecided %": round(100 * float(np.mean([place is None for place in now])), 1),
                    "earliest true one named %": round(100 * float(np.mean([place == goal for place in now])), 1),
                }
            )
    return rows


if __name__ == "__main__":
    show(compared(int(sys.argv[1])))
