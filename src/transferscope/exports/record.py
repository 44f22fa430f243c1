"""What a tracker of experiments is told of a study: its runs with their curves, tables, findings, and the page."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from transferscope.engine.store import Store
from transferscope.exports.runs import finished
from transferscope.report import wording
from transferscope.report.first_screen import summary
from transferscope.report.results import Results
from transferscope.study import Study
from transferscope.tasks import restore


@dataclass(frozen=True)
class Curve:
    """One training: what it was asked (`params`, plain values by dotted names) and its numbers by epoch."""

    name: str
    params: Mapping[str, str | int | float | bool]
    epochs: Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class Record:
    """A study; `findings` are sentences of the page with their intervals, the first screen's first."""

    name: str
    curves: tuple[Curve, ...]
    tables: Mapping[str, pl.DataFrame]
    findings: tuple[str, ...]
    page: Path
    study: str

    def text(self) -> str:
        """The findings as a Markdown list."""
        return "\n".join(f"- {line}" for line in self.findings)


def record(study: Study, store: Store, found: Results) -> Record:
    """All of a study's finished runs, and what its `found` results say."""
    curves = tuple(
        Curve(run.name, dict(_flat({**restore.said(run.result), "run": run.name})), _epochs(run.result.rows))
        for run in finished(study, store)
    )
    said = (*summary(found.sections), *(wording.sentence(finding) for finding in found.findings))
    tables = {name: _flat_table(table.rows) for name, table in found.tables.items() if table.rows.width}
    return Record(study.name, curves, tables, said, found.report, study.resolved())


def _epochs(rows: list[dict[str, Any]]) -> dict[int, dict[str, float]]:
    """Every finite number of every epoch but its own."""
    return {
        int(row["epoch"]): {name: float(v) for name, v in row.items() if name != "epoch" and _number(v)} for row in rows
    }


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _flat(said: Mapping[str, Any], place: str = "") -> dict[str, Any]:
    """Nested values by dotted names; lists and what is no plain value as text, and nothing where there is none."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if isinstance(value, Mapping) and (said_as := [key for key in value if key.startswith("$")]):
            found[f"{place}{name}"] = str(value[said_as[0]])  # a step, or what lies outside the store
        elif isinstance(value, Mapping):
            found |= _flat(value, f"{place}{name}.")
        elif value is not None:
            found[f"{place}{name}"] = value if isinstance(value, str | int | float | bool) else str(value)
    return found


def _flat_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The table with lists and records as text, which no tracker keeps otherwise."""
    nested = [name for name, kind in rows.schema.items() if kind.is_nested() or kind == pl.Object]
    return rows.with_columns(pl.Series(name, [str(v) for v in rows[name].to_list()], pl.String) for name in nested)
