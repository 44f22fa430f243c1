"""The report of a study: one self-contained page, its figure files, one CSV per analysis, and results.json."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import polars as pl
from markupsafe import Markup

from transferscope.report import figures, wording
from transferscope.section import CLAIMS, Chart, Section

Labels = Mapping[str, Any]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """One analysis: its name in the study, its docstring, what it found, its tidy table, and the cells it lacks."""

    name: str
    docstring: str
    section: Section
    table: pl.DataFrame
    missing: Sequence[tuple[Labels, str]] = ()


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from; only the page shows `machine`, `seconds`, `steps` and `created`, no data file does.

    `precision` is what the networks were trained and scored in, empty where none was. `steps` holds (task, key, seconds
    or None, labels); `created` is a date in words, empty to leave it out.
    """

    study: str
    versions: Mapping[str, str]
    precision: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    steps: Sequence[tuple[str, str, float | None, Labels]] = ()
    created: str = ""


def write_report(folder: Path, *, title: str, question: str, parts: Sequence[Part], provenance: Provenance) -> Path:
    """Write `report.html`, `figures/`, `tables/` and `results.json` into `folder` and return the page's path.

    The same study gives the same bytes in every file but the page, which also tells of the machine, and the PDFs, whose
    converter lists its resources in any order. Files whose content would not change are left alone. A chart that
    cannot be drawn costs its place on the page, where the reason stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    sections = [_section(folder, part) for part in parts]
    for part in parts:
        figures.put(folder / "tables" / f"{slug(part.name)}.csv", wording.csv(part.table))
    summary = _results(title, question, parts, sections, provenance)
    figures.put(folder / "results.json", (json.dumps(summary, indent=2, ensure_ascii=False) + "\n").encode())

    script, label = figures.library(page)
    style, start = (HERE / "style.css").read_text(encoding="utf-8"), (HERE / "page.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": wording.number, "labels": wording.labels, "duration": wording.duration}
    html = environment.get_template("page.html.j2").render(
        title=title,
        question=question,
        sections=sections,
        letters=any(
            "P-T" in finding["text"] or "RI-T" in finding["text"] for s in sections for finding in s["findings"]
        ),
        notes=list(dict.fromkeys(note for section in sections for note in section["notes"])),
        missing=sum(len(part.missing) for part in parts),
        claims=_claims(sections),
        provenance=provenance,
        tasks=_tasks(provenance),
        style=Markup(style),
        library=Markup(script),
        library_label=label,
        start=Markup(start),
        hashes=[_hash(script), _hash(start)],
    )
    figures.put(page, html.encode())
    return page


def slug(name: str) -> str:
    """A file name or anchor made of the harmless characters of `name`; never empty, never hidden."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "unnamed"


def _section(folder: Path, part: Part) -> dict[str, Any]:
    """What the template needs to know of one analysis; writes its figures."""
    section, taken = part.section, set[str]()
    lead, guide = wording.prose(part.docstring)
    charts = [
        _chart(folder / "figures", _unused(f"{slug(part.name)}-{slug(chart.name)}", taken), chart)
        for chart in section.charts
    ]
    pictures = []
    for picture in section.pictures:
        name = _unused(f"{slug(part.name)}-{slug(picture.name)}", taken)
        figures.put(folder / "figures" / f"{name}.png", picture.png)
        url = "data:image/png;base64," + base64.b64encode(picture.png).decode()
        pictures.append({"name": name, "title": picture.title, "caption": picture.caption, "url": url})
    return {
        "id": slug(part.name),
        "name": part.name,
        "title": section.title,
        "lead": lead,
        "guide": guide,
        "findings": [
            {
                "text": finding.text,
                "interval": wording.interval(finding),
                "whisker": wording.whisker(finding),
                "verdict": finding.verdict,
                "claim": finding.claim,
                "words": wording.verdict(finding),
            }
            for finding in section.findings
        ],
        "charts": charts,
        "pictures": pictures,
        "tables": [
            {"title": view.title, "caption": view.caption, **wording.table(view.rows)} for view in section.tables
        ],
        "notes": list(section.notes),
        "missing": [(wording.labels(cell), reason) for cell, reason in part.missing],
        "rows": part.table.height,
    }


def _chart(folder: Path, name: str, chart: Chart) -> dict[str, Any]:
    shown = {"name": name, "title": chart.title, "caption": chart.caption, "problem": "", "json": "", "still": ""}
    try:
        spec = figures.specification(chart)
        svg = figures.write_figure(folder, name, spec)
    except OSError:
        raise  # a full or read-only disk is not the chart's fault
    except Exception as error:
        return {
            **shown,
            "problem": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}",
        }
    still = "data:image/svg+xml," + quote(svg, safe=" =:/;,.()-_")
    return {**shown, "json": Markup(figures.embedded(spec)), "still": still}


def _results(
    title: str, question: str, parts: Sequence[Part], sections: Sequence[Labels], provenance: Provenance
) -> dict[str, Any]:
    """The page as data: what was found, where its tables and figures lie, what is missing, and what computed it."""
    analyses = []
    for part, shown in zip(parts, sections, strict=True):
        drawn = [chart for chart in shown["charts"] if not chart["problem"]]
        analyses.append(
            {
                "name": part.name,
                "title": part.section.title,
                "findings": [asdict(finding) for finding in part.section.findings],
                "notes": list(part.section.notes),
                "missing": [{"labels": dict(cell), "reason": reason} for cell, reason in part.missing],
                "table": f"tables/{slug(part.name)}.csv",
                "rows": part.table.height,
                "charts": [{key: chart[key] for key in ("name", "title", "caption")} for chart in drawn],
            }
        )
    made = {"precision": provenance.precision or None, "versions": provenance.versions}
    whole = {"format": 1, "title": title, "question": question, **made, "analyses": analyses}
    return {key: _finite(value) for key, value in whole.items()}


def _claims(sections: Sequence[Labels]) -> list[dict[str, Any]]:
    """Every judged claim of the paper in the order of its number, with the findings that judge it."""
    judged: dict[int, list[dict[str, Any]]] = {}
    for section in sections:
        for finding in section["findings"]:
            if finding["verdict"] and finding["claim"] is not None:
                judged.setdefault(finding["claim"], []).append(
                    {**finding, "id": section["id"], "section": section["title"]}
                )
    return [
        {"number": claim, "statement": CLAIMS.get(claim, ""), "findings": judged[claim]} for claim in sorted(judged)
    ]


def _tasks(provenance: Provenance) -> list[tuple[str, int, float]]:
    """(task, number of steps, seconds), the longest first."""
    totals: dict[str, tuple[int, float]] = {}
    for task, _, seconds, _ in provenance.steps:
        count, spent = totals.get(task, (0, 0.0))
        totals[task] = (count + 1, spent + (seconds or 0.0))
    return sorted(((task, *total) for task, total in totals.items()), key=lambda row: -row[2])


def _unused(name: str, taken: set[str]) -> str:
    """`name`, numbered if this section already has a figure of that name."""
    fresh, count = name, 2
    while fresh in taken:
        fresh, count = f"{name}-{count}", count + 1
    taken.add(fresh)
    return fresh


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


def _finite(value: Any) -> Any:
    """JSON has no NaN; what is not finite becomes null, what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
