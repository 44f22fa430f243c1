"""What an analysis hands to the report: findings, charts, pictures and tables under one title."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

Verdict = Literal["supports", "contradicts", "open"]
Question = Literal["Gain", "Why", "Freeze", "Average", "Train", "Labels", "Checkpoint"]  # what a reader wants to know
Light = Literal["yes", "no", "unsure"]

# What the paper says, by the numbers that findings refer to.
CLAIMS = {
    1: "Fine-tuned networks end with better scores than networks trained from scratch, or at least get there sooner.",
    2: "Where classes are told apart by shapes, the gain shrinks as the images are cut into smaller blocks.",
    3: "Even where shuffling destroys every visible feature, pretraining speeds training up: statistics carry over.",
    4: "Two fine-tuned networks share more of their mistakes than two from scratch, beyond what accuracy explains.",
    5: "Two fine-tuned networks have similar features, and stay similar to their start; those from scratch do not.",
    6: "Two fine-tuned networks lie near each other and near their start; they move most in the upper blocks.",
    7: "No barrier lies on the line between two fine-tuned networks; between networks from scratch there is one.",
    8: "The line between two fine-tuned networks runs in one basin: the loss rises beyond its ends and under noise.",
    9: "In fine-tuned networks the lower blocks can be rewound without harm; from scratch, stage entries are critical.",
    10: "Early pretraining checkpoints are nearly as good to start from as the last one.",
}


@dataclass(frozen=True)
class Finding:
    """One sentence with its effect, 95% interval and count; `claim` numbers the paper's statement it judges.

    `unit` stands after the effect; new fields come last, because findings are often built by position.
    """

    text: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    claim: int | None = None
    verdict: Verdict | None = None
    counted: str = "seeds"  # what n counts
    images: int | None = None  # test images that the interval is over as well; None: over what n counts alone
    shown: tuple[int, int] | None = None  # of an open claim of several comparisons: how many are shown, and of how many
    needed: int | None = None  # seeds that would decide an open claim, were effects and scatter what they seem
    note: str = ""  # why there is no interval, or the values themselves
    effects: Sequence[Any] = ()  # the intervals that the verdict is made of, in no file; None where one is missing
    sampled: str = "images"  # what `images` counts, in no file
    # What it says at another error, for studies that look more than once; only where the error decides what it names.
    again: "Callable[[float], Finding | None] | None" = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Card:
    """A short answer for the first screen: what to do about one `question`, on one target.

    `level` is that of the interval. `again` makes the card at another error, for studies that look more than once.

    `light` is "yes" or "no" only where the interval leaves out the limit that the answer hangs on. The `headline` has
    no full stop and no letters for networks (P-T, RI-T); `sure` says how sure it is, `advice` what to do.
    """

    question: Question
    light: Light
    headline: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = ""
    sure: str = ""
    advice: str = ""
    target: str = ""
    counted: str = "seeds"  # what n counts
    level: float = 0.95
    again: Callable[[float], "Card"] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class DataSet:
    """What a target holds; `chance` is the score of one answer for every test image, `alarms` are sentences."""

    target: str
    train: int
    val: int
    test: int
    classes: int
    kind: str = "classes"  # or "labels", of which an image may have several
    chance: float | None = None
    alarms: Sequence[str] = ()
    noun: str = "images"  # what is counted, in no file


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
    """One analysis's part of the page; `basis` says what its numbers were computed on, with which weights and
    statistics, chosen by what; `problems` are sentences on what of it could not be written.

    `cards` are its answers for the first screen, `opening` the charts and tables it has there (and nowhere else);
    `unasked` says what would make it answer a question that its options leave out, as a study file writes it.
    `readings` are its numbers seed by seed, for a page that holds studies side by side; in no file of its own.
    """

    title: str
    findings: Sequence[Finding] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[View] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default=())
    problems: Sequence[str] = ()
    basis: str = ""
    cards: Sequence[Card] = ()
    opening: Sequence[Chart | View] = ()
    data: Sequence[DataSet] = ()
    unasked: Mapping[Question, str] = field(default_factory=dict)
    readings: Sequence[Any] = ()
