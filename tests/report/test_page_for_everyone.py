"""The page can be read by everyone: axe finds nothing wrong, wide and narrow, light and dark, folded and open."""

import html
import json
import re
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import browser
import pytest
from browser import CHROMIUM

AXE = find_spec("axe_core_python")
FLAGS = (*browser.FLAGS, "--virtual-time-budget=30000", "--window-size=1400,900")
ASK = """
addEventListener("load", async () => {
  while (!document.documentElement.dataset.ready) await new Promise((next) => setTimeout(next, 50));
  const all = (what) => [...document.querySelectorAll(what)];
  const folds = document.querySelectorAll("details:not(.drawing details)");
  for (const fold of folds) fold.open = location.search === "?open";
  const fits = (one) => !one.clientWidth || one.scrollWidth <= one.clientWidth + 2;
  for (let turn = 0; turn < 60 && (turn < 10 || !all(".chart").every(fits)); turn += 1)
    await new Promise((next) => setTimeout(next, 100));
  const wide = document.documentElement;
  const found = await axe.run(document, { resultTypes: ["violations"] });
  parent.postMessage({
    violations: found.violations.map((one) => one.id + ": " + one.nodes.map((node) => node.html).slice(0, 3)),
    rules: found.violations.length + found.passes.length,
    nameless: all("summary, a, button").filter((one) => !(one.ariaLabel || one.textContent).trim()).length,
    headings: all("h1, h2, h3, h4, h5").map((one) => Number(one.tagName[1])),
    ids: all("[id]").map((one) => one.id),
    images: all("img").filter((one) => !one.alt).length,
    sideways: wide.scrollWidth - wide.clientWidth,
    drawn: all(".chart").map((one) => one.dataset.drawn),
    wider: all(".chart").filter((one) => !fits(one)).map((one) => [one.id, one.scrollWidth, one.clientWidth]),
    current: all("nav [aria-current]").length,
  }, "*");
});
"""
FRAMES = """<!DOCTYPE html><html lang="en"><title>frames</title>
<style>body { margin: 0 } iframe { height: 900px; border: 0 }</style><pre id="said"></pre><script>
const left = WAYS, said = [];
const next = () => {
  if (!left.length) return void (document.getElementById("said").textContent = JSON.stringify(said));
  const [width, fold] = left.shift(), frame = document.createElement("iframe");
  frame.style.width = width + "px";
  frame.src = "page.html?" + fold;
  document.body.append(frame);
};
addEventListener("message", (event) => { said.push(event.data); document.querySelector("iframe").remove(); next(); });
next();
</script></html>"""
WAYS = [(width, fold) for width in (1280, 390) for fold in ("folded", "open")]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or AXE is None, reason="needs chromium on the PATH and axe-core-python"
)


@pytest.fixture(scope="module")
def asked(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], dict[tuple[int, str], Any]]:
    """``asked(dark)``: what axe and a few questions say of the page in frames of some widths, one after the other in
    one browser (a window is never narrower than 500)."""
    assert AXE is not None and AXE.submodule_search_locations
    folder = tmp_path_factory.mktemp("frames")
    axe = (Path(AXE.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text(encoding="utf-8"))
    start, end, rest = text.rpartition("</body>")
    more = f"<script>{axe}</script><script>{ASK}</script>"
    (folder / "page.html").write_text(start + more + end + rest, encoding="utf-8")
    (folder / "frames.html").write_text(FRAMES.replace("WAYS", json.dumps(WAYS)), encoding="utf-8")

    @cache
    def browse(dark: bool) -> dict[tuple[int, str], Any]:
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        profile = f"--user-data-dir={folder / 'profile'}"
        command = [str(CHROMIUM), *FLAGS, scheme, profile, (folder / "frames.html").as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
        said = re.search(r'<pre id="said">(.+?)</pre>', dom, re.DOTALL)
        assert said, "the page did not answer"
        return dict(zip(WAYS, json.loads(html.unescape(said[1])), strict=True))

    return browse


@pytest.mark.parametrize("fold", ["folded", "open"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_stands_in_a_readers_way(asked: Callable[[bool], Any], width: int, dark: bool, fold: str) -> None:
    said = asked(dark)[width, fold]
    assert said["violations"] == [] and said["rules"] > 20
    assert (said["nameless"], said["images"]) == (0, 0)
    levels = said["headings"]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no level is skipped"
    assert len(said["ids"]) == len(set(said["ids"]))
    assert said["sideways"] <= 1, "only tables and charts scroll sideways"
    assert set(said["drawn"]) == {"yes"} and said["wider"] == []
    assert said["current"] == 1, "the contents say where the reader is"
