"""Tidy tables: what the cells of one analysis measured, one row an observation, and what is missing by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import polars.selectors as cs

from transferscope.engine.artifact import Artifact
from transferscope.engine.plan import Cell
from transferscope.engine.store import Store
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


def gather(cells: list[Cell], store: Store, reasons: Mapping[str, str] | None = None) -> ResultTable:
    """Collect the rows of `cells` from the store. `reasons` maps step keys to why they failed, in this run.

    A result whose rows cannot be read is missing, and its reason says so.
    """
    rows: list[dict[str, Any]] = []
    missing: list[Missing] = []
    artifacts: list[tuple[Mapping[str, Any], Artifact]] = []
    store.bring((cell.step.task, cell.step.key) for cell in cells)
    for cell in cells:
        if not store.has(cell.step):
            missing.append(Missing(cell.labels, (reasons or {}).get(cell.step.key, "not computed yet")))
            continue
        artifact = store.get(cell.step)
        try:
            own = [{**cell.labels, **row} for row in artifact.rows]
        except (OSError, UserError) as error:
            missing.append(Missing(cell.labels, str(error)))
            continue
        artifacts.append((cell.labels, artifact))
        rows.extend(own)
    return ResultTable(pl.DataFrame(rows, infer_schema_length=None), tuple(missing), tuple(artifacts))
