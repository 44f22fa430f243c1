"""The page of a comparison: one file beside its figures and its JSON, in the manner of a study's report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import polars as pl

from transferscope import answers, atomic_files
from transferscope.analyses._shared.readings import Reading
from transferscope.comparison import joint_charts
from transferscope.comparison.differences import Row
from transferscope.comparison.facts import Facts, text
from transferscope.comparison.settings import NONE
from transferscope.comparison.targets import Matched
from transferscope.measures import rounding
from transferscope.report import figures, wording
from transferscope.report.failures import Mishaps
from transferscope.report.first_screen import QUESTIONS, WORDS
from transferscope.report.page import attempted, shown_chart, slug
from transferscope.report.shell import environment, shell
from transferscope.section import Chart, Finding, Question

HERE = Path(__file__).parent
# What is asked beside the questions of a first screen, by the word that readings have for it.
FURTHER = {"Features": "Do they compute the same features?", "Barriers": "Does a barrier lie between two networks?"}
CHOSEN = {
    "Labels": "its number is read where each study’s own curves cross",
    "Checkpoint": "each study chose the checkpoints that its number is read at",
    "Average": "each study chose the single network that its soup is held against",
}
assert set(CHOSEN) <= set(get_args(Question))


def write(found: Facts, page: Path, mishaps: Mishaps) -> Path:
    """The file `page` (as of HTML), figures/ beside it, and the JSON with its name. Raises OSError."""
    page.parent.mkdir(parents=True, exist_ok=True)
    figures.put(page.with_suffix(".json"), text(found).encode())
    stem = slug(page.stem)
    shown = [_chart(page.parent / "figures", f"{stem}-{slug(one.name)}", one, mishaps) for one in found.drawn]
    values = {
        "title": f"{', '.join(found.names[:-1])} and {found.names[-1]}",
        "names": found.names,
        "differing": _settings(found, differ=True),
        "alike": _settings(found, differ=False),
        "missing": [(side.name, side.missing) for side in found.sides if side.missing],
        "notes": found.notes,
        "targets": [_target(found, one) for one in found.targets],
        "charts": shown,
        "numbers": wording.table(_every(found)),
        "beside": _beside(found, stem, mishaps),
        "studies": [_study(found, place) for place in range(len(found.sides))],
        "json": page.with_suffix(".json").name,
        **shell(page, mishaps),
    }
    html = environment(HERE).get_template("comparison.html.j2").render(**values)
    figures.put(page, html.encode())
    atomic_files.sweep(page.parent, older=3600.0)
    return page


def _settings(found: Facts, *, differ: bool) -> dict[str, Any]:
    kept = [one for one in found.settings if one.differs == differ]
    if differ:
        lines = [{"key": one.key, **dict(zip(found.names, one.values, strict=True))} for one in kept]
    else:
        lines = [{"key": one.key, "all": one.values[0]} for one in kept if one.values[0] != NONE]
    return wording.table(pl.DataFrame(lines)) if lines else {"rows": [], "columns": [], "left": 0}


def _target(found: Facts, target: Matched) -> dict[str, Any]:
    """What a target's part of the page shows: an article a question, and the table of its scores."""
    own = [row for row in found.rows if row.target is target]
    asked = [*QUESTIONS, *FURTHER]
    questions = [_question(found, target, name, own) for name in asked]
    return {
        "name": target.name,
        "id": slug(target.name),
        "several": target.several,
        "questions": [one for one in questions if one["rows"] or any(side["cards"] for side in one["sides"])],
        "scores": wording.table(_scores(found, [row for row in own if row.question == "Scores"])),
    }


