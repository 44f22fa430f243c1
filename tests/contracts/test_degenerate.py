"""Every analysis tells of tables in which nothing varies, nothing is defined, or hardly anything is there."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from smoke import study as smoke

from transferscope import analyses, battery, charts
from transferscope.engine.table import Table, gather
from transferscope.report import wording
from transferscope.section import Section
from transferscope.study import Study

NAMES = analyses.names()
UNSAYABLE = re.compile(r"\bnan\b|\binf\b", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """The finished table of an analysis, and its columns of measured numbers."""

    table: Table
    numbers: list[str]


@pytest.fixture(scope="module")
def found(finished: Path) -> Callable[[str], Found]:
    plan, store = battery.plan(Study.load(finished / "study.yaml"))
    known: dict[str, Found] = {}

    def of(name: str) -> Found:
        if name not in known:
            cells = [cell for cell in plan.cells if cell.analysis == name]
            table = gather(cells, store)
            labels = {label for cell in cells for label in cell.labels}
            kinds = table.rows.schema.items()
            known[name] = Found(table, [c for c, kind in kinds if kind.is_numeric() and c not in labels])
        return known[name]

    return of


def told(name: str, rows: pl.DataFrame, table: Table) -> Section:
    """The section of some rows, whose every sentence and table can be read."""
    made = analyses.load(name).section(
        Table(rows, (), table.artifacts if rows.height else ()), analyses.options(name, smoke.OPTIONS.get(name, {}))
    )
    assert isinstance(made, Section)
    captions = [thing.caption for thing in (*made.charts, *made.tables, *made.pictures)]
    for text in (*map(wording.sentence, made.findings), *made.notes, *captions):
        assert not UNSAYABLE.search(text), text
    for view in made.tables:
        wording.table(view.rows)
    return made


def changed(value: Callable[[str], pl.Expr]) -> Callable[[pl.DataFrame, list[str]], pl.DataFrame]:
    return lambda rows, numbers: rows.with_columns(value(name).alias(name) for name in numbers)


def seeds(rows: pl.DataFrame, numbers: list[str]) -> pl.DataFrame:
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
    "no value anywhere": changed(lambda name: pl.lit(None)),
    "not a number anywhere": changed(lambda name: pl.lit(float("nan"))),
    "nothing but zeros": changed(lambda name: pl.col(name) * 0),
    "all the same": changed(lambda name: pl.col(name).drop_nulls().first()),
    "every other value": changed(lambda name: pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col(name))),
    "eight equal seeds": seeds,
}


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("name", NAMES)
def test_a_section_survives_a_degenerate_table(found: Callable[[str], Found], name: str, kind: str) -> None:
    of = found(name)
    for chart in told(name, DEGENERATE[kind](of.table.rows, of.numbers), of.table).charts:
        assert chart.spec.to_dict()


@pytest.mark.parametrize("name", NAMES)
def test_a_section_survives_any_column_without_a_value(
    found: Callable[[str], Found], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Charts are only drawn in name here: they take most of the time and the test above draws them."""
    for kind in ("lines", "dots", "bars", "forest", "heat", "beside"):
        monkeypatch.setattr(charts, kind, lambda *_, **__: None)
    of, rows = found(name), found(name).table.rows
    for column in of.numbers:
        told(name, rows.with_columns(pl.lit(None).alias(column)), of.table)
        told(name, rows.with_columns(pl.col(column) * 0), of.table)


@pytest.mark.parametrize("name", NAMES)
def test_a_section_survives_one_target_seed_or_arm(found: Callable[[str], Found], name: str) -> None:
    of = found(name)
    rows: Any = of.table.rows
    for label in ("seed", "arm", "pair", "way", "what"):
        for value in rows[label].unique(maintain_order=True).to_list()[:3] if label in rows.columns else ():
            told(name, rows.filter(pl.col(label).eq_missing(value)), of.table)


def test_nobody_makes_a_mistake(found: Callable[[str], Found]) -> None:
    of = found("mistakes")
    none = of.table.rows.with_columns(
        *(pl.lit(0).alias(c) for c in ("wrong_a", "wrong_b", "common", "only_a", "only_b")),
        *(pl.lit(None, pl.Float64).alias(c) for c in ("kappa", "jaccard", "share_a", "share_b", "expected_jaccard")),
    )
    section = told("mistakes", none, of.table)
    said = " ".join(section.notes)
    assert "no mistakes to compare: no network of the pair is wrong in any of the 24 test answers" in said
    assert not section.findings and section.tables[0].rows["kappa"].null_count() == section.tables[0].rows.height
