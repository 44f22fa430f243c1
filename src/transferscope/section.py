"""What an analysis hands to the report: findings, charts, pictures and tables under one title."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

Verdict = Literal["supports", "contradicts", "open"]


@dataclass(frozen=True)
class Finding:
    """One sentence with its effect, 95% interval and count; `claim` numbers the paper's statement it judges."""

    text: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    claim: int | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Chart:
    """A named altair chart (`name` becomes the figure's file name) and the sentence printed under it."""

    name: str
    title: str
    spec: Any
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A named raster image (PNG bytes) for what a chart cannot draw, such as example photographs."""

    name: str
    title: str
    png: bytes
    caption: str = ""


@dataclass(frozen=True)
class View:
    """A table shown in the report; the full tidy table of the analysis is written as CSV beside it."""

    name: str
    title: str
    rows: pl.DataFrame
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One analysis's part of the page."""

    title: str
    findings: Sequence[Finding] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[View] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default=())
