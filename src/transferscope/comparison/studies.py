"""Studies held side by side, for the command line and notebooks: read, told, drawn, and written as a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from transferscope.charts import in_notebooks as html
from transferscope.comparison.facts import Facts
from transferscope.comparison.page import write
from transferscope.comparison.sides import named, opened
from transferscope.errors import UserError
from transferscope.report import wording
from transferscope.report.failures import Mishaps
from transferscope.section import Finding
from transferscope.study import Study


@dataclass(frozen=True, repr=False)
class Comparison:
    """Studies side by side; the first is what the others are held against. `facts` holds everything there is."""

    facts: Facts

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every difference that there is, as a sentence with its interval."""
        return self.facts.findings

    @property
    def charts(self) -> dict[str, Any]:
        """altair charts by name: learning curves and final scores of all studies."""
        return {one.name: one.spec for one in self.facts.drawn}

    @property
    def incomplete(self) -> bool:
        """Whether a study lacks results."""
        return any(side.missing for side in self.facts.sides)

    def settings(self) -> pl.DataFrame:
        """The keys that differ, with their value in each study."""
        apart = [one for one in self.facts.settings if one.differs]
        lines = [{"key": one.key, **dict(zip(self.facts.names, one.values, strict=True))} for one in apart]
        return pl.DataFrame(lines, schema=dict.fromkeys(("key", *self.facts.names), pl.String))

    def table(self) -> pl.DataFrame:
        """A line for every number: its value in each study, and the differences with their intervals."""
        return self.facts.table()

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values, as compare.json holds it."""
        return self.facts.as_json()

    def write(self, page: Path | str, mishaps: Mishaps | None = None) -> Path:
        """Write the page, its figures beside it and the JSON with its name; the path of the page. Raises OSError."""
        return write(self.facts, Path(page), mishaps or Mishaps())

    def said(self) -> list[str]:
        """For a terminal: what differs, then every shown difference, and how many are not shown."""
        apart = [one.key for one in self.facts.settings if one.differs]
        few = ", ".join(apart[:8]) + (f" and {len(apart) - 8} more" if len(apart) > 8 else "")
        lines = [f"{', '.join(self.facts.names)} differ in: {few or 'nothing that a study file says'}."]
        shown = [
            (row, one)
            for row in self.facts.rows
            for one in zip(row.differences, row.findings(self.facts.names), strict=True)
        ]
        for row, (one, told) in shown:
            if one.light != "unsure":
                lines.append(f"{row.target.name}, {row.asks}: {wording.sentence(told)}")
        unsure = sum(one.found is not None and one.light == "unsure" for _, (one, _) in shown)
        without = sum(one.found is None for _, (one, _) in shown)
        lines.append(f"Not shown to differ: {unsure} of {len(shown) - without} differences; {without} not formed.")
        return [
            *lines,
            *(f"{side.name} lacks results of {name}." for side in self.facts.sides for name, *_ in side.missing),
        ]

    def __repr__(self) -> str:
        return "\n".join(self.said())

    def _repr_html_(self) -> str:
        apart = self.settings()
        told = [
            f"{row.target.name}, {row.asks}: {wording.sentence(said)}"
            for row in self.facts.rows
            for said in row.findings(self.facts.names)
        ]
        return html.piece(
            " and ".join(self.facts.names),
            html.table(apart) if apart.height else "",
            html.paragraphs(self.facts.notes),
            html.listed(told),
            *(html.paragraphs([one.title]) + html.chart(one.spec, one.title) for one in self.facts.drawn),
        )


def compare(given: Sequence[Path | str | Study], *, read_only: bool = False) -> Comparison:
    """Studies side by side, from what their stores hold; nothing is computed. `given`: study files, folders of studies,
    or studies, the reference first. `read_only`: not even memos are written into their stores.

    UserError for fewer than two, for one study twice, and for one that has no results.
    """
    if len(given) < 2:
        raise UserError("compare: name two studies or more, the one that the others are held against first.")
    sides = [opened(one, read_only=read_only) for one in given]
    for place, side in enumerate(sides):
        for other in sides[:place]:
            if side.keys <= other.keys or other.keys <= side.keys:
                raise UserError(
                    f"compare: {other.file} and {side.file} are one study: all steps of one are steps of the other, "
                    "and no number can differ."
                )
    return Comparison(Facts(tuple(named(sides))))
