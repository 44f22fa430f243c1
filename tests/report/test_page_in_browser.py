"""The page in a real browser with the network blocked: every chart is drawn and nothing hostile runs."""

import dataclasses
import re
import subprocess
from pathlib import Path

import browser
import polars as pl
import pytest
from browser import CHROMIUM
from sample_study import provenance

from transferscope.report import PagePart, write_report
from transferscope.section import Finding, Section, View

FLAGS = (*browser.FLAGS, "--virtual-time-budget=8000")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


def browse(page: Path, profile: Path, *options: str) -> str:
    """The elements Chromium ends up with for `page`, with every host name refused."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@pytest.mark.parametrize("width", [1280, 420])
def test_every_chart_is_drawn(report: Path, tmp_path: Path, width: int) -> None:
    dom = browse(report, tmp_path, f"--window-size={width},900")
    charts = re.findall(r'<div class="chart" id="([^"]+)"[^>]*data-drawn="(\w+)"', dom)
    assert charts == [
        ("transfer-opening", "yes"),
        ("transfer-curves", "yes"),
        ("transfer-final", "yes"),
        ("transfer-targets", "yes"),
        ("similarity-cka", "yes"),
    ]
    assert dom.count('class="marks"') == 5
    assert 'data-ready="yes"' in dom


def test_injected_scripts_do_not_run(report: Path, tmp_path: Path) -> None:
    """Even a hole in the escaping would not do: the policy admits the page's own two scripts and no third."""
    injected = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"></body>"
    page = tmp_path / "report.html"
    start, _, rest = report.read_text(encoding="utf-8").rpartition("</body>")
    page.write_text(start + injected + rest, encoding="utf-8")
    dom = browse(page, tmp_path / "profile")
    assert "document.title = 'taken'" in dom
    assert "<title>Emoji from ImageNet</title>" in dom
    assert dom.count('class="marks"') == 5


def test_long_names_fit_on_a_phone(tmp_path: Path) -> None:
    """In headings, in what a folded chapter says that it holds, in findings and in the study file."""
    name = "a_name_of_more_than_sixty_letters_without_a_place_to_break_it_anywhere"
    section = Section(name, findings=[Finding(f"On {name}, nothing.")], basis=name, notes=[name])
    page = write_report(
        tmp_path,
        title=name,
        question=f"What did {name} give?",
        parts=[PagePart("one", "What.", section, pl.DataFrame())],
        provenance=dataclasses.replace(provenance(), study=f"name: {name}\n", steps=()),
    )
    assert browser.width(page) == 390


@pytest.mark.parametrize(("width", "columns", "wide"), [(1280, 4, False), (1280, 30, True), (420, 8, True)])
def test_a_table_that_is_wider_than_the_page_says_so(tmp_path: Path, width: int, columns: int, wide: bool) -> None:
    rows = pl.DataFrame({f"column {number}": ["some words"] for number in range(columns)})
    section = Section("s", tables=(View("v", "Wide", rows),))
    page = write_report(
        tmp_path,
        title="t",
        question="",
        parts=[PagePart("one", "What.", section, rows)],
        provenance=dataclasses.replace(provenance(), steps=()),
    )
    dom = browse(page, tmp_path / "profile", f"--window-size={width},900")
    assert ('class="grid wide"' in dom) is wide
