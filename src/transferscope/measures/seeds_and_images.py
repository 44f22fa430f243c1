"""The interval of a gain over training seeds and test images at once: what new seeds on new images would give."""

import math

import numpy as np
from numpy.typing import ArrayLike

from transferscope.measures.intervals import Interval, levelled, wilson
from transferscope.measures.student import t_quantile

CAP = 1.5  # degrees of freedom at most, in those of the seeds: without it 3 seeds cover 92.5% (docs/statistics.md)


@levelled
def gain_interval(differences: ArrayLike, level: float = 0.95, span: float | None = None) -> Interval:
    """Mean paired difference of two arms with its interval for new seeds and new images; `n` counts seeds.

    `differences` (n seeds, N images) holds, of each image, the score of one arm minus that of the other with the same
    seed (1, 0 or -1 for accuracies, in shares; for an AUC each image's influence on it). Two-way random effects
    without replicates: with the mean squares S of seeds, I of images and R of what is left, the variance of the mean
    is V / (n N) for V = S + max(I - R, 0) (Cornfield & Tukey 1956). The quantile is t with Satterthwaite's (1946)
    degrees of freedom V^2 / (S^2/(n - 1) + I^2/(N - 1) + R^2/((n - 1)(N - 1))), held between n - 1 and 1.5 (n - 1).

    One seed or one image has no interval. With `span`, the largest size of one difference (1 for accuracies), no
    interval is narrower than Wilson's bound on what 0 of N images leave open, times `span`; without it, differences
    that are all equal have none. Raises ValueError for anything but finite (n, N).
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or not d.size or not np.isfinite(d).all():
        raise ValueError(f"differences must be (seeds, images), at least one, without gaps, not {d.shape}.")
    n, images = d.shape
    mean = float(d.mean())
    if n == 1:
        return Interval(mean, None, None, 1, "one seed has no interval")
    if images == 1:
        return Interval(mean, None, None, n, "one image has no interval")
    if span is None and np.ptp(d) == 0:
        return Interval(mean, None, None, n, "values that are all equal have no interval")
    half = _half(d, level)
    if span is not None:
        half = max(half, span * (wilson(0, images, level).high or 0.0))
    return Interval(mean, mean - half, mean + half, n)


def mean_squares(differences: ArrayLike) -> tuple[float, float, float]:
    """Mean squares of seeds, of images, and of what is left, of `differences` (n >= 2 seeds, N >= 2 images).

    Expected are N s^2 + e, n i^2 + e and e: the variances of a seed's effect (s^2), of an image's (i^2), and of both
    together with noise (e).
    """
    d = np.asarray(differences, dtype=np.float64)
    n, images = d.shape
    by_seed, by_image = d.mean(1) - d.mean(), d.mean(0) - d.mean()
    seeds = images * float(by_seed @ by_seed) / (n - 1)
    of_images = n * float(by_image @ by_image) / (images - 1)
    left = d - d.mean() - by_seed[:, None] - by_image
    return seeds, of_images, float((left * left).sum()) / ((n - 1) * (images - 1))


def _half(d: np.ndarray, level: float) -> float:
    n, images = d.shape
    seeds, of_images, rest = mean_squares(d)
    variance = seeds + max(of_images - rest, 0.0)
    if variance <= 0:
        return 0.0
    squares = seeds**2 / (n - 1) + of_images**2 / (images - 1) + rest**2 / ((n - 1) * (images - 1))
    freedom = min(max(variance**2 / squares, n - 1), CAP * (n - 1))
    return t_quantile((1 + level) / 2, freedom) * math.sqrt(variance / d.size)
