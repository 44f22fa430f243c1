"""The page of a real study in a real browser with the network blocked: every section, every chart."""

import json
import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=8000",
    "--window-size=1280,900",
    "--dump-dom",
)


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium on the PATH")
def test_every_section_and_chart_is_drawn(finished: Path, tmp_path: Path) -> None:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", (finished / "report.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    summary = json.loads((finished / "results.json").read_text(encoding="utf-8"))
    assert {"images", "transfer"} <= {one["name"] for one in summary["analyses"]}
    for one in summary["analyses"]:
        assert f'id="{one["name"]}"' in dom and escape(one["title"], quote=False) in dom
        for finding in one["findings"]:
            assert escape(finding["text"], quote=False) in dom
    drawn = re.findall(r'<div class="chart" id="([^"]+)"[^>]*data-drawn="(\w+)"', dom)
    assert drawn == [(chart["name"], "yes") for one in summary["analyses"] for chart in one["charts"]]
    assert len(drawn) >= 2 and dom.count('class="marks"') == len(drawn)
    assert dom.count("data:image/png;base64,") >= 1, "the strip of example images"


def test_the_page_asks_nobody_for_anything(finished: Path) -> None:
    asked = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            asked.extend(value for name, value in attributes if name in ("src", "href", "srcset", "data") and value)

    Reader().feed((finished / "report.html").read_text(encoding="utf-8"))
    assert len(asked) > 5
    assert [value for value in asked if not value.startswith(("data:", "#"))] == []
