"""Figures are real SVG and PDF, the same in every process, and redrawn exactly when they change."""

import itertools
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import polars as pl
import pytest
from sample_study import HOSTILE

from transferscope import chart_process
from transferscope.report import figures, reproducible_figures
from transferscope.section import Chart


def line(name: str = "a", top: float = 1.0) -> Chart:
    import altair as alt

    hover = alt.selection_point(on="pointerover")  # altair counts these: param_1, param_2, ...
    rows = pl.DataFrame({"x": [0, 1], "y": [0.0, top], "block": ["param_1", "layer_1"]})
    return Chart(name, "A line", alt.Chart(rows).mark_line().encode(x="x", y="y", color="block").add_params(hover))


def test_every_figure_of_the_report_is_valid(report: Path) -> None:
    folder = report.parent / "figures"
    names = {path.name.partition(".")[0] for path in folder.iterdir()} - {"transfer-square"}
    assert names == {"transfer-opening", "transfer-curves", "transfer-final", "transfer-targets", "similarity-cka"}
    for name in names:
        assert ET.parse(folder / f"{name}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
        pdf = (folder / f"{name}.pdf").read_bytes()
        assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
        assert {"data", "datasets"} & set(json.loads((folder / f"{name}.vl.json").read_text()))
    texts = [
        element.text for element in ET.parse(folder / "transfer-targets.svg").iter("{http://www.w3.org/2000/svg}text")
    ]
    assert HOSTILE in texts
    assert (folder / "transfer-square.png").read_bytes().startswith(b"\x89PNG")


def test_a_specification_does_not_depend_on_what_was_drawn_before() -> None:
    first, second = figures.specification(line()), figures.specification(line())
    assert first == second
    assert {row["block"] for rows in first["datasets"].values() for row in rows} == {"param_1", "layer_1"}


def test_numbers_that_are_not_finite_become_null() -> None:
    spec = figures.specification(
        Chart("n", "n", {"mark": "point", "data": {"values": [{"x": float("nan"), "y": 1 / 3}]}})
    )
    assert spec["data"]["values"] == [{"x": None, "y": 0.3333}]


def test_only_a_changed_figure_is_drawn_again(tmp_path: Path) -> None:
    def write(chart: Chart) -> int:
        figures.write_figure(tmp_path, chart.name, figures.specification(chart))
        return (tmp_path / f"{chart.name}.svg").stat().st_ino

    for kind in ("svg", "pdf", "vl.json"):
        write(line())
        (tmp_path / f"a.{kind}").unlink()
        write(line())
        assert (tmp_path / f"a.{kind}").exists()
    first = (tmp_path / "a.svg").read_bytes()
    assert write(line()) == write(line())
    write(line(top=5.0))
    assert (tmp_path / "a.svg").read_bytes() != first


def test_bytes_are_those_of_the_chart_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips and gradients are numbered, and a PDF's resources ordered, by a converter that drew other things before."""
    import altair as alt

    rows = pl.DataFrame({"x": [0, 1, 2], "y": [0.0, 1.0, 0.5]})
    base = alt.Chart(rows).mark_line(clip=True).encode(x="x", y="y", color="x", opacity="y")
    many = Chart("many", "Many", alt.layer(base, base.mark_point(clip=True), base.mark_text(text="é")))
    for place, before in (("alone", 0), ("after", 3)):
        monkeypatch.setattr(chart_process, "_drawer", chart_process.Drawer())
        for number in range(before):
            figures.write_figure(tmp_path / place, f"before{number}", figures.specification(many))
        figures.write_figure(tmp_path / place, "many", figures.specification(many))
    for kind in ("svg", "pdf", "vl.json"):
        assert (tmp_path / "alone" / f"many.{kind}").read_bytes() == (tmp_path / "after" / f"many.{kind}").read_bytes()
    svg, pdf = ((tmp_path / "alone" / f"many.{kind}").read_bytes() for kind in ("svg", "pdf"))
    numbers = [int(number) for number in re.findall(rb'id="[a-z]+_?(\d+)"', svg)]
    assert len(numbers) > 1 and numbers == list(range(len(numbers)))
    assert reproducible_figures.pdf(pdf) == pdf, "its table of objects points to them"
    assert reproducible_figures.pdf(b"%PDF-1.7 of another layout") == b"%PDF-1.7 of another layout"


def test_a_figure_never_fetches_its_data(tmp_path: Path) -> None:
    spec = {"data": {"url": "http://localhost:9/rows.csv"}, "mark": "point", "encoding": {}}
    with pytest.raises(chart_process.DrawingError, match="ValueError"):
        figures.write_figure(tmp_path, "far", spec)


def test_the_library_is_taken_from_a_current_page_only(report: Path, tmp_path: Path) -> None:
    script, label = figures.library(report)
    assert "vegaEmbed" in script and "</script" not in script.lower()
    old = tmp_path / "report.html"
    old.write_text(report.read_text(encoding="utf-8").replace(label, "vl-convert 0.1, vega-lite 6.4"), encoding="utf-8")
    assert figures.library(old)[0].rstrip() == script.rstrip()


def test_embedded_json_survives_and_closes_nothing() -> None:
    for mark, place in itertools.product(("</script>", "<!--", "&lt;", "\u2028", "]]>"), ("key", "value")):
        value = {mark: 1} if place == "key" else {"a": mark}
        text = figures.embedded(value)
        assert json.loads(text) == value
        assert not set("<>&\u2028") & set(text)


def test_packed_rows_keep_their_values_and_their_gaps() -> None:
    spec = {"mark": "point", "datasets": {"d": [{"a": 1, "b": None}, {"b": 2.5, "c": "x"}]}}
    table = {"columns": ["a", "b", "c"], "texts": {}, "rows": [[1, None, None], [None, 2.5, "x"]]}
    assert figures.packed(spec) == {"mark": "point", "datasets": {"d": table}}
    assert figures.packed({"mark": "point"}) == {"mark": "point"}


def test_packed_words_that_repeat_are_said_once() -> None:
    rows = [{"kind": kind, "n": n} for n, kind in enumerate(["a", "b", None, "a", "b"])]
    packed = figures.packed({"datasets": {"d": rows}})["datasets"]["d"]
    assert packed["texts"] == {"kind": ["a", "b"]}
    assert packed["rows"] == [[0, 0], [1, 1], [None, 2], [0, 3], [1, 4]]


def test_put_leaves_no_scraps_and_no_needless_writes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    figures.put(path, b"1")
    inode = path.stat().st_ino
    figures.put(path, b"1")
    assert path.stat().st_ino == inode
    figures.put(path, b"2")
    assert path.read_bytes() == b"2"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
