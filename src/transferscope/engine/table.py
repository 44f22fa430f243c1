"""Tidy tables: what the cells of one analysis measured, one row an observation, and what is missing by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from transferscope.engine.plan import Cell
from transferscope.engine.store import Artifact, Store


@dataclass(frozen=True)
class Missing:
    """A cell without a result, and why."""

    labels: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Table:
    """Rows of an analysis with its labels as leading columns; `artifacts` pairs each finished cell with its folder."""

    rows: pl.DataFrame
    missing: tuple[Missing, ...] = ()
    artifacts: tuple[tuple[Mapping[str, Any], Artifact], ...] = field(default=(), repr=False)


def gather(cells: list[Cell], store: Store, reasons: Mapping[str, str] | None = None) -> Table:
    """Collect the rows of `cells` from the store. `reasons` maps step keys to why they failed, in this run."""
    rows: list[dict[str, Any]] = []
    missing: list[Missing] = []
    artifacts: list[tuple[Mapping[str, Any], Artifact]] = []
    for cell in cells:
        if not store.has(cell.step):
            missing.append(Missing(cell.labels, (reasons or {}).get(cell.step.key, "not computed yet")))
            continue
        artifact = store.get(cell.step)
        artifacts.append((cell.labels, artifact))
        rows.extend({**cell.labels, **row} for row in artifact.rows)
    return Table(pl.DataFrame(rows, infer_schema_length=None), tuple(missing), tuple(artifacts))
