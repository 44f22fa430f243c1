"""A converter that takes its process down, or never answers: its chart is named as missing, and the page stands."""

import html
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from sample_study import provenance, transfer_part

from transferscope import chart_process
from transferscope.report import PagePart, write_report
from transferscope.report.failures import Mishaps
from transferscope.section import Section

DIES = "import os, sys; sys.stdin.buffer.read(9); os.kill(os.getpid(), {number})"
HANGS = "import time; time.sleep(600)"


def at_first(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process that draws runs `code` instead; those after it are as ever."""
    drawer = chart_process.Drawer()
    drawer._process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    monkeypatch.setattr(chart_process, "_drawer", drawer)


@pytest.mark.parametrize("number", [signal.SIGTRAP, signal.SIGKILL], ids=lambda number: number.name)
def test_a_converter_that_dies_costs_one_chart(tmp_path: Path, monkeypatch, number: signal.Signals) -> None:
    at_first(DIES.format(number=int(number)), monkeypatch)
    found = Mishaps(tmp_path / "failures" / "report.txt")
    parts = [transfer_part(), PagePart("one", "What it is.", Section("s"), pl.DataFrame({"n": [1]}))]
    page = write_report(tmp_path, title="t", question="", parts=parts, provenance=provenance(), mishaps=found)
    (said,) = found.said
    assert said.startswith("The chart '") and f"the process that draws ended (signal {number.name})" in said
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert said in text and "vegaEmbed" in text and "Pretraining raised" in text
    assert len(list((tmp_path / "figures").glob("transfer-*.svg"))) >= 2, "the other charts were drawn"


def test_a_converter_that_never_answers_is_ended(monkeypatch) -> None:
    at_first(HANGS, monkeypatch)
    monkeypatch.setattr(chart_process, "LIMIT", 1.0)
    with pytest.raises(chart_process.DrawingError, match="nothing was drawn within 1 s, so that its process was ended"):
        chart_process.pdf("<svg/>")


def test_a_page_without_its_script_still_tells_everything(tmp_path: Path, monkeypatch) -> None:
    def none(grammar: str) -> str:
        raise chart_process.DrawingError("the process that draws ended (signal SIGTRAP)")

    monkeypatch.setattr(chart_process, "script", none)
    found = Mishaps()
    parts = [transfer_part()]
    page = write_report(tmp_path, title="t", question="", parts=parts, provenance=provenance(), mishaps=found)
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert found.said[0].startswith("The script that shows the charts could not be written") and found.said[0] in text
    assert "Pretraining raised" in text and list((tmp_path / "figures").glob("*.svg"))
