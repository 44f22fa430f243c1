"""A section as a study of texts shows it: its sentences are on texts where those of all others are on images."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from transferscope.nouns import of_texts
from transferscope.section import Chart, DataSet, Finding, Section

NAMES = frozenset(("name", "target", "question", "light", "verdict", "kind"))  # no sentences
SPOKEN = frozenset(("title", "text", "description"))  # keys of a chart that hold words


def section_of_texts(section: Section) -> Section:
    """The section with its findings, cards, captions, notes and titles reworded; numbers and names stay."""
    found: Section = _told(section)
    return found


def docstring_of_texts(docstring: str) -> str:
    """What an analysis says of itself; one that speaks of texts beside images stays as it is."""
    return docstring if "Of texts" in docstring else of_texts(docstring)


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return of_texts(value)
    if isinstance(value, list | tuple):
        return type(value)(_told(one) for one in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    known = {one.name: getattr(value, one.name) for one in fields(value)}
    said = {name: _told(held) for name, held in known.items() if name not in NAMES and name != "spec"}
    if isinstance(value, Finding):
        said["sampled"] = "texts"
    if isinstance(value, DataSet):
        said["noun"] = "texts"
    if isinstance(value, Chart):
        said["spec"] = _drawn(_specification(value.spec))
    return replace(value, **said)


def _specification(spec: Any) -> Any:
    """A chart of altair as its specification, whatever the number of its rows; a specification as it is."""
    if not hasattr(spec, "to_dict"):
        return spec
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        return spec.to_dict()


def _drawn(spec: Any, key: str = "") -> Any:
    """A chart's specification with its titles reworded; its data stay."""
    if isinstance(spec, str):
        return of_texts(spec) if key in SPOKEN else spec
    if isinstance(spec, Mapping):
        return {name: held if name in ("data", "datasets") else _drawn(held, name) for name, held in spec.items()}
    if isinstance(spec, list):
        return [_drawn(one, key) for one in spec]
    return spec
