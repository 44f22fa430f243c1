"""The contract of an analysis: it explains itself, names every cell once, and tells of any table without a mishap.

``check_analysis(finished(study_file, name))`` is the whole of it; the tests of the project ask part by part.
"""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import polars as pl
import pydantic
import pytest

from transferscope import analyses, battery, charts
from transferscope.analyses import Chosen
from transferscope.engine import executors
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.store import Store
from transferscope.engine.table import Missing, ResultTable, gather
from transferscope.report import wording
from transferscope.section import Section
from transferscope.study import Study

NO_BASIS = {"images"}  # describes the targets and computes nothing with a network
UNSAYABLE = re.compile(r"\bnan\b|\binf\b", re.IGNORECASE)


@dataclass(frozen=True)
class Done:
    """One analysis of a study with everything done."""

    study: Study
    one: Chosen
    cells: tuple[Cell, ...]
    store: Store

    @cached_property
    def whole(self) -> ResultTable:
        """Its table."""
        return self.table(lambda *_: True)

    @cached_property
    def numbers(self) -> list[str]:
        """The columns that were measured, and are numbers."""
        labels = {label for cell in self.cells for label in cell.labels}
        return [name for name, kind in self.whole.rows.schema.items() if kind.is_numeric() and name not in labels]

    def table(self, keep: Callable[[int, Cell], bool]) -> ResultTable:
        """Its table when only the cells that `keep` admits are done."""
        kept = [cell for number, cell in enumerate(self.cells) if keep(number, cell)]
        found = gather(kept, self.store)
        lost = tuple(Missing(cell.labels, "not computed yet") for cell in self.cells if cell not in kept)
        return ResultTable(found.rows, found.missing + lost, found.artifacts)

    def section(self, table: ResultTable) -> Section:
        found: Section = self.one.module.section(table, self.one.options)
        assert isinstance(found, Section)
        return found


def of_study(study: Study, name: str) -> Done:
    """The analysis that a finished study has under a name."""
    one = analyses.chosen(study)[name]
    return Done(study, one, tuple(one.plan(study)), Store(study.store_folder))


def finished(path: Path, name: str, **changes: str) -> Done:
    """Do what one analysis of a study asks for, and nothing else, in this process.

    What its store holds already is not done again: analyses share most of their training runs. `changes` are as those
    of `Study.load`; the analysis is the `name` of a study's.
    """
    study = Study.load(path, changes)
    plan, store = Plan.of(analyses.chosen(study)[name].plan(study)), Store(study.store_folder)
    store.prepare()
    inline = executors.build("inline", battery.slots(study.resources), {})
    outcomes = inline.run(plan.todo(store), store, lambda *_: None)
    failed = {outcome.error for outcome in outcomes.values() if outcome.status != "done"}
    assert not failed, failed
    return of_study(study, name)


def check_analysis(done: Done) -> None:
    """The whole contract."""
    check_explained(done.one.module)
    check_options(done.one.module)
    check_plan(done)
    check_section(done)
    for gap in GAPS:
        check_gap(done, gap)
    for kind in DEGENERATE:
        check_degenerate(done, kind)
    check_any_column(done)
    check_one_of_each(done)


# -- the file ------------------------------------------------------------------------------------------------------


def check_explained(module: ModuleType) -> None:
    text = inspect.getdoc(module) or ""
    first = text.split("\n", 1)[0]
    assert first.endswith((".", "?")) and len(first.split()) > 3, "`transferscope ls` shows the first line"
    assert "How to read it" in text, "the page prints it beside the section"


def check_options(module: ModuleType) -> None:
    """Strict, frozen, explained."""
    model = module.Options
    assert inspect.getdoc(model) and issubclass(model, pydantic.BaseModel)
    with pytest.raises(pydantic.ValidationError, match="extra_forbidden"):
        model.model_validate({"no such option": 1})
    for field in model.model_fields:
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(model(), field, None)
    assert json.dumps(model().model_dump(mode="json")), "defaults are what YAML can say"


# -- the plan, and the section of all of it --------------------------------------------------------------------------


