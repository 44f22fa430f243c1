"""Charts as figure files (SVG, PDF and their own Vega-Lite source) and as safe JSON for the page; no network."""

import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transferscope import drawing, whole
from transferscope.report import same_bytes
from transferscope.section import Chart

WRITTEN = 2  # raised when the same chart gives other bytes, so that it is drawn again
QUALITY = 82  # of a picture on the page, in the measure of WebP
_COUNTED = re.compile(r"\b[a-z]+_\d+\b")


def specification(chart: Chart) -> dict[str, Any]:
    """The chart as a Vega-Lite object that is the same in every process.

    altair numbers its parameters and views by a process-wide count; they are renumbered in order of appearance. Numbers
    in the data keep four significant digits; what is not finite becomes null.
    """
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        raw = chart.spec.to_dict() if hasattr(chart.spec, "to_dict") else dict(chart.spec)
    counted = dict.fromkeys(_counted(raw))
    spec: dict[str, Any] = _clean(raw, {name: f"part_{place}" for place, name in enumerate(counted)})
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
    svg = same_bytes.svg(drawing.svg(json.dumps(spec), _grammar()))
    put(paths["svg"], svg.encode())
    put(paths["pdf"], same_bytes.pdf(drawing.pdf(svg)))
    put(paths["vl.json"], source)
    return svg


def library(page: Path) -> tuple[str, str]:
    """The chart script (vega, vega-lite, vega-embed) and its label, from the `page` of last time if that is current.

    Bundling takes 1.5 s, which is half of what opening a finished study may cost. Raises DrawingError.
    """
    label = f"vl-convert {version('vl-convert-python')}, vega-lite {_grammar()}"
    if page.exists():
        opening = f'<script id="library" data-label="{label}">'
        _, found, rest = page.read_text(encoding="utf-8", errors="replace").partition(opening)
        script, closed, _ = rest.partition("</script>")
        if found and closed and "vegaEmbed" in script:
            return script, label
    script = drawing.script(_grammar())
    return script.replace("</script", r"<\/script").replace("<!--", r"<\!--"), label


def put(path: Path, content: bytes) -> None:
    """Write whole or not at all, and leave a file that already says the same untouched."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write(path, content)


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


def _grammar() -> str:
    """The vega-lite release altair writes for, as vl-convert names it ("6.4"), else the newest that vl-convert has."""
    import altair as alt
    import vl_convert

    wanted = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    known: list[str] = vl_convert.get_vegalite_versions()
    return wanted if wanted in known else known[-1]


def _counted(value: Any) -> Iterator[str]:
    """The names altair made up, where they are given; data is never looked at (a block may well be called layer_1)."""
    if isinstance(value, dict):
        name = value.get("name")
        if isinstance(name, str) and _COUNTED.fullmatch(name):
            yield name
        for key, item in value.items():
            yield from () if key in ("datasets", "values") else _counted(item)
    elif isinstance(value, list):
        for item in value:
            yield from _counted(item)


def _clean(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item, {} if key in ("datasets", "values") else names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item, names) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, str) and names:
        return _COUNTED.sub(lambda hit: names.get(hit[0], hit[0]), value)
    return value
