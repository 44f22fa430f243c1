"""Barriers of lines whose height is known: per-image errors that change along the line, read in both ways."""

import sys

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from calibrated import show
from transferscope.measures.barrier import auc_values, barrier, entezari, frankle
from transferscope.probes.walks.refine import COARSE, refined
from transferscope.probes.walks.scored import Scored

GRID = np.linspace(0, 1, 21)


def bootstrap_means(rows: NDArray[np.float64], rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Means of every row of `rows` (m, n) over `draws` resamples of the n columns, (draws, m).

    All rows share each resample, so differences between them keep their pairing. Memory is O(chunk x n).
    """
    n = rows.shape[1]
    chunk = max(1, 4_000_000 // n)
    out = np.empty((draws, rows.shape[0]))
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        picks = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        counts = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n)
        out[start : start + size] = counts.astype(np.float64) @ rows.T / n
    return out


def latent(rng, reps, n, alphas, length):
    """Smooth standard normal curves (reps, m, n): 0.3 of the variance stays along the line, the rest fades."""
    near = 0.3 + 0.7 * np.exp(-0.5 * ((alphas[:, None] - alphas) / length) ** 2)
    root = np.linalg.cholesky(near + 1e-9 * np.eye(len(alphas)))
    return np.einsum("ij,rjn->rin", root, rng.standard_normal((reps, len(alphas), n), dtype=np.float32))


def errors(rng, reps, n, height, alphas=GRID, length=0.4, base=0.2):
    """0/1 errors (reps, m, n) whose mean curve is `base` + `height` 4 alpha (1 - alpha)."""
    means = base + height * 4 * alphas * (1 - alphas)
    return (latent(rng, reps, n, alphas, length) < ndtri(means)[:, None]).astype(np.float64)


def largest(alphas, values, rng, draws=300):
    """The largest value on all images with its percentile bootstrap, the old reading: {kind: (mean, low, high)}."""
    means = bootstrap_means(values, rng, draws)
    chord = np.outer(means[:, 0], 1 - alphas) + np.outer(means[:, -1], alphas)
    above = {"frankle": means - (means[:, :1] + means[:, -1:]) / 2, "entezari": means - chord}
    of = {"frankle": frankle, "entezari": entezari}
    curve = values.mean(1)
    return {k: (of[k](alphas, curve), *np.quantile(a.max(1), [0.025, 0.975])) for k, a in above.items()}


def now(alphas, values, rng, span=1.0):
    """Both barriers as they are read now: {kind: (mean, low, high)}."""
    found = barrier(alphas, values, rng, span=span)
    return {k: (i.mean, i.low, i.high) for k, i in (("frankle", found.frankle), ("entezari", found.entezari))}


def judged(read, height, /, **labels):
    """Rows of bias, spread and coverage, in points, of a list of {kind: (mean, low, high)}."""
    rows = []
    for kind in ("frankle", "entezari"):
        mean, low, high = 100 * np.array([one[kind] for one in read]).T
        truth = 100 * height
        rows.append(
            {
                **labels,
                "true height": round(truth, 1),
                "definition": kind,
                "bias": round(float(mean.mean() - truth), 2),
                "sd": round(float(mean.std()), 2),
                "covers %": round(100 * float(((low <= truth) & (truth <= high)).mean()), 1),
                "width": round(float((high - low).mean()), 1),
            }
        )
    return rows


def compared(reps, ns=(125, 381), heights=(0.0, 0.05, 0.2), ways=("largest", "cross-fitted"), length=0.4):
    """Rows of errors read in both ways."""
    rows = []
    for n in ns:
        for height in heights:
            rng = np.random.default_rng(0)
            parts = [min(50, reps - done) for done in range(0, reps, 50)]
            values = [v for part in parts for v in errors(rng, part, n, height, length=length)]
            for way in ways:
                read = [(now if way == "cross-fitted" else largest)(GRID, v, rng) for v in values]
                rows += judged(read, height, images=n, read=way, length=length)
    return rows


def adaptive(reps, n=381, heights=(0.0, 0.05, 0.2), tolerance=0.01, length=0.4):
    """Rows of errors on the alphas that `path(alphas="adaptive")` would choose from the same images."""
    fine, rows = np.linspace(0, 1, 257), []
    for height in heights:
        rng, read = np.random.default_rng(0), []
        for _ in range(reps):
            wrong = errors(rng, 1, n, height, fine, length)[0]

            def walk(alpha, wrong=wrong):
                own = wrong[round(256 * alpha)]
                return {"data": Scored(own, own, 1 - own.mean(), np.zeros((n, 1), np.float32))}

            found = {float(x): walk(float(x)) for x in np.linspace(0, 1, COARSE)}
            refined(found, walk, "error", tolerance)
            alphas = np.array(sorted(found))
            read.append(now(alphas, np.stack([found[x]["data"].wrong for x in alphas.tolist()]), rng))
        rows += judged(read, height, images=n, read="adaptive alphas")
    return rows


def aucs(reps, n=381, positives=0.2, heights=(0.0, 0.05, 0.2), length=0.4):
    """Rows of 1 - AUC with a share of `positives`: the gap between the classes shrinks along the line."""
    rows = []
    for height in heights:
        rng, read = np.random.default_rng(0), []
        areas = 0.85 - height * 4 * GRID * (1 - GRID)
        for scores in (s for part in range(0, reps, 50) for s in latent(rng, min(50, reps - part), n, GRID, length)):
            labels = rng.random(n) < positives
            if not 0 < labels.sum() < n:
                continue
            shifted = scores + np.sqrt(2) * np.outer(ndtri(areas), labels)
            read.append(now(GRID, 1 - auc_values(shifted[:, :, None], labels[:, None]), rng, span=None))
        rows += judged(read, height, images=n, read=f"1 - AUC, {positives:.0%} positive")
    return rows


if __name__ == "__main__":
    many = int(sys.argv[1])
    show(compared(many))
    show(compared(many // 4, ns=(381,), length=0.15))
    show(adaptive(many // 4))
    show([*aucs(many // 4), *aucs(many // 4, n=125, positives=0.1)])
