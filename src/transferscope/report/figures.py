"""Charts as figure files (SVG, PDF and their own Vega-Lite source) and as safe JSON for the page; no network."""

import io
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferscope import atomic_files, chart_process
from transferscope.charts.specification import grammar, plain
from transferscope.report import reproducible_figures
from transferscope.section import Chart

WRITTEN = 2  # raised when the same chart gives other bytes, so that it is drawn again
QUALITY = 82  # of a picture on the page, in the measure of WebP


def specification(chart: Chart) -> dict[str, Any]:
    """The chart as a Vega-Lite object that is the same in every process (`charts.specification.plain`)."""
    spec = plain(chart.spec)
    description = ". ".join(part.rstrip(".") for part in (chart.title, chart.caption) if part)
    return {**spec, "description": description}


def write_figure(folder: Path, name: str, spec: Mapping[str, Any]) -> str:
    """Write `name`.svg and .pdf beside `name`.vl.json, their source, unless that is already what lies there.

    Returns the SVG text. The source names the converter's version, so that a new converter draws everything again.
    Raises DrawingError.
    """
    meta = {**spec.get("usermeta", {}), "drawn by": f"vl-convert {version('vl-convert-python')}", "written": WRITTEN}
    source = json.dumps({**spec, "usermeta": meta}, sort_keys=True, ensure_ascii=False).encode()
    paths = {kind: folder / f"{name}.{kind}" for kind in ("svg", "pdf", "vl.json")}
    if all(path.exists() for path in paths.values()) and paths["vl.json"].read_bytes() == source:
        return paths["svg"].read_text(encoding="utf-8")
    paths["vl.json"].unlink(missing_ok=True)  # it vouches for the other two, so it goes first and comes last
    svg = reproducible_figures.svg(chart_process.svg(json.dumps(spec), grammar()))
    put(paths["svg"], svg.encode())
    put(paths["pdf"], reproducible_figures.pdf(chart_process.pdf(svg)))
    put(paths["vl.json"], source)
    return svg


def library(page: Path) -> tuple[str, str]:
    """The chart script (vega, vega-lite, vega-embed) and its label, from the `page` of last time if that is current.

    Bundling takes 1.5 s, which is half of what opening a finished study may cost. Raises DrawingError.
    """
    label = f"vl-convert {version('vl-convert-python')}, vega-lite {grammar()}"
    if page.exists():
        opening = f'<script id="library" data-label="{label}">'
        _, found, rest = page.read_text(encoding="utf-8", errors="replace").partition(opening)
        script, closed, _ = rest.partition("</script>")
        if found and closed and "vegaEmbed" in script:
            return script, label
    script = chart_process.script(grammar())
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--"), label


def put(path: Path, content: bytes) -> None:
    """Write whole or not at all, and leave a file that already says the same untouched."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write(path, content)


def embedded_picture(png: bytes) -> tuple[str, bytes]:
    """A picture for the page, and its kind: WebP of a quarter of the size, which every browser shows, where Pillow can
    write it; the PNG itself, which lies beside the page whole, where it cannot or where that is smaller."""
    from PIL import Image, features

    if not features.check("webp"):
        return "png", png
    made = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(made, "WEBP", quality=QUALITY, method=6)
    return ("webp", made.getvalue()) if len(made.getvalue()) < len(png) else ("png", png)


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: no character in it can close the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def packed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification whose datasets say their columns and their words once, for the script of the page."""
    if "datasets" not in spec:
        return dict(spec)
    return {**spec, "datasets": {name: _packed(rows) for name, rows in spec["datasets"].items()}}


def _packed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The names of columns, the distinct texts of those that repeat them, and rows, where such a text is its place."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [[row.get(column) for column in columns] for row in rows]
    texts: dict[str, list[Any]] = {}
    for at, column in enumerate(columns):
        known = [row[at] for row in cells if row[at] is not None]
        distinct: list[Any] = list(dict.fromkeys(known)) if all(isinstance(value, str) for value in known) else []
        if 0 < 2 * len(distinct) <= len(known):
            texts[column] = distinct
            place = {word: number for number, word in enumerate(distinct)}
            for row in cells:
                row[at] = None if row[at] is None else place[row[at]]
    return {"columns": columns, "texts": texts, "rows": cells}