def _question(found: Facts, target: Matched, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The answer of every study to a question, and the differences of the numbers behind it."""
    order = {kind: place for place, kind in enumerate(QUESTIONS[name][1])} if name in QUESTIONS else {}
    sides = []
    for place, side in enumerate(found.sides):
        cards = [
            (card.light == "unsure", order.get(part.kind, len(order)), card, part)
            for part in side.parts
            for card in part.section.cards
            if card.question == name and card.target == target.names.get(place)
        ]
        cards.sort(key=lambda one: one[:2])
        sides.append(
            {
                "name": side.name,
                "cards": [
                    {
                        "light": card.light,
                        "word": WORDS[card.light],
                        "headline": card.headline,
                        "number": wording.measured(card.effect, card.low, card.high, card.unit, card.level),
                        "sure": card.sure,
                        "section": part.section.title,
                    }
                    for _, _, card, part in cards
                ],
            }
        )
    own = [row for row in rows if row.question == name]
    return {
        "name": name,
        "asks": QUESTIONS[name][0] if name in QUESTIONS else FURTHER[name],
        "sides": sides,
        "rows": [_row(found, row) for row in own],
        "without": CHOSEN.get(name, "no number of it is kept seed by seed") if not own else "",
    }


def _row(found: Facts, row: Row) -> dict[str, Any]:
    return {
        "asks": row.asks,
        "read": [(name, _value(one)) for name, one in zip(found.names, row.readings, strict=True)],
        "differences": [_finding(one) for one in row.findings(found.names)],
    }


def _finding(said: Finding) -> dict[str, Any]:
    return {
        "text": said.text,
        "interval": wording.interval(said),
        "whisker": wording.whisker(said),
        "verdict": None,
        "words": None,
    }


def _value(one: Reading | None) -> str:
    """A study's number with its interval over what its own page says, and its seeds."""
    if one is None:
        return NONE
    seeds = f"{len(one.seeds)} seed{'s' if len(one.seeds) != 1 else ''}"
    shown = one.shown
    if one.level:
        how = answers.metric(one.judged)
        if how.error:
            return f"{wording.measured(shown.mean, shown.low, shown.high, '')}, {seeds}"
        ends = [None if end is None else end / how.times for end in (shown.low, shown.high)]
        return f"{rounding.score(shown.mean / how.times, *ends, share=how.share)}, {seeds}"
    return f"{wording.measured(shown.mean, shown.low, shown.high, one.unit)}, {seeds}"


def _scores(found: Facts, rows: Sequence[Row]) -> pl.DataFrame:
    """Every arm in a line: what it scores in each study, and the differences."""
    return pl.DataFrame([{"score": row.asks, **_cells(found, row)} for row in rows])


def _every(found: Facts) -> pl.DataFrame:
    """Every number in a line."""
    several = len(found.targets) > 1
    lines = []
    for row in found.rows:
        first = {"target": row.target.name} if several else {}
        lines.append({"number": row.asks, **first, "from": row.title, **_cells(found, row)})
    return pl.DataFrame(lines)


def _cells(found: Facts, row: Row) -> Mapping[str, str]:
    cells = {name: _value(one) for name, one in zip(found.names, row.readings, strict=True)}
    for one in row.differences:
        said = one.why and f"none, {one.why}"
        if one.found is not None:
            known = wording.measured(one.found.mean, one.found.low, one.found.high, row.unit)
            said = f"{known}; {one.how}" + ("" if one.light == "unsure" else ", shown")
        cells[f"{found.names[one.of]} less {found.names[one.against]}"] = said
    return cells


def _chart(folder: Path, name: str, chart: Chart, mishaps: Mishaps) -> dict[str, Any]:
    return attempted(f"The chart '{chart.title}'", chart, lambda one: shown_chart(name, one, folder), mishaps)


def _beside(found: Facts, stem: str, mishaps: Mishaps) -> list[dict[str, Any]]:
    """The charts of the studies' own pages by analysis, those of one kind next to each other."""
    sections: dict[str, list[list[dict[str, Any]]]] = {}
    for title, group in joint_charts.beside(found.sides, found.targets):
        number = sum(map(len, sections.values()))
        sections.setdefault(title, []).append(
            [_embedded(study, f"{stem}-beside-{number}-{k}", one, mishaps) for k, (study, one) in enumerate(group)]
        )
    return [{"title": title, "id": slug(title), "groups": groups} for title, groups in sections.items()]


def _embedded(study: str, name: str, chart: Chart, mishaps: Mishaps) -> dict[str, Any]:
    """A chart that lies as a file beside its own study's page."""
    what = f"The chart '{chart.title}' of {study}"
    return {"study": study, "name": name, **attempted(what, chart, lambda one: shown_chart(name, one), mishaps)}


def _study(found: Facts, place: int) -> dict[str, Any]:
    side = found.sides[place]
    return {
        "name": side.name,
        "file": str(side.file),
        "design": side.design.words,
        "resolved": side.study.resolved(),
    }
