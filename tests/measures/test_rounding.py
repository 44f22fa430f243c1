"""Numbers keep the digits that their interval bears, and no more."""

import math

import pytest

from transferscope.measures import rounding


@pytest.mark.parametrize(
    ("effect", "low", "high", "said"),
    [
        (15.8, 11.2, 20.4, ("16", "11", "20")),
        (0.512, 0.31, 0.71, ("0.5", "0.3", "0.7")),
        (1.26, 0.02, 2.5, ("1.26", "0.02", "2.50")),  # a low end that would read 0 keeps a digit more
        (-3.1, -6.4, 0.2, ("−3.1", "−6.4", "0.2")),
        (1234.0, 700.0, 1900.0, ("1,200", "700", "1,900")),
        (2.0, -131.0, 140.0, ("2", "−131", "140")),  # points are never rounded to tens
    ],
)
def test_an_interval_says_how_many_digits(effect: float, low: float, high: float, said: tuple[str, ...]) -> None:
    decimals = rounding.places(effect, low, high)
    assert tuple(rounding.text(value, decimals) for value in (effect, low, high)) == said


def test_without_an_interval_two_digits_are_kept() -> None:
    assert rounding.text(-4.1667, rounding.places(-4.1667, None, None)) == "−4.2"
    assert rounding.text(39.4, rounding.places(39.4, None, None)) == "39"
    assert rounding.text(0.0, rounding.places(0.0, None, None)) == "0"
    assert rounding.text(math.nan, 1) == "–" and rounding.text(-0.0001, 1) == "0.0"


def test_shares_in_percent() -> None:
    assert rounding.percent(0.8213, 0.79, 0.85) == "82% (79 to 85)"
    assert rounding.percent(0.8213, 0.818, 0.825) == "82.1% (81.8 to 82.5)"
    assert rounding.percent(0.8213) == "82%"
