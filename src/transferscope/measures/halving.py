"""The height of a barrier from few evaluations: images are spent only on alphas where the supremum may still lie."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from transferscope.measures.curve_bend import bend, rises, suprema

Array = NDArray[np.float64]
Evaluate = Callable[[float, int, int], Array]  # values of the examples from start to stop at an alpha, (stop - start,)

FIRST = 125  # examples an alpha is judged on at first
BENT = 250  # examples from which on the curve's bend is believed
BRACKET = 1 / 12  # width of the gaps beside the highest alpha of a barrier
BRIDGE = math.sqrt(math.pi / 8)  # mean supremum of a Brownian bridge of variance 1 at its end
FINEST = 1 / 128  # alphas lie no closer


@dataclass(frozen=True)
class Height:
    """Entezari's barrier of a curve over n examples: `height`, and `low`, `high` between which it lies.

    `alpha` is where the largest excess over the chord was seen (0 where none is above 0). Per alpha tried, in
    ascending order with both ends: `alphas`, the estimated `excess` over the chord and the number of examples `seen`.
    """

    height: float
    low: float
    high: float
    alpha: float
    alphas: Array
    excess: Array
    seen: NDArray[np.int64]


def search(
    evaluate: Evaluate, n: int, *, tolerance: float, z: float = 3.0, coarse: int = 6, first: int = FIRST
) -> Height:
    """Find sup over alpha in [0, 1] of mean(v_alpha - (1 - alpha) v_0 - alpha v_1) to +-`tolerance`.

    It then lies in [low, high], no more than two tolerances apart, and `height` between them is the best guess.
    `evaluate(alpha, start, stop)` gives the values of a random order of the n examples; an alpha is only ever asked
    for the examples that follow those it has seen. All differences are paired by example; their errors are `z`
    standard errors for sampling without replacement, widened by one invented example of the largest value, so that a
    run of equal ones proves little. Between alphas the curve is bounded by its bend (second differences) and by what
    the examples that changed would add at random; a spike narrower than 1 / `coarse` that shows at no alpha tried is
    not found.
    """
    values: dict[float, Array] = {}

    def grow(alpha: float, count: int) -> None:
        for one in (0.0, 1.0, alpha):  # the chord is needed wherever the curve is
            have = values.get(one, np.empty(0))
            if len(have) < count:
                values[one] = np.append(have, evaluate(one, len(have), count))

    for alpha in np.linspace(0, 1, coarse + 1)[1:-1]:
        grow(float(alpha), min(first, n))
    while True:
        view = _View(values, n, z)
        asked = _more_images(view, tolerance)
        middles = [] if asked else _middles(view, tolerance)
        if not asked and not middles:
            return view.answer()
        for alpha, count in asked.items():
            grow(alpha, count)
        for alpha in middles:
            grow(alpha, min(first, n))


class _View:
    """Estimates and bounds from what has been seen so far, over the alphas in ascending order."""

    def __init__(self, values: dict[float, Array], n: int, z: float) -> None:
        self.n, self.z = n, z
        self.alphas = np.array(sorted(values))
        inner = [float(a) for a in self.alphas[1:-1]]
        self.excesses = [np.zeros(n), *(self._excess(values, a) for a in inner), np.zeros(n)]
        self.seen = np.array([len(values[float(a)]) for a in self.alphas])
        self.mean, self.error = self._estimates()
        self.best = int(self.mean.argmax()) if self.mean.max() > 0 else 0
        self.height = float(self.mean[self.best])
        self.low = max(0.0, self.height - z * self.error[self.best])
        self.high = self._uppers()
        self.bends, self.ragged = self._bends(), self._ragged()

    @staticmethod
    def _excess(values: dict[float, Array], alpha: float) -> Array:
        v = values[alpha]
        first, last = values[0.0][: len(v)], values[1.0][: len(v)]
        return (v - first) - alpha * (last - first)  # exactly 0 where nothing differs, fused or not

    def standard_error(self, x: Array) -> float:
        """Of the mean of x as an estimate of that of all n examples."""
        m = len(x)
        return spread(x) * math.sqrt(max(0.0, 1 / m - 1 / self.n))

    def _estimates(self) -> tuple[Array, Array]:
        """Every excess and its standard error: its own mean, or that of the alpha seen on most examples plus their
        paired difference, whichever is surer. A lucky start of a little-seen alpha does not make it the best."""
        own = np.array([x.mean() for x in self.excesses])
        error = np.array([self.standard_error(x) for x in self.excesses])
        inner = range(1, len(self.alphas) - 1)
        most = max(inner, key=lambda i: (self.seen[i], own[i]))
        for i in inner:
            if i != most:
                gap = self.gap(i, most)
                other = self.standard_error(gap) + error[most]
                if other < error[i]:
                    own[i], error[i] = own[most] + gap.mean(), other
        return own, error

    def _uppers(self) -> Array:
        """Upper bound of every excess: its own, or that of the best plus the paired difference, whichever is lower."""
        top = self.height + self.z * self.error[self.best]
        found = []
        for i in range(len(self.alphas)):
            gap = self.gap(i, self.best)
            paired = top + gap.mean() + self.z * self.standard_error(gap)
            found.append(min(self.mean[i] + self.z * self.error[i], paired) if i != self.best else top)
        return np.array(found)

    def gap(self, i: int, j: int) -> Array:
        """Difference of two excesses, example by example, on those that both were seen on."""
        x, y = self.excesses[i], self.excesses[j]
        common = min(len(x), len(y))
        return np.asarray(x[:common] - y[:common])

    def _bends(self) -> Array:
        found = []
        for i in range(1, len(self.alphas) - 1):
            common = int(self.seen[i - 1 : i + 2].min())
            means = np.array([x[:common].mean() for x in self.excesses[i - 1 : i + 2]])
            found.append(bend(self.alphas[i - 1 : i + 2], means)[0])
        return np.array(found)

    def _ragged(self) -> Array:
        """How far a curve of n examples strays between two alphas for its examples change one by one: the mean height
        of a Brownian bridge of the variance that their difference has."""
        found = []
        for x, y in pairwise(self.excesses):
            common = min(len(x), len(y))
            found.append(float((x[:common] - y[:common]).var()))
        return BRIDGE * np.sqrt(np.array(found) / self.n)

    def between(self, ends: Array) -> Array:
        """Supremum within each gap between alphas of a curve through `ends` that bends and strays as this one does."""
        return suprema(ends, rises(self.alphas, self.bends) + self.ragged)

    def allowed(self, tolerance: float) -> float:
        """How high the curve may still be anywhere: no more than two tolerances above the lower bound."""
        return max(float(self.low) + 2 * tolerance, self.height + tolerance)

    def answer(self) -> Height:
        high = max(float(self.between(self.high).max()), self.height)
        return Height(
            self.height, float(self.low), high, float(self.alphas[self.best]), self.alphas, self.mean, self.seen
        )


def _more_images(view: _View, tolerance: float) -> dict[float, int]:
    """The alphas whose bounds are too wide to decide, and up to which example each should be seen."""
    found: dict[float, int] = {}
    allowed = view.allowed(tolerance)

    def ask(i: int, margin: float) -> None:
        if 0 < i < len(view.alphas) - 1 and view.seen[i] < view.n:
            found[float(view.alphas[i])] = _needed(view, i, margin)

    if view.height - view.low > tolerance:  # all others are judged by their differences from the best
        ask(view.best, tolerance)
    if found:
        return found
    for i in np.flatnonzero(view.high > allowed).tolist():
        ask(i, allowed - view.mean[i])
    if found:
        return found
    room = allowed - view.between(view.mean)
    for i in np.flatnonzero(view.between(view.high) > allowed).tolist():
        for j in (i, i + 1):  # is it the bend, or only that little was seen of the two alphas beside it?
            if view.seen[j] < min(BENT, view.n) or room[i] >= tolerance / 2:
                ask(j, max(room[i], tolerance / 2))
    return found


def _needed(view: _View, i: int, margin: float) -> int:
    """Examples at which z standard errors fit in `margin`, no less than 1.25 and no more than 4 times those seen."""
    have = int(view.seen[i])
    wanted = view.n
    if margin > 0:
        noise = min(spread(view.excesses[i]), spread(view.gap(i, view.best)) if i != view.best else math.inf)
        wanted = math.ceil(1.1 / ((margin / (view.z * noise)) ** 2 + 1 / view.n))
    return min(view.n, max(math.ceil(1.25 * have), min(wanted, 4 * have)))


def _middles(view: _View, tolerance: float) -> list[float]:
    """Middles of the gaps in which the curve may rise too high, and of wide ones beside the top of a barrier."""
    gaps = np.diff(view.alphas)
    wanted = (view.between(view.high) > view.allowed(tolerance)) & (gaps > FINEST)
    if view.height > tolerance:
        beside = slice(max(0, view.best - 1), view.best + 1)
        wanted[beside] |= gaps[beside] > BRACKET * 1.001
    return [float(view.alphas[i] + view.alphas[i + 1]) / 2 for i in np.flatnonzero(wanted)]


def spread(x: Array) -> float:
    """Standard deviation of x with one more example of the largest size seen (at least 1), on the far side of 0."""
    far = max(1.0, float(np.abs(x).max())) if len(x) else 1.0
    m = len(x) + 1
    mean = float(x.sum() + far) / m
    return math.sqrt(max(0.0, float((x**2).sum() + far**2) / m - mean**2))
