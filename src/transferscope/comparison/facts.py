"""What a comparison of studies found: settings, numbers, differences and charts, as tables, sentences and JSON."""

import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import polars as pl

from transferscope.comparison import joint_charts, targets
from transferscope.comparison.differences import Difference, Row, rows
from transferscope.comparison.settings import Setting, settings
from transferscope.comparison.sides import Side
from transferscope.comparison.targets import Matched
from transferscope.measures.multiple_comparisons import by_chance_words
from transferscope.report.results_json import finite
from transferscope.section import Card, Chart, Finding

FORMAT = 1
QUIET = ("again",)  # fields of a card that are in no file


@dataclass(frozen=True, repr=False)
class Facts:
    """Studies side by side; the first is what the others are held against."""

    sides: tuple[Side, ...]

    @property
    def names(self) -> list[str]:
        """The studies, the reference first."""
        return [side.name for side in self.sides]

    @cached_property
    def targets(self) -> list[Matched]:
        """Every target with its name in each study."""
        return targets.matched(self.sides)

    @cached_property
    def settings(self) -> list[Setting]:
        """Every key of the study files; those that `differs` are what is compared."""
        return settings(self.sides)

    @cached_property
    def rows(self) -> list[Row]:
        """Every number of every study, with the differences."""
        return rows(self.sides, self.targets)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every difference that there is, as a sentence, below what it is of."""
        told = []
        for row in self.rows:
            for one, said in zip(row.differences, row.findings(self.names), strict=True):
                if one.found is not None:
                    told.append(said)
        return tuple(told)

    @property
    def notes(self) -> list[str]:
        """What is missing, which targets are which, how strictly is judged, and how much would be found by chance."""
        lost = [
            f"{side.name} lacks {count} cell{'s' if count != 1 else ''} of {name} ({why})."
            for side in self.sides
            for name, count, why in side.missing
        ]
        broken = [f"{side.name}: {said}" for side in self.sides for said in side.problems]
        found = [one.found for row in self.rows for one in row.differences if one.found is not None]
        said = targets.words(self.targets, dict(enumerate(self.names)))
        return [*lost, *broken, *said, self.judging, *filter(None, [by_chance_words(found)])]

    @property
    def judging(self) -> str:
        """How a difference is decided, in words."""
        level = 100 * min(side.level for side in self.sides)
        looks = max(len(side.design.looks) for side in self.sides)
        why = ", the strictest at which the studies judge their own claims, since one looks more than once" * (
            looks > 1
        )
        holm = (
            f" The {len(self.sides) - 1} differences of one number from {self.names[0]} are judged together (Holm)."
            if len(self.sides) > 2
            else ""
        )
        return (
            f"Intervals are at 95%; a difference counts as shown at the {level:.2g}% level{why}, from three seeds on."
            f"{holm} No number is corrected for the others: many are compared, and some differ by chance."
        )

    def table(self) -> pl.DataFrame:
        """A line for every number: question, analysis, target, what it is, its value in each study, the differences."""
        found = []
        for row in self.rows:
            line: dict[str, Any] = {"question": row.question, "analysis": row.analysis, "target": row.target.name}
            line |= {"what": row.asks, "unit": row.unit}
            for name, reading in zip(self.names, row.readings, strict=True):
                line[name] = None if reading is None else reading.shown.mean
            for one in row.differences:
                ends = (None, None, None) if one.found is None else (one.found.mean, one.found.low, one.found.high)
                of = f"{self.names[one.of]} less {self.names[one.against]}"
                line |= dict(zip((of, f"{of}, low", f"{of}, high"), ends, strict=True))
                line[f"{of}, basis"] = one.how or one.why
            found.append(line)
        return pl.DataFrame(found, infer_schema_length=None)

    @cached_property
    def drawn(self) -> list[Chart]:
        """The charts that show all studies in one."""
        return joint_charts.together(self.sides, self.targets)

    def as_json(self) -> dict[str, Any]:
        """All of it for programs."""
        return {
            "format": FORMAT,
            "studies": [_study(side) for side in self.sides],
            "settings": [{"key": one.key, "values": list(one.values)} for one in self.settings if one.differs],
            "targets": [
                {
                    "names": [one.names.get(place) for place in range(len(self.sides))],
                    "test_examples_of_the_first": [one.same_test(0, place) for place in range(len(self.sides))],
                }
                for one in self.targets
            ],
            "answers": [
                {"study": side.name, "analysis": part.name, **_card(card)}
                for side in self.sides
                for part in side.parts
                for card in part.section.cards
            ],
            "numbers": [_number(row) for row in self.rows],
            "notes": self.notes,
        }


def _study(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "file": str(side.file),
        "seeds": list(side.study.seeds),
        "design": side.design.words,
        "level": side.level,
        "missing": [{"analysis": name, "cells": count, "reason": why} for name, count, why in side.missing],
        "problems": list(side.problems),
    }


def _card(card: Card) -> dict[str, Any]:
    said = {one.name: getattr(card, one.name) for one in fields(card) if one.name not in QUIET}
    return {name: finite(value) for name, value in said.items()}


def _number(row: Row) -> dict[str, Any]:
    values = [
        None
        if one is None
        else {
            "effect": finite(one.shown.mean),
            "low": finite(one.shown.low),
            "high": finite(one.shown.high),
            "seeds": list(one.seeds),
        }
        for one in row.readings
    ]
    return {
        "question": row.question,
        "analysis": row.analysis,
        "name": row.name,
        "target": row.target.name,
        "asks": row.asks,
        "unit": row.unit,
        "metric": row.metric or None,
        "values": values,
        "differences": [_difference(one) for one in row.differences],
    }


def _difference(one: Difference) -> dict[str, Any]:
    said: dict[str, Any] = {"of": one.of, "against": one.against, "basis": one.how or None, "why_not": one.why or None}
    if one.found is None:
        return said
    ends = {name: finite(getattr(one.found, name)) for name in ("low", "high")}
    return {
        **said,
        "effect": finite(one.found.mean),
        **ends,
        "n": one.found.n,
        "images": one.found.images,
        "shown": {"yes": "higher", "no": "lower", "unsure": None}[one.light],
        "note": one.found.note or None,
    }


def text(found: Facts) -> str:
    """The JSON as the file holds it."""
    return json.dumps(found.as_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
