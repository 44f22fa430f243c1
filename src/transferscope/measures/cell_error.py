"""How surely a cell of a valley holds: its excess of errors, with what draws of noise and images leave open.

Errors of a cell are answers under m draws of noise on n images, both samples of more: an error differs from draw to
draw on all images, and from image to image under all draws. The variance of their mean is at most that of the means of
draws plus that of the means of images (Owen 2007, the pigeonhole bootstrap, section 3: what is left is counted twice).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope.measures.student import t_quantile

TAIL = 0.025  # each end of an interval of 95%
FEW = 1.96**2  # flips counted beside those seen, so that none seen is not none at all
Array = NDArray[np.float64]


class Tally:
    """Excess errors of a cell over those of the unchanged network, by draw (m,) and by image (n,), as far as seen."""

    def __init__(self, draws: int, images: int) -> None:
        self.by_draw, self.of_draw = np.zeros(draws), np.zeros(draws)
        self.by_image, self.of_image = np.zeros(images), np.zeros(images)
        self.flips = 0.0

    def add(self, draw: int, images: slice, excess: ArrayLike, answers: ArrayLike, flips: float) -> None:
        """One draw on some images: excess errors and answers of each, and how many answers changed in being right."""
        more, of = np.asarray(excess, dtype=np.float64), np.asarray(answers, dtype=np.float64)
        self.by_draw[draw] += more.sum()
        self.of_draw[draw] += of.sum()
        self.by_image[images] += more
        self.of_image[images] += of
        self.flips += flips

    @property
    def answers(self) -> float:
        return float(self.of_draw.sum())

    @property
    def excess(self) -> float:
        """Mean over the answers seen."""
        return float(self.by_draw.sum() / self.answers)

    @property
    def deviations(self) -> Array:
        """How far the excess under each draw seen is from the mean."""
        seen = self.of_draw > 0
        return np.asarray(self.by_draw[seen] / self.of_draw[seen] - self.excess)

    @property
    def of_images(self) -> tuple[float, float]:
        """The variance of the excess by the images alone, and its degrees of freedom."""
        seen = self.of_image > 0
        count = int(seen.sum())
        if count < 2:
            return math.inf, 1.0
        rest = self.by_image[seen] - self.excess * self.of_image[seen]
        return float((rest**2).sum()) / self.answers**2 * count / (count - 1), count - 1.0


@dataclass(frozen=True)
class Spread:
    """The variance of the excess under one draw from that under another, and its degrees of freedom (0: not known)."""

    variance: float
    free: float


def spread(cells: Sequence[Tally]) -> Spread:
    """Within cells near what is allowed. All cells have the same draws and so tell much the same of them: the degrees
    of freedom are those of one cell."""
    apart = [cell.deviations for cell in cells]
    free = sum(len(one) - 1 for one in apart)
    if not free:
        return Spread(math.inf, 0.0)
    return Spread(sum(float((one**2).sum()) for one in apart) / free, max(len(one) for one in apart) - 1.0)


def excess_interval(cell: Tally, draws: Spread) -> tuple[float, float]:
    """Between what the excess over all images and draws lies at 95%, infinite where nothing is known of the draws.

    Each variance has its own t quantile, and the squares of both half widths are added: one t by the degrees of
    freedom of their sum is too small where few draws agree by luck. The least variance is that of the share of answers
    that changed, with z^2 = 3.84 changes more than were seen.
    """
    of_images, free = cell.of_images
    if not draws.free or not math.isfinite(of_images):
        return -math.inf, math.inf
    seen = cell.answers
    of_draws = draws.variance * float((cell.of_draw**2).sum()) / seen**2
    least = t_quantile(1 - TAIL, free) ** 2 * (cell.flips + FEW) / (seen + FEW) / seen
    squares = t_quantile(1 - TAIL, draws.free) ** 2 * of_draws + t_quantile(1 - TAIL, free) ** 2 * of_images
    half = math.sqrt(max(squares, least))
    return cell.excess - half, cell.excess + half
