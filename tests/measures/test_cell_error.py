"""What draws and images leave open of a cell's excess: by hand, and how often it holds the truth."""

import math

import numpy as np
import pytest

from transferscope.measures.cell_error import Spread, Tally, excess_interval, spread
from transferscope.measures.student import t_quantile


def tallied(excess, pieces):
    """A cell of `excess` (m, n), one answer an image, told in `pieces` of images."""
    tally = Tally(*excess.shape)
    for draw, row in enumerate(excess):
        for part in np.array_split(np.arange(len(row)), pieces):
            images = slice(int(part[0]), int(part[-1]) + 1)
            tally.add(draw, images, row[images], np.ones(len(part)), float(np.abs(row[images]).sum()))
    return tally


def test_it_is_the_two_way_formula_by_hand_however_it_is_told():
    rng = np.random.default_rng(0)
    excess = rng.integers(-1, 2, (4, 60)).astype(float)
    draws, images = excess.mean(1).var(ddof=1) / 4, excess.mean(0).var(ddof=1) / 60
    half = math.sqrt(t_quantile(0.975, 3) ** 2 * draws + t_quantile(0.975, 59) ** 2 * images)
    for pieces in (1, 7):
        tally = tallied(excess, pieces)
        low, high = excess_interval(tally, spread([tally]))
        assert (low, high) == pytest.approx((excess.mean() - half, excess.mean() + half))


def test_nothing_is_known_of_one_draw_and_no_flip_is_not_certainty():
    tally = tallied(np.zeros((1, 50)), 1)
    assert spread([tally]) == Spread(math.inf, 0.0)
    assert excess_interval(tally, spread([tally])) == (-math.inf, math.inf)
    low, high = excess_interval(tallied(np.zeros((3, 50)), 1), Spread(0.0, 2.0))
    least = math.sqrt(1.96**2 / (150 + 1.96**2) / 150)
    assert high == -low == pytest.approx(t_quantile(0.975, 49) * least)


@pytest.mark.parametrize("from_where", [0.3, 1.8])
def test_it_holds_the_mean_over_all_draws_and_images(from_where):
    """Where errors are common, and where they are rare and differ much between draws (3% to 12%)."""
    rng = np.random.default_rng(1)
    held, widths = [], []
    for _ in range(400):
        easy, of_draw = rng.normal(0, 1, 150), rng.normal(0, 0.4, 3)
        wrong = easy[None] + of_draw[:, None] + rng.normal(0, 0.5, (3, 150)) > from_where
        tally = tallied(wrong.astype(float), 3)
        low, high = excess_interval(tally, spread([tally]))
        truth = 0.5 * math.erfc(from_where / math.sqrt(1 + 0.16 + 0.25) / math.sqrt(2))
        held.append(low <= truth <= high)
        widths.append(high - low)
    assert np.mean(held) >= 0.92 and np.mean(widths) < 1  # 95% less three standard errors
