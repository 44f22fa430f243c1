"""Two arms that answer test images rightly or wrongly, over seeds: the gain on new seeds and new images is known."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from calibrated import noise
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.measures.seeds_and_images import gain_interval, mean_squares
from transferscope.measures.student import t_quantile

PHI = NormalDist().cdf
EASE, SPREAD, RESIDUAL = 0.7, 1.0, 0.6  # of images: mean and deviation of their ease; of one answer


@dataclass(frozen=True)
class Setting:
    """Deviations, in the units of an image's ease, of a run's skill and of what an image is worth to one arm."""

    name: str
    runs: float
    images: float


SETTINGS = (
    Setting("images matter most", 0.03, 0.3),
    Setting("both matter", 0.08, 0.3),
    Setting("seeds matter most", 0.15, 0.2),
)
Rule = Callable[[NDArray[np.float64], float], Interval]


def differences(setting: Setting, gain: float, n: int, images: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """(n, images) of 1, 0 and -1: right or wrong of the better arm minus that of the other, with the same seed."""
    ease = rng.normal(EASE, SPREAD, images)
    arms = []
    for shift in (gain / 2, -gain / 2):
        skill = shift + setting.runs * noise(kind, rng, (n, 1)) + setting.images * rng.normal(size=images)
        arms.append(ease + skill + RESIDUAL * rng.normal(size=(n, images)) > 0)
    return arms[0].astype(np.float64) - arms[1]


def truth(setting: Setting, gain: float, kind: str) -> float:
    """The expected difference of accuracies; the skill of runs that is not normal is averaged over a large draw."""
    spread = math.sqrt(SPREAD**2 + setting.images**2 + RESIDUAL**2)
    if kind == "normal":
        spread = math.hypot(spread, setting.runs)
        return PHI((EASE + gain / 2) / spread) - PHI((EASE - gain / 2) / spread)
    skills = setting.runs * noise(kind, np.random.default_rng(0), (20_000,))
    skills -= skills.mean()
    return float(np.mean([PHI((EASE + s + gain / 2) / spread) - PHI((EASE + s - gain / 2) / spread) for s in skills]))


def gain_of(setting: Setting, points: float) -> float:
    """The gain in ease that is worth so many points of accuracy (normal noise)."""
    low, high = 0.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if 100 * truth(setting, middle, "normal") < points else (low, middle)
    return low


def over_seeds(d: NDArray[np.float64], level: float) -> Interval:
    """Student's t over seeds alone."""
    return mean_interval(d.mean(1), level)


def added(d: NDArray[np.float64], level: float) -> Interval:
    """t for the seeds and the normal quantile for the images, their squares added."""
    seeds, images, rest = mean_squares(d)
    t, z = t_quantile((1 + level) / 2, len(d) - 1), NormalDist().inv_cdf((1 + level) / 2)
    half = math.sqrt((t * t * seeds + z * z * max(images - rest, 0)) / d.size)
    return Interval(d.mean(), d.mean() - half, d.mean() + half, len(d))


def satterthwaite(d: NDArray[np.float64], level: float) -> Interval:
    """As `gain_interval`, without the bound on the degrees of freedom."""
    n, images = d.shape
    s, i, r = mean_squares(d)
    v = max(s + i - r, s)
    freedom = max(n - 1, v * v / (s * s / (n - 1) + i * i / (images - 1) + r * r / ((n - 1) * (images - 1))))
    half = t_quantile((1 + level) / 2, round(freedom, 1)) * math.sqrt(v / d.size)
    return Interval(d.mean(), d.mean() - half, d.mean() + half, n)


def ours(d: NDArray[np.float64], level: float) -> Interval:
    """The rule of the project, for accuracies."""
    return gain_interval(d, level, span=1.0)


RULES: dict[str, Rule] = {
    "t over seeds": over_seeds,
    "squares added": added,
    "Satterthwaite": satterthwaite,
    "ours": ours,
}


def shares(
    rules: list[Rule], draw: Callable[[np.random.Generator], np.ndarray], true: float, repetitions: int, seed: int
) -> list[tuple[float, float, float]]:
    """Of each rule at 95%: how often it holds the truth, how often it excludes 0, and its mean half-width."""
    rng = np.random.default_rng(seed)
    found = np.zeros((len(rules), 3))
    for _ in range(repetitions):
        d = draw(rng)
        for k, rule in enumerate(rules):
            one = rule(d, 0.95)
            found[k] += (not one.excludes(true), one.excludes(0), (one.high - one.low) / 2)
    return [(a, b, c) for a, b, c in (found / repetitions).tolist()]


def drawing(
    setting: Setting, gain: float, n: int, images: int, kind: str
) -> Callable[[np.random.Generator], np.ndarray]:
    return partial(differences, setting, gain, n, images, kind)


def looked_at(
    rule: Rule, levels: dict[int, float], setting: Setting, gain: float, images: int, repetitions: int, seed: int
) -> tuple[float, float]:
    """The share of studies that decide at some look {seeds: level}, and the mean of the seeds used."""
    rng = np.random.default_rng(seed)
    decisions, seeds = 0, 0
    for _ in range(repetitions):
        d = differences(setting, gain, max(levels), images, "normal", rng)
        at = next((n for n, level in levels.items() if rule(d[:n], 1 - level).excludes()), None)
        decisions += at is not None
        seeds += at or max(levels)
    return decisions / repetitions, seeds / repetitions
