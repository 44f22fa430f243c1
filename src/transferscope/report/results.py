"""What a study has so far, for programs and notebooks: tables, findings, charts and sections of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from transferscope.charts import in_notebooks as html
from transferscope.engine.plan import Plan
from transferscope.engine.table import ResultTable
from transferscope.errors import UserError, did_you_mean
from transferscope.report import wording
from transferscope.report.first_screen import summary
from transferscope.section import Card, Chart, Finding, Section, View


@dataclass(frozen=True)
class Part:
    """One analysis of a study as its page shows it; `section` holds everything there is of it."""

    name: str
    section: Section = field(repr=False)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Sentences with their effects, intervals and counts."""
        return tuple(self.section.findings)

    @property
    def charts(self) -> dict[str, Any]:
        """altair charts by name, in the order of the page."""
        import altair as alt

        drawn = [one for one in (*self.section.opening, *self.section.charts) if isinstance(one, Chart)]
        return {one.name: one.spec if hasattr(one.spec, "to_dict") else alt.Chart.from_dict(one.spec) for one in drawn}

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables that the page shows, by title."""
        listed = (*self.section.opening, *self.section.tables)
        return {one.title: one.rows for one in listed if isinstance(one, View)}

    def _repr_html_(self) -> str:
        one = self.section
        drawn = [chart for chart in (*one.opening, *one.charts) if isinstance(chart, Chart)]
        said = [html.paragraphs([chart.title]) + html.chart(chart.spec, chart.title) for chart in drawn]
        shown = [html.paragraphs([title]) + html.table(rows) for title, rows in self.tables.items()]
        told = [wording.sentence(finding) for finding in one.findings]
        return html.piece(
            one.title,
            html.paragraphs([*one.problems, *one.notes]),
            html.listed(told),
            html.paragraphs([one.basis] if one.basis else []),
            *said,
            *shown,
        )


@dataclass(frozen=True)
class Summary:
    """What a terminal is told of a `page`: `answers` and the `alarms` of the data, a line each; how many `findings` and
    `notes` it has; `problems`, what of it could not be written, of which `log` tells more; and whether a cell is
    missing (`incomplete`)."""

    page: Path
    answers: Sequence[str]
    alarms: Sequence[str]
    findings: int
    notes: int
    problems: Sequence[str] = ()
    log: Path | None = None
    incomplete: bool = False


@dataclass(frozen=True, repr=False)
class Results:
    """What a study has so far: its plan, one table and section per analysis, and the page; and what of it could not be
    written, a sentence each, with the file that holds the tracebacks."""

    plan: Plan
    tables: Mapping[str, ResultTable]
    sections: Mapping[str, Section]
    report: Path
    problems: Sequence[str] = ()
    log: Path | None = None

    @property
    def summary(self) -> Summary:
        """All of it in a few lines."""
        sections = self.sections.values()
        return Summary(
            page=self.report,
            answers=summary(self.sections),
            alarms=list(dict.fromkeys(alarm for section in sections for one in section.data for alarm in one.alarms)),
            findings=sum(len(section.findings) for section in sections),
            notes=len({note for section in sections for note in section.notes}),
            problems=self.problems,
            log=self.log if self.problems else None,
            incomplete=self.incomplete,
        )

    @property
    def incomplete(self) -> bool:
        """Whether a cell is missing."""
        return any(table.missing for table in self.tables.values())

    @property
    def missing(self) -> tuple[str, ...]:
        """A sentence for every cell without a result, and why."""
        cells = [(name, cell) for name, table in self.tables.items() for cell in table.missing]
        return tuple(f"{name}, {wording.labels(cell.labels)}: {cell.reason}" for name, cell in cells)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those of all analyses, in the order of the page."""
        return tuple(finding for section in self.sections.values() for finding in section.findings)

    @property
    def cards(self) -> tuple[Card, ...]:
        """The short answers of the first screen, in the order of the analyses."""
        return tuple(card for section in self.sections.values() for card in section.cards)

    @property
    def charts(self) -> dict[str, Any]:
        """All altair charts, by "analysis/name"."""
        return {f"{name}/{chart}": spec for name in self.sections for chart, spec in self.section(name).charts.items()}

    def table(self, name: str) -> pl.DataFrame:
        """The tidy table of an analysis, one row an observation. UserError for an analysis that is not in the study."""
        return self.tables[self._known(name)].rows

    def section(self, name: str) -> Part:
        """An analysis as the page shows it. UserError for one that is not in the study."""
        return Part(name, self.sections[self._known(name)])

    def _known(self, name: str) -> str:
        if name not in self.sections:
            raise UserError(
                f"results: '{name}' is not an analysis of this study; {did_you_mean(name, list(self.sections))}"
            )
        return name

    def __repr__(self) -> str:
        return "\n".join(self._said())

    def _repr_html_(self) -> str:
        links = html.listed([f"{name}: {section.title}" for name, section in self.sections.items()])
        return html.piece("Results", html.paragraphs(self._said()), links)

    def _said(self) -> list[str]:
        lost = [f"{len(self.missing)} cells are missing; .missing says why."] if self.missing else []
        return [*summary(self.sections), *lost, *self.problems, f"Page: {self.report}"]
