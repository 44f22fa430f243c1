"""What every file of `analyses/` promises: a docstring, strict options, JSON labels, a section that survives gaps."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path

import pydantic
import pytest
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.store import Store
from transferscope.engine.table import Missing, Table, gather
from transferscope.section import Section
from transferscope.study import Study

NAMES = analyses.names()
NO_BASIS = {"images"}  # describes the targets and computes nothing with a network
Planned = tuple[Study, Plan, Store]


@pytest.fixture(scope="module")
def planned(finished: Path) -> Planned:
    study = Study.load(finished / "study.yaml")
    return study, *battery.plan(study)


def table_of(planned: Planned, name: str, keep: Callable[[int, Cell], bool]) -> Table:
    """The smoke study's table of an analysis when only the cells that `keep` admits are done."""
    _, plan, store = planned
    cells = [cell for cell in plan.cells if cell.analysis == name]
    kept = [cell for number, cell in enumerate(cells) if keep(number, cell)]
    found = gather(kept, store)
    lost = tuple(Missing(cell.labels, "not computed yet") for cell in cells if cell not in kept)
    return Table(found.rows, found.missing + lost, found.artifacts)


def given(name: str) -> pydantic.BaseModel:
    """The smoke study's options of an analysis."""
    options: pydantic.BaseModel = analyses.options(name, smoke.OPTIONS.get(name, {}))
    return options


def section_of(planned: Planned, name: str, keep: Callable[[int, Cell], bool]) -> Section:
    module = analyses.load(name)
    found: Section = module.section(table_of(planned, name, keep), given(name))
    return found


def test_there_are_analyses() -> None:
    assert {"images", "transfer"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_docstring_says_what_and_how_to_read_it(name: str) -> None:
    text = inspect.getdoc(analyses.load(name)) or ""
    first = text.split("\n", 1)[0]
    assert first.endswith((".", "?")) and len(first.split()) > 3, "`transferscope ls` shows the first line"
    assert "How to read it" in text


@pytest.mark.parametrize("name", NAMES)
def test_options_are_strict_frozen_and_explained(name: str) -> None:
    model = analyses.load(name).Options
    assert inspect.getdoc(model) and issubclass(model, pydantic.BaseModel)
    with pytest.raises(pydantic.ValidationError, match="extra_forbidden"):
        model.model_validate({"no such option": 1})
    for field in model.model_fields:
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(model(), field, None)
    assert json.dumps(model().model_dump(mode="json")), "defaults are what YAML can say"


@pytest.mark.parametrize("name", NAMES)
def test_plan_yields_json_labels_that_name_every_cell_once(planned: Planned, name: str) -> None:
    study, _, _ = planned
    module = analyses.load(name)
    cells = list(module.plan(study, given(name)))
    labels = [json.dumps(given, sort_keys=True) for given, _ in cells]
    assert labels and len(set(labels)) == len(labels)
    assert all(given and all(isinstance(v, str | int | float | None) for v in given.values()) for given, _ in cells)
    assert len({tuple(given) for given, _ in cells}) == 1, "the same labels in the same order make one tidy table"
    again = [step.key for _, step in module.plan(study, given(name))]
    assert again == [step.key for _, step in cells]


@pytest.mark.parametrize("name", NAMES)
def test_section_of_the_smoke_study(planned: Planned, name: str) -> None:
    table = table_of(planned, name, lambda *_: True)
    assert not table.missing and table.rows.height
    labels = next(cell.labels for cell in planned[1].cells if cell.analysis == name)
    assert list(table.rows.columns[: len(labels)]) == list(labels), "labels lead, and no column of a row hides one"
    section = section_of(planned, name, lambda *_: True)
    assert section.title and (section.findings or section.tables or section.pictures)
    told = name not in NO_BASIS and (section.findings or section.charts)
    assert not told or section.basis.endswith("."), "what was it computed on, with what, chosen by what?"
    for chart in section.charts:
        assert chart.spec.to_dict()["$schema"], chart.name
    names = [thing.name for thing in (*section.charts, *section.pictures)]
    assert len(set(names)) == len(names)
    for finding in section.findings:
        assert finding.text.endswith(".") and "nan" not in finding.text.lower().split()
        assert finding.verdict is None or finding.claim is not None
        if finding.low is not None and finding.high is not None and finding.effect is not None:
            assert finding.low <= finding.effect <= finding.high


GAPS: dict[str, Callable[[int, Cell], bool]] = {
    "nothing done": lambda number, cell: False,
    "one cell": lambda number, cell: number == 0,
    "the last cell": lambda number, cell: number > 0,
    "every other cell": lambda number, cell: number % 2 == 0,
    "no random arm": lambda number, cell: "random" not in map(str, cell.labels.values()),
    "no pretrained arm": lambda number, cell: "pretrained" not in map(str, cell.labels.values()),
    "one seed": lambda number, cell: cell.labels.get("seed", 0) == 0,
    "different seeds": lambda number, cell: cell.labels.get("seed", 0) == int(cell.labels.get("arm") == "random"),
}


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("name", NAMES)
def test_section_survives_missing_cells(planned: Planned, name: str, gap: str) -> None:
    section = section_of(planned, name, GAPS[gap])
    assert isinstance(section, Section) and section.title
    for chart in section.charts:
        assert chart.spec.to_dict()
    assert all("nan" not in finding.text.lower().split() for finding in section.findings)
