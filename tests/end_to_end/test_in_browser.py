"""The page of a real study in a real browser with the network blocked: every section, every chart."""

import json
import re
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import browser
import pytest
from browser import CHROMIUM

FLAGS = (*browser.FLAGS, "--virtual-time-budget=8000", "--window-size=1280,900")


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH")
def test_every_section_and_chart_is_drawn(finished: Path, tmp_path: Path) -> None:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", (finished / "report.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    plain = re.sub(r"</?abbr[^>]*>", "", dom)  # letters of networks explain themselves
    summary = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert {"images", "transfer"} <= {one["name"] for one in summary["analyses"]}
    for one in summary["analyses"]:
        assert f'id="{one["name"]}"' in dom and escape(one["title"], quote=False) in dom
        for finding in one["findings"]:
            assert escape(finding["text"], quote=False) in plain
        for card in one["cards"]:
            assert escape(card["headline"], quote=False) in plain
    drawn = re.findall(r'<div class="chart" id="([^"]+)"[^>]*data-drawn="(\w+)"', dom)
    assert sorted(drawn) == sorted((chart["name"], "yes") for one in summary["analyses"] for chart in one["charts"])
    assert drawn[0] == ("transfer-shapes-opening", "yes"), "the learning curve comes first"
    assert len(drawn) >= 2 and dom.count('class="marks"') == len(drawn)
    assert dom.count(";base64,") >= 1, "the strip of example images"


def test_the_page_asks_nobody_for_anything(finished: Path) -> None:
    asked, linked = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            known = [value for name, value in attributes if name in ("src", "href", "srcset", "data") and value]
            (linked if tag == "a" else asked).extend(known)

    Reader().feed((finished / "report.html").read_text(encoding="utf-8"))
    assert asked and all(value.startswith("data:") for value in asked)
    files = [value for value in linked if not value.startswith("#")]
    assert len(files) > 5 and all((finished / value).is_file() for value in files), "they lie beside the page"
