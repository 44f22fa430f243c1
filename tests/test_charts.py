"""Charts compile, keep an arm's colour everywhere, and survive few rows and odd names."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
import vl_convert

from transferscope import charts

FRAME = pl.DataFrame(
    {
        "arm": ["random", "random", "pretrained", "pretrained"],
        "block": ["stem", "fc", "stem", "fc"],
        "epoch": [1, 2, 1, 2],
        "value": [0.1, 0.2, 0.3, 0.4],
        "low": [0.05, 0.1, 0.2, 0.3],
        "high": [0.2, 0.3, 0.4, 0.5],
    }
)
RUNS = FRAME.select("arm", "block", "epoch", "value").with_columns(seed=pl.lit(0))
BAND: dict[str, Any] = {"low": "low", "high": "high"}

CASES: dict[str, Callable[[pl.DataFrame], Any]] = {
    "lines": lambda df: charts.lines(df, "epoch", "value", "arm", **BAND, runs=RUNS, percent=True, y_title="accuracy"),
    "lines, one colour": lambda df: charts.lines(df, "epoch", "value", reference=0.5, log_x=True),
    "lines, by block": lambda df: charts.lines(df, "block", "value", "arm", **BAND, facet="epoch", title="By block"),
    "lines, by number": lambda df: charts.lines(df, "block", "value", "epoch"),
    "dots": lambda df: charts.dots(df, "block", "value", "arm", **BAND, runs=RUNS, reference=0.0),
    "dots, facets": lambda df: charts.dots(df, "arm", "value", "arm", **BAND, facet="block"),
    "bars": lambda df: charts.bars(df, "block", "value", "arm", **BAND, percent=True),
    "forest": lambda df: charts.forest(df, "block", "value", "low", "high", value_title="gain (points)"),
    "heat": lambda df: charts.heat(df, "block", "arm", "value", percent=True),
    "heat, diverging": lambda df: charts.heat(df, "epoch", "arm", "value", scale="diverging", facet="block"),
    "beside": lambda df: charts.beside(charts.bars(df, "arm", "value"), charts.lines(df, "epoch", "value", "arm")),
}


def draw(chart: Any) -> str:
    return vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])


def colours(chart: dict[str, Any]) -> dict[str, str]:
    scale = next(
        layer["encoding"]["color"]["scale"] for layer in chart["layer"] if "scale" in layer["encoding"]["color"]
    )
    return dict(zip(scale["domain"], scale["range"], strict=True))


@pytest.mark.parametrize("rows", [4, 1, 0])
@pytest.mark.parametrize("name", CASES)
def test_every_chart_draws_many_few_and_no_rows(name: str, rows: int) -> None:
    assert draw(CASES[name](FRAME.head(rows))).startswith("<svg")


@pytest.mark.parametrize("name", CASES)
def test_missing_values_leave_gaps(name: str) -> None:
    holes = FRAME.with_columns(value=pl.Series([0.1, None, float("nan"), 0.4]), low=pl.lit(None, pl.Float64))
    assert draw(CASES[name](holes)).startswith("<svg")


def test_the_colour_of_an_arm_is_the_same_on_every_chart() -> None:
    found = [
        colours(chart.to_dict())
        for chart in (
            charts.lines(FRAME, "epoch", "value", "arm"),
            charts.lines(FRAME.tail(2), "epoch", "value", "arm"),
            charts.dots(FRAME.reverse(), "block", "value", "arm"),
            charts.bars(FRAME, "block", "value", "arm"),
        )
    ]
    assert {one["pretrained"] for one in found} == {charts.arm_colours(["P-T"])["P-T"]}
    assert len({one["random"] for one in found if "random" in one}) == 1


def test_arm_colours_are_distinct_and_do_not_depend_on_order() -> None:
    names = ["random", "pretrained", "stats", "transfuse:layer1", "transfuse:layer2", "mine", "yours"]
    found = charts.arm_colours(names)
    assert len(set(found.values())) == len(names)
    assert charts.arm_colours(names[::-1]) == found
    assert list(found) == names
    assert len(charts.arm_colours(str(n) for n in range(40))) == 40


def test_a_category_keeps_the_order_of_the_rows() -> None:
    order = ["stem", "layer10", "layer2", "fc"]
    df = pl.DataFrame({"block": order, "value": [1.0, 2.0, 3.0, 4.0]})
    for chart in (charts.lines(df, "block", "value"), charts.bars(df, "block", "value")):
        axes = [
            layer["encoding"].get("x", {}).get("sort") or layer["encoding"]["y"].get("sort")
            for layer in chart.to_dict()["layer"]
        ]
        assert axes[0] == order


def test_column_names_may_hold_what_altair_reads_as_syntax() -> None:
    odd = FRAME.rename({"value": "top-1:Q", "arm": "net.arm[0]"})
    svg = draw(charts.bars(odd, "block", "top-1:Q", "net.arm[0]"))
    assert svg.count('aria-roledescription="bar"') == 4


def test_percent_is_shown_as_percent() -> None:
    assert "20%" in draw(charts.lines(FRAME, "epoch", "value", "arm", percent=True))


def test_importing_the_builders_loads_no_altair() -> None:
    code = "import sys, transferscope.charts; sys.exit('altair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