def check_plan(done: Done) -> None:
    """JSON labels that name every cell once."""
    labels = [json.dumps(cell.labels, sort_keys=True) for cell in done.cells]
    assert labels and len(set(labels)) == len(labels)
    for cell in done.cells:
        assert cell.labels and all(isinstance(v, str | int | float | None) for v in cell.labels.values())
    assert len({tuple(cell.labels) for cell in done.cells}) == 1, "the same labels in the same order make a tidy table"
    again = [cell.step.key for cell in done.one.plan(done.study)]
    assert again == [cell.step.key for cell in done.cells]


def check_section(done: Done) -> None:
    """A title, something to show, and on what it rests."""
    table, labels = done.whole, done.cells[0].labels
    assert not table.missing and table.rows.height
    assert list(table.rows.columns[: len(labels)]) == list(labels), "labels lead, and no column of a row hides one"
    section = done.section(table)
    assert section.title and (section.findings or section.tables or section.pictures)
    told = done.one.kind not in NO_BASIS and (section.findings or section.charts)
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


# -- what is missing -------------------------------------------------------------------------------------------------

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


def check_gap(done: Done, gap: str) -> None:
    """The section of a study of which a part is not done yet, or has failed."""
    section = done.section(done.table(GAPS[gap]))
    assert section.title
    for chart in section.charts:
        assert chart.spec.to_dict()
    assert all("nan" not in finding.text.lower().split() for finding in section.findings)


# -- tables in which nothing varies, nothing is defined, or hardly anything is there ---------------------------------


def section_of(done: Done, rows: pl.DataFrame) -> Section:
    """The section of some rows, whose every sentence and table can be read."""
    made = done.section(ResultTable(rows, (), done.whole.artifacts if rows.height else ()))
    captions = [thing.caption for thing in (*made.charts, *made.tables, *made.pictures)]
    for text in (*map(wording.sentence, made.findings), *made.notes, *captions):
        assert not UNSAYABLE.search(text), text
    for view in made.tables:
        wording.table(view.rows)
    return made


def _changed(value: Callable[[str], pl.Expr]) -> Callable[[pl.DataFrame, list[str]], pl.DataFrame]:
    return lambda rows, numbers: rows.with_columns(value(name).alias(name) for name in numbers)


def _seeds(rows: pl.DataFrame, numbers: list[str]) -> pl.DataFrame:
    """Eight seeds that all came to the same."""
    if "seed" not in rows.columns:
        return rows
    first = rows.filter(pl.col("seed").eq_missing(rows["seed"].drop_nulls().cast(pl.Int64).min()))
    return pl.concat(first.with_columns(seed=pl.lit(seed, pl.Int64)) for seed in range(8))


DEGENERATE: dict[str, Callable[[pl.DataFrame, list[str]], pl.DataFrame]] = {
    "no row": lambda rows, numbers: rows.clear(),
    "no column": lambda rows, numbers: pl.DataFrame(),
    "one row": lambda rows, numbers: rows.head(1),
    "the last row": lambda rows, numbers: rows.tail(1),
    "no value anywhere": _changed(lambda name: pl.lit(None)),
    "not a number anywhere": _changed(lambda name: pl.lit(float("nan"))),
    "nothing but zeros": _changed(lambda name: pl.col(name) * 0),
    "all the same": _changed(lambda name: pl.col(name).drop_nulls().first()),
    "every other value": _changed(lambda name: pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col(name))),
    "eight equal seeds": _seeds,
}


def check_degenerate(done: Done, kind: str) -> None:
    for chart in section_of(done, DEGENERATE[kind](done.whole.rows, done.numbers)).charts:
        assert chart.spec.to_dict()


def check_any_column(done: Done) -> None:
    """One measured column without a value, or all zeros. Charts are only drawn in name here: they take most of the time
    and `check_degenerate` draws them."""
    rows = done.whole.rows
    kinds = ("lines", "dots", "bars", "forest", "heat", "beside")
    with mock.patch.multiple(charts, **{kind: lambda *_, **__: None for kind in kinds}):
        for column in done.numbers:
            section_of(done, rows.with_columns(pl.lit(None).alias(column)))
            section_of(done, rows.with_columns(pl.col(column) * 0))


def check_one_of_each(done: Done) -> None:
    """One target, seed or arm alone."""
    rows: Any = done.whole.rows
    for label in ("seed", "arm", "pair", "way", "what"):
        for value in rows[label].unique(maintain_order=True).to_list()[:3] if label in rows.columns else ():
            section_of(done, rows.filter(pl.col(label).eq_missing(value)))
