"""Tidy tables: what the cells of one analysis measured, one row an observation, and what is missing by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import polars.selectors as cs

from transferscope.engine.artifact import Artifact
from transferscope.engine.plan import Cell
from transferscope.engine.store import Store
from transferscope.engine.vouched import Check
from transferscope.errors import UserError


@dataclass(frozen=True)
class Missing:
    """A cell without a result, and why."""

    labels: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class ResultTable:
    """Rows of an analysis with its labels as leading columns; `artifacts` pairs each finished cell with its folder.

    What has no value is null, never NaN, and a measured column without any value has numbers all the same: what is
    done with a column (a mean, a rounding) must not depend on whether anything in it was defined.
    """

    rows: pl.DataFrame = field(default_factory=pl.DataFrame)
    missing: tuple[Missing, ...] = ()
    artifacts: tuple[tuple[Mapping[str, Any], Artifact], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        labels = {name for labels, _ in self.artifacts for name in labels}
        empty = [name for name, kind in self.rows.schema.items() if kind == pl.Null and name not in labels]
        numbers = self.rows.with_columns(pl.col(empty).cast(pl.Float64), cs.float().fill_nan(None))
        object.__setattr__(self, "rows", numbers)


@dataclass(frozen=True)
class Tally:
    """How many cells of an analysis have results, and those that have none."""

    done: int
    missing: tuple[Missing, ...]


def gather(cells: Sequence[Cell], store: Store, reasons: Mapping[str, str] | None = None) -> ResultTable:
    """Collect the rows of `cells` from the store. `reasons` maps step keys to why they failed, in this run.

    A result whose rows cannot be read is missing, and its reason says so.
    """
    rows: list[dict[str, Any]] = []
    artifacts: list[tuple[Mapping[str, Any], Artifact]] = []

    def take(cell: Cell, artifact: Artifact) -> None:
        own = [{**cell.labels, **row} for row in artifact.rows]
        artifacts.append((cell.labels, artifact))
        rows.extend(own)

    missing = _missing(cells, store, reasons, take)
    return ResultTable(pl.DataFrame(rows, infer_schema_length=None), missing, tuple(artifacts))


def tally(
    cells: Sequence[Cell], store: Store, reasons: Mapping[str, str] | None = None, check: Check = Artifact.check_rows
) -> Tally:
    """What `gather` finds and misses, without the rows: `check` raises what is wrong with them, no table is made."""
    missing = _missing(cells, store, reasons, lambda _, artifact: check(artifact))
    return Tally(len(cells) - len(missing), missing)


def _missing(
    cells: Sequence[Cell],
    store: Store,
    reasons: Mapping[str, str] | None,
    take: Callable[[Cell, Artifact], None],
) -> tuple[Missing, ...]:
    """The cells without a result and those whose result `take` cannot read, and why; it is given all others."""
    missing: list[Missing] = []
    store.bring((cell.step.task, cell.step.key) for cell in cells)
    for cell in cells:
        if not store.has(cell.step):
            missing.append(Missing(cell.labels, (reasons or {}).get(cell.step.key, "not computed yet")))
            continue
        try:
            take(cell, store.artifact(cell.step.task, cell.step.key))
        except (OSError, UserError) as error:
            missing.append(Missing(cell.labels, str(error)))
    return tuple(missing)
