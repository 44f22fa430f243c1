"""How high a curve may rise between the points where it is known, judged by how it bends at them."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CAUTION = 1.5  # the curve may bend this much more between two points than it does at them


def bend(alphas: Array, curve: Array) -> Array:
    """Downward second derivative at each inner point of an uneven grid, by second differences, (m - 2,); >= 0."""
    slopes = np.diff(curve) / np.diff(alphas)
    return np.asarray(np.maximum(0, -2 * np.diff(slopes) / (alphas[2:] - alphas[:-2])))


def rises(alphas: Array, bends: Array) -> Array:
    """How far above its chord the curve may rise within each gap, (m - 1,), by the `bends` (m - 2,) beside it."""
    padded = np.concatenate([[0.0], bends, [0.0]])
    return np.asarray(CAUTION * np.maximum(padded[:-1], padded[1:]) * np.diff(alphas) ** 2 / 8)


def suprema(curve: Array, rise: Array) -> Array:
    """Supremum within each gap, (m - 1,), of the parabola through the curve's points that rises `rise` on its chord."""
    a, b = curve[:-1], curve[1:]
    slope = np.abs(b - a)
    inside = (a + b) / 2 + rise + slope**2 / np.maximum(16 * rise, 1e-300)
    return np.asarray(np.where(slope >= 4 * rise, np.maximum(a, b), inside))
