"""A section put together target by target."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from transferscope.section import Card, Chart, DataSet, Finding, Picture, Section, View


@dataclass
class Parts:
    """What an analysis has to say, in the order of the page: each part grows from target to target."""

    findings: list[Finding] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    tables: list[View] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cards: list[Card] = field(default_factory=list)
    opening: list[Chart | View] = field(default_factory=list)
    data: list[DataSet] = field(default_factory=list)
    readings: list[Any] = field(default_factory=list)

    def section(self, title: str, basis: str, pictures: Sequence[Picture] = ()) -> Section:
        """All of it under a title; `basis` and `pictures` as `Section` has them."""
        return Section(
            title,
            self.findings,
            self.charts,
            self.tables,
            pictures,
            self.notes,
            basis=basis,
            cards=self.cards,
            opening=self.opening,
            data=self.data,
            readings=self.readings,
        )


def by_target(rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Every target and its rows, in the order of the table; nothing for a table without rows."""
    if rows.height:
        for (name,), of in rows.group_by("target", maintain_order=True):
            yield str(name), of
