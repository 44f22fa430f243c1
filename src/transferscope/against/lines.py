"""Every published number with what a study measured of the same, and whether the two may be held together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from transferscope.against import basis
from transferscope.against.form import Group, Published, Value
from transferscope.against.quantities import QUANTITIES
from transferscope.analyses import Chosen
from transferscope.analyses._shared import contrasts
from transferscope.engine.table import ResultTable
from transferscope.measures.deciding import LEAST
from transferscope.measures.intervals import Interval
from transferscope.section import DataSet
from transferscope.study import Study

Judged = Literal["reproduced", "apart", "open"]
OF = ("arm", "pair", "block", "layer", "epoch")


@dataclass(frozen=True)
class Line:
    """A published number, and what there is of it here: the study's target and analysis with the mean over seeds, in
    the published unit, and what was otherwise. Without a counterpart `measured` is None."""

    group: Group
    value: Value
    target: str | None = None
    analysis: str | None = None
    measured: Interval | None = None
    differs: tuple[str, ...] = ()

    @property
    def rate(self) -> str | None:
        """The published learning rate, or one per arm."""
        said = self.group.lr
        return None if said is None else _words(said) if isinstance(said, dict) else f"{said}"

    @property
    def options(self) -> str | None:
        """The options of the analysis that the number was had with."""
        return _words(self.group.options) or None

    @property
    def comparable(self) -> bool:
        """Whether both are there and nothing that is known was otherwise."""
        return self.measured is not None and not self.differs

    @property
    def difference(self) -> float | None:
        """Measured less published, where the two are comparable."""
        return self.measured.mean - self.value.value if self.measured is not None and self.comparable else None

    @property
    def judged(self) -> Judged | None:
        """What the interval says of a comparable number; None of others."""
        return None if self.measured is None or self.differs else _judged(self.measured, self.value.value, self.group)


def _words(said: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in said.items())


def _judged(found: Interval, published: float, group: Group) -> Judged:
    if found.low is None or found.high is None or found.n < LEAST:
        return "open"
    room = (group.margin or 0.0) - group.tolerance
    if room > 0 and published - room <= found.low and found.high <= published + room:
        return "reproduced"
    left = found.high < published - group.tolerance or found.low > published + group.tolerance
    return "apart" if left else "open"


def lines(
    published: Published,
    study: Study,
    chosen: Mapping[str, Chosen],
    tables: Mapping[str, ResultTable],
    data: Sequence[DataSet] = (),
) -> list[Line]:
    """A line for every published number, and where a study measured it on several bases that are as near, one each."""
    holds = {one.target: one for one in data}
    asked = {name: one.asked_of(study) for name, one in chosen.items()}
    found = []
    for group in published.tables:
        kind = QUANTITIES[group.quantity].analysis
        for value in group.values:
            setting = published.targets[value.target]
            every = [
                line
                for target in basis.targets(study, value.target, setting)
                for name, one in chosen.items()
                if one.kind == kind and not tables[name].rows.is_empty()
                for line in _line(
                    published, group, value, basis.Basis(asked[name], one, target, holds.get(target)), tables[name]
                )
            ]
            found += _nearest(every) or [Line(group, value)]
    return found


def _nearest(every: Sequence[Line]) -> list[Line]:
    """The lines with the fewest differences; of analyses that looked at the same runs in the same way, the first."""
    fewest = min((len(line.differs) for line in every), default=0)
    near = [line for line in every if len(line.differs) == fewest]
    alike = {(line.target, line.measured, line.differs): line for line in reversed(near)}
    return [line for line in near if line is alike[line.target, line.measured, line.differs]]


def _line(published: Published, group: Group, value: Value, on: basis.Basis, table: ResultTable) -> Iterator[Line]:
    """The number as one analysis measured it on one target, where it did."""
    rows = table.rows
    if "target" not in rows.columns:
        return
    own = rows.filter(pl.col("target") == on.target)
    measured = None if own.is_empty() else QUANTITIES[group.quantity].read(own, on.one.options, value)
    if measured is None:
        return
    differs = basis.differences(on, published.targets[value.target], group, value, measured.metric)
    times = 100.0 if group.unit == "%" else 1.0
    yield Line(group, value, on.target, on.one.name, contrasts.moved(measured.value, times), tuple(differs))


def rows(found: Sequence[Line]) -> pl.DataFrame:
    """The lines as a tidy table, one row a line; what is not known is null."""
    schema = {
        **dict.fromkeys(("place", "quantity", "target", "arm", "pair", "block", "layer"), pl.String),
        "epoch": pl.Int64,
        **dict.fromkeys(("rate", "options"), pl.String),
        "unit": pl.String,
        "published": pl.Float64,
        "tag": pl.String,
        "tolerance": pl.Float64,
        "margin": pl.Float64,
        "claim": pl.Int64,
        **dict.fromkeys(("study_target", "analysis"), pl.String),
        **dict.fromkeys(("measured", "low", "high"), pl.Float64),
        "seeds": pl.Int64,
        "difference": pl.Float64,
        **dict.fromkeys(("judged", "differs"), pl.String),
    }
    return pl.DataFrame([_row(line) for line in found], schema=schema, orient="row")


def _row(line: Line) -> tuple[object, ...]:
    group, value, here = line.group, line.value, line.measured
    seen = (None, None, None, None) if here is None else (here.mean, here.low, here.high, here.n)
    return (
        *(group.place, group.quantity, value.target, *(getattr(value, name) for name in OF)),
        *(line.rate, line.options),
        *(group.unit or None, value.value, group.tag, group.tolerance, group.margin, group.claim),
        *(line.target, line.analysis, *seen, line.difference, line.judged, "; ".join(line.differs) or None),
    )
