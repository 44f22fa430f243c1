"""The report of a study: one self-contained page, its figure files, one CSV per analysis, and results.json."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import polars as pl
from markupsafe import Markup

from transferscope.report import figures, wording
from transferscope.report import summary as results
from transferscope.report.mishaps import Mishaps
from transferscope.section import CLAIMS, Chart, Picture, Section, View

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


def write_report(
    folder: Path,
    *,
    title: str,
    question: str,
    parts: Sequence[Part],
    provenance: Provenance,
    mishaps: Mishaps | None = None,
) -> Path:
    """Write `report.html`, `figures/`, `tables/` and `results.json` into `folder` and return the page's path.

    The same study gives the same bytes in every file but the page, which also tells of the machine, and the PDFs, whose
    converter lists its resources in any order. Files whose content would not change are left alone. A chart, picture,
    table or section that cannot be written costs its place on the page, where one sentence says why; `mishaps` then
    holds that sentence. A disk that cannot be written is nobody's fault here: its OSError is passed on.
    """
    mishaps = mishaps or Mishaps()
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    written = [_written(folder, part, mishaps) for part in parts]
    sections = [shown for _, shown in written]
    said = results.summary(title, question, written, provenance.precision, provenance.versions)
    figures.put(folder / "results.json", (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode())

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
        problems=sum(len(one["problems"]) + sum(bool(o["problem"]) for o in results.parts(one)) for one in sections),
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


def _written(folder: Path, part: Part, mishaps: Mishaps) -> tuple[Part, dict[str, Any]]:
    """A part with what the template needs to know of it; one that cannot be told of keeps its name and its table."""

    def bare(problem: str) -> tuple[Part, dict[str, Any]]:
        left = replace(part, section=lost(part.name, str(part.section.title), part.table, problem), docstring="")
        return left, _section(folder, left, mishaps)

    table = folder / "tables" / f"{slug(part.name)}.csv"
    csv = mishaps.attempt(f"The file tables/{table.name}", lambda: wording.csv(part.table), lambda said: b"")
    figures.put(table, csv)
    what, rest = f"The section '{part.name}'", "its table stands below"
    return mishaps.attempt(what, lambda: (part, _section(folder, part, mishaps)), bare, rest=rest, through=OSError)


def lost(name: str, title: str, rows: pl.DataFrame, problem: str) -> Section:
    """What stands in the place of a section that could not be written: the sentence why, and the analysis's rows."""
    return Section(title, tables=[View("rows", f"All rows of {name}", rows)], problems=[problem])


def _section(folder: Path, part: Part, mishaps: Mishaps) -> dict[str, Any]:
    """What the template needs to know of one analysis; writes its figures."""
    section, taken = part.section, set[str]()
    lead, guide = wording.prose(part.docstring)

    def each(kind: str, things: Sequence[Any], show: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
        """`show` of every thing, or its title with the problem."""
        return [_each(f"The {kind} '{thing.title}' of '{part.name}'", thing, show, mishaps) for thing in things]

    def name(thing: Chart | Picture) -> str:
        return _unused(f"{slug(part.name)}-{slug(thing.name)}", taken)

    charts = each("chart", section.charts, lambda chart: _chart(folder / "figures", name(chart), chart))
    pictures = each("picture", section.pictures, lambda picture: _picture(folder / "figures", name(picture), picture))
    tables: list[dict[str, Any]] = each("table", section.tables, lambda view: wording.table(view.rows))
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
        "records": [asdict(finding) for finding in section.findings],
        "charts": charts,
        "pictures": pictures,
        "tables": tables,
        "notes": list(section.notes),
        "problems": list(section.problems),
        "basis": str(section.basis),
        "missing": [(wording.labels(cell), reason) for cell, reason in part.missing],
        "rows": part.table.height,
    }


def _each(what: str, thing: Any, show: Callable[[Any], dict[str, Any]], mishaps: Mishaps) -> dict[str, Any]:
    bare = {"title": str(thing.title), "caption": str(thing.caption), "problem": ""}

    def shown() -> dict[str, Any]:
        return {**bare, **show(thing)}

    def instead(said: str) -> dict[str, Any]:
        return {**bare, "problem": said}

    return mishaps.attempt(what, shown, instead, through=OSError)  # a full or read-only disk is not the chart's fault


def _chart(folder: Path, name: str, chart: Chart) -> dict[str, Any]:
    spec = figures.specification(chart)
    svg = figures.write_figure(folder, name, spec)
    still = "data:image/svg+xml," + quote(svg, safe=" =:/;,.()-_")
    return {"name": name, "json": Markup(figures.embedded(spec)), "still": still}


def _picture(folder: Path, name: str, picture: Picture) -> dict[str, Any]:
    figures.put(folder / f"{name}.png", picture.png)
    return {"name": name, "url": "data:image/png;base64," + base64.b64encode(picture.png).decode()}


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
