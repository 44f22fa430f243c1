"""A section as a study of texts or of arrays shows it: its sentences are on those where others are on images."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from transferscope.input_nouns import spoken
from transferscope.section import Chart, DataSet, Finding, Section

NAMES = frozenset(("name", "target", "question", "light", "verdict", "kind"))  # no sentences
SPOKEN = frozenset(("title", "text", "description"))  # keys of a chart that hold words


def section_on(section: Section, noun: str) -> Section:
    """The section with its findings, cards, captions, notes and titles on `noun`; numbers and names stay."""
    found: Section = _told(section, noun)
    return found


def docstring_on(docstring: str, noun: str) -> str:
    """What an analysis says of itself; one that speaks of `noun` beside images stays as it is."""
    return docstring if f"Of {noun}" in docstring else spoken(docstring, noun)


def _told(value: Any, noun: str) -> Any:
    if isinstance(value, str):
        return spoken(value, noun)
    if isinstance(value, list | tuple):
        return type(value)(_told(one, noun) for one in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    known = {one.name: getattr(value, one.name) for one in fields(value)}
    said = {name: _told(held, noun) for name, held in known.items() if name not in NAMES and name != "spec"}
    if isinstance(value, Finding):
        said["sampled"] = noun
    if isinstance(value, DataSet):
        said["noun"] = noun
    if isinstance(value, Chart):
        said["spec"] = _drawn(_specification(value.spec), noun)
    return replace(value, **said)


def _specification(spec: Any) -> Any:
    """A chart of altair as its specification, whatever the number of its rows; a specification as it is."""
    if not hasattr(spec, "to_dict"):
        return spec
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        return spec.to_dict(validate=False)  # as in `charts.specification.plain`


def _drawn(spec: Any, noun: str, key: str = "") -> Any:
    """A chart's specification with its titles reworded; its data stay."""
    if isinstance(spec, str):
        return spoken(spec, noun) if key in SPOKEN else spec
    if isinstance(spec, Mapping):
        return {name: held if name in ("data", "datasets") else _drawn(held, noun, name) for name, held in spec.items()}
    if isinstance(spec, list):
        return [_drawn(one, noun, key) for one in spec]
    return spec
