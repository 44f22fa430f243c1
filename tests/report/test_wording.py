"""Numbers, intervals and docstrings read as a person would write them."""

import math

import polars as pl
import pytest

from transferscope.analyses._shared import contrasts
from transferscope.measures.intervals import Interval
from transferscope.report import wording
from transferscope.section import Finding


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0.000"),
        (-0.1234, "−0.123"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
        (12345, "12,345"),
        (300, "300"),
        (True, "True"),
        (1e-5, "1.00e−05"),
        ("a-b", "a-b"),
    ],
)
def test_number(value: object, text: str) -> None:
    assert wording.number(value) == text


def test_interval_shares_its_decimals() -> None:
    assert wording.interval(Finding("f", 3.25, -1, 14, 1, "%")) == "3.2% · 95% interval −1.0 to 14.0% · 1 seed"
    assert wording.interval(Finding("f", 0.5)) == "0.500"
    assert wording.interval(Finding("f", n=4)) == "4 seeds"
    assert wording.interval(Finding("f", n=3, images=1381)) == "3 seeds, 1,381 images"
    assert wording.interval(Finding("f", n=1, images=1)) == "1 seed, 1 image"
    assert wording.interval(Finding("f")) == ""


def test_whisker_shows_whether_zero_lies_inside() -> None:
    outside, inside = wording.whisker(Finding("f", 2, 1, 3)), wording.whisker(Finding("f", 2, -1, 3))
    assert outside and inside
    assert outside["zero"] < outside["low"] < outside["effect"] < outside["high"] <= 100
    assert 0 <= inside["low"] < inside["zero"] < inside["effect"]
    below = wording.whisker(Finding("f", -2, -3, -1))
    assert below and below["high"] < below["zero"] <= 100
    assert wording.whisker(Finding("f", 2, None, 3)) is None
    assert wording.whisker(Finding("f", 2, -math.inf, 3)) is None
    assert wording.whisker(Finding("f", 0, 0, 0)) is not None


def test_verdicts() -> None:
    assert wording.verdict(Finding("f", claim=4, verdict="open")) == "Leaves claim 4 open"
    assert wording.verdict(Finding("f", verdict="supports")) == "Supports the paper"
    assert wording.verdict(Finding("f", claim=4)) is None


def test_prose_is_light_markdown_without_markup_of_its_own() -> None:
    lead, rest = wording.prose(
        "First\n    line.\n\n    Then **bold** ``code``\n\n    - <b>x</b>\n    - [l](javascript:alert(1))\n"
    )
    assert lead == "First line."
    assert "<strong>bold</strong> <code>code</code>" in rest
    assert "<li>&lt;b&gt;x&lt;/b&gt;</li>" in rest
    assert "href" not in rest
    assert wording.prose("") == ("", "")


def test_durations() -> None:
    assert [wording.duration(s) for s in (0.25, 42, 412, 36_000)] == ["0.2 s", "42 s", "7 min", "10.0 h"]


def test_table_as_text() -> None:
    table = wording.table(pl.DataFrame({"a_b": ["x", None], "n": [1.5, math.nan]}))
    assert table == {"columns": [("a b", False), ("n", True)], "rows": [["x", "1.500"], ["–", "–"]], "left": 0}


def test_without_an_interval_the_values_are_told() -> None:
    found = contrasts.finding("A.", Interval(0.5, None, None, 2, "values 0, 1"), "points")
    assert wording.interval(found) == "0.500 points · values 0, 1 · 2 seeds"
    assert wording.interval(contrasts.finding("A.", Interval(0.5, None, None, 1, "one seed"))) == "0.500 · 1 seed"
