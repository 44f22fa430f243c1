"""The report of a study: one self-contained page, its figure files, one CSV per analysis, and results.json.

It is long because all files of a report are written here, and nowhere else.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from transferscope import atomic_files
from transferscope.report import figures, wording
from transferscope.report.claims import claims
from transferscope.report.failures import Mishaps
from transferscope.report.first_screen import Asked, first_screen
from transferscope.report.folds import folds, of_data
from transferscope.report.results_json import UNTOLD, parts_of, results_json
from transferscope.report.shell import environment, shell
from transferscope.section import Card, Chart, DataSet, Finding, Picture, Section, View

Labels = Mapping[str, Any]
HOUR = 3600.0  # seconds; nobody takes that long to write a file


@dataclass(frozen=True)
class PagePart:
    """One analysis: its name in the study, its docstring, what it found, its tidy table, the cells it lacks, and which
    analysis it is where its name does not say so."""

    name: str
    docstring: str
    section: Section
    table: pl.DataFrame
    missing: Sequence[tuple[Labels, str]] = ()
    kind: str = ""


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
    design: str = ""  # how often claims are looked at, and how strictly


def write_report(
    folder: Path,
    *,
    title: str,
    question: str,
    parts: Sequence[PagePart],
    provenance: Provenance,
    mishaps: Mishaps | None = None,
    asked: Asked | None = None,
    running: bool = False,
) -> Path:
    """Write `report.html`, `figures/`, `tables/` and `results.json` into `folder` and return the page's path.

    The same study gives the same bytes in every file but the page, which also tells of the machine. Files whose content
    would not change are left alone. A chart, picture, table or section that cannot be written costs its place on the
    page, where one sentence says why; `mishaps` then holds that sentence. A disk that cannot be written is nobody's
    fault here: its OSError is passed on. `running`: what is missing is still to come.
    """
    mishaps = mishaps or Mishaps()
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "report.html"
    written = [_written(folder, part, mishaps) for part in parts]
    sections = [shown for _, shown in written]
    basis = {"precision": provenance.precision or None, "design": provenance.design or None}
    said = results_json(title, question, written, {**basis, "versions": provenance.versions})
    figures.put(folder / "results.json", (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode())

    first = [(shown["id"], shown["kind"], part.section) for part, shown in written]
    opening = [one for shown in sections for one in shown["opening"]]
    html = (
        environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            question=question,
            screen=first_screen(first, asked, provenance.steps),
            opening_charts=[one for one in opening if "columns" not in one],
            opening_tables=[one for one in opening if "columns" in one],
            asked_for_gain=any(shown["kind"] == "transfer" for shown in sections),
            folds=folds(sections),
            data_sections=of_data(sections),
            noun=next((one.noun for part, _ in written for one in part.section.data), "images"),
            problems=sum(len(one["problems"]) + sum(bool(o["problem"]) for o in parts_of(one)) for one in sections),
            missing=sum(len(part.missing) for part in parts),
            running=running,
            claims=claims(sections),
            provenance=provenance,
            tasks=_tasks(provenance),
            **shell(page, mishaps),
        )
    )
    figures.put(page, html.encode())
    for place in (folder, folder / "figures", folder / "tables"):
        with suppress(OSError):  # of another run's hands
            atomic_files.sweep(place, older=HOUR)
    return page


def slug(name: str) -> str:
    """A file name or anchor made of the harmless characters of `name`; never empty, never hidden."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "unnamed"


def _written(folder: Path, part: PagePart, mishaps: Mishaps) -> tuple[PagePart, dict[str, Any]]:
    """A part with what the template needs to know of it; one that cannot be told of keeps its name and its table."""

    def bare(problem: str) -> tuple[PagePart, dict[str, Any]]:
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


def _section(folder: Path, part: PagePart, mishaps: Mishaps) -> dict[str, Any]:
    """What the template needs to know of one analysis; writes its figures."""
    section, taken = part.section, set[str]()
    lead, guide = wording.prose(part.docstring)

    def each(kind: str, things: Sequence[Any], show: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
        """`show` of every thing, or its title with the problem."""
        return [attempted(f"The {kind} '{thing.title}' of '{part.name}'", thing, show, mishaps) for thing in things]

    def name(thing: Chart | Picture) -> str:
        return _unused(f"{slug(part.name)}-{slug(thing.name)}", taken)

    charts = each("chart", section.charts, lambda chart: shown_chart(name(chart), chart, folder / "figures"))
    pictures = each("picture", section.pictures, lambda picture: _picture(folder / "figures", name(picture), picture))
    tables: list[dict[str, Any]] = each("table", section.tables, lambda view: wording.table(view.rows))
    drawn = [one for one in section.opening if isinstance(one, Chart)]
    opening = each("chart", drawn, lambda chart: shown_chart(name(chart), chart, folder / "figures"))
    listed = [one for one in section.opening if not isinstance(one, Chart)]
    opening += each("table", listed, lambda view: wording.table(view.rows))
    return {
        "id": slug(part.name),
        "name": part.name,
        "kind": part.kind or part.name,
        "title": section.title,
        "lead": lead,
        "guide": guide,
        "findings": [
            {
                "text": finding.text,
                "interval": wording.interval(finding),
                "whisker": wording.whisker(finding),
                "verdict": finding.verdict,
                "needed": finding.needed,
                "shown": finding.shown,
                "claim": finding.claim,
                "words": wording.verdict(finding),
            }
            for finding in section.findings
        ],
        "records": [_record(finding, *UNTOLD["Finding"]) for finding in section.findings],
        "cards": [_record(card, *UNTOLD["Card"]) for card in section.cards],
        "data": [_record(one, "noun") for one in section.data],
        "opening": opening,
        "charts": charts,
        "pictures": pictures,
        "tables": tables,
        "notes": list(section.notes),
        "problems": list(section.problems),
        "basis": str(section.basis),
        "missing": [(wording.labels(cell), reason) for cell, reason in part.missing],
        "rows": part.table.height,
    }


def _record(of: Finding | Card | DataSet, *without: str) -> dict[str, Any]:
    """A finding, a card or the numbers of a target for programs, without what its verdict or light was made of."""
    return {one.name: getattr(of, one.name) for one in fields(of) if one.name not in without}


def attempted(what: str, thing: Any, show: Callable[[Any], dict[str, Any]], mishaps: Mishaps) -> dict[str, Any]:
    """What a template is told of a chart, a picture or a table that `show` makes ready; of one that cannot be shown,
    why."""
    bare = {"title": str(thing.title), "caption": str(thing.caption), "problem": ""}

    def shown() -> dict[str, Any]:
        return {**bare, **show(thing)}

    def instead(said: str) -> dict[str, Any]:
        return {**bare, "problem": said}

    return mishaps.attempt(what, shown, instead, through=OSError)  # a full or read-only disk is not the chart's fault


def shown_chart(name: str, chart: Chart, folder: Path | None = None) -> dict[str, Any]:
    """A chart as a template draws it; its figure files are written into `folder`, if there is one."""
    spec = figures.specification(chart)
    if folder is not None:
        figures.write_figure(folder, name, spec)
    return {"name": name, "json": Markup(figures.embedded(figures.packed(spec)))}


def _picture(folder: Path, name: str, picture: Picture) -> dict[str, Any]:
    figures.put(folder / f"{name}.png", picture.png)
    kind, shown = figures.embedded_picture(picture.png)
    return {"name": name, "url": f"data:image/{kind};base64," + base64.b64encode(shown).decode()}


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
