"""Write what the pages say of options and keys from the code: ``python docs/build.py``.

One page per analysis from its docstring and its options, and the tables of study-file.md: between the lines
``<!-- keys: MODEL -->`` (of the options of a kind of input ``<!-- keys: input.NAME -->``) and ``<!-- end -->`` from
the models of a study file, after ``<!-- augmentations -->`` from
what `recipe.augment.then` may list. The help of a field is the docstring beneath it.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from transferscope import analyses, registry
from transferscope.study.explain import NO_KEYS
from transferscope.study.file import StudyFile
from transferscope.tasks import augmentations, inputs

HERE = Path(__file__).parent
STUDY_FILE = HERE / "study-file.md"
REGION = re.compile(r"(<!-- keys: ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
LISTED = re.compile(r"(<!-- augmentations -->\n).*?(<!-- end -->)", re.DOTALL)
PLAIN = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`", NoneType: "`null`"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def page(name: str) -> str:
    """The Markdown page of an analysis."""
    module = analyses.load(name)
    lines = [f"# `{name}`", "", inspect.getdoc(module) or "", "", "## Options", ""]
    for place, model in places(module.Options):
        lines += [f"### `{place}`", ""] if place else []
        lines += [inspect.getdoc(model) or "", ""]
        lines += [*table(model), ""] if model.model_fields else []
    return "\n".join(lines).rstrip() + "\n"


def filled(text: str) -> str:
    """The text with the table of every region written anew. KeyError for a model that is no part of a study file."""
    known: dict[str, tuple[str, type[BaseModel]]] = {}
    for place, model in study_places():
        known.setdefault(marker(place, model), (place, model))

    def region(found: re.Match[str]) -> str:
        place, model = known[found[2]]
        return "\n".join([found[1], *table(model, place), "", found[3]])

    listed = "\n".join(augmentation_table())
    return LISTED.sub(lambda found: f"{found[1]}\n{listed}\n\n{found[2]}", REGION.sub(region, text))


def marker(place: str, model: type[BaseModel]) -> str:
    """What stands before the table of a model: its name, or its place where several go by that name."""
    return place if place.startswith("input.") else model.__name__


def augmentation_table() -> list[str]:
    """The lines of a Markdown table: what each augmentation is, and beneath it its options."""
    lines = ["| augmentation, option | values | default | meaning |", "|---|---|---|---|"]
    for name, line in registry.lines(augmentations.__name__).items():
        meaning = line.removeprefix(f"{name}: ")
        lines.append(f"| **`{name}`** | | | {meaning[0].upper()}{meaning[1:]} |")
        lines += table(augmentations.load(name).Options)[2:]
    return lines


def study_places() -> Iterator[tuple[str, type[BaseModel]]]:
    """Every model of a study file, and where it stands there; an analysis's entry is read where analyses are chosen."""
    yield from places(StudyFile)
    yield "analyses.NAME", analyses.Entry
    for name in inputs.names():
        if (options := getattr(inputs.load(name), "Options", None)) is not None:
            yield f"input.{name}", options


def places(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and those within, each with the place where it stands; NAME is a name of the user's."""
    yield place, model
    for name, info in model.model_fields.items():
        for inner, below in _within(info.annotation):
            yield from places(inner, f"{place}.{name}{below}".lstrip("."))


def _within(kind: Any) -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, ""
    for inner in get_args(kind):
        for model, below in _within(inner):
            yield model, (".NAME" if get_origin(kind) is dict else "") + below


def table(model: type[BaseModel], place: str = "") -> list[str]:
    """The lines of a Markdown table, one for each key of a model."""
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name, info in model.model_fields.items():
        if name not in NO_KEYS:
            key = f"{place}.{name}".lstrip(".")
            cells = (f"`{key}`", values(info.annotation, info.metadata), default(info), info.description or "")
            lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return lines


def values(kind: Any, told: Any = ()) -> str:
    """What may be written, in words."""
    words = _words(kind, told)
    comma = "," if any(" or " in word for word in words) else ""
    return f"{comma} or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _words(kind: Any, told: Any = ()) -> list[str]:
    """One entry for each kind of value: those `told` with the type, else what the type says."""
    if words := [one for one in told if isinstance(one, str)]:
        return words
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return _words(inner, [part for one in more for part in (one.metadata if isinstance(one, FieldInfo) else [one])])
    if get_origin(kind) is Literal:
        return [f"`{yaml_of(value)}`" for value in get_args(kind)]
    if get_origin(kind) is tuple:
        first, *others = get_args(kind)
        many = values(first).replace("number", "numbers").replace("text", "texts")
        return [f"list of {many}" if others == [...] else f"list of {1 + len(others)} {many}"]
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return ["mapping"]
    if kind in PLAIN:
        bounds = [
            f"{sign} {getattr(one, name):g}" for one in told for name, sign in BOUNDS.items() if hasattr(one, name)
        ]
        return [f"{PLAIN[kind]} {' and '.join(bounds)}".rstrip()]
    return [word for one in get_args(kind) for word in _words(one)]  # a union


def default(info: FieldInfo) -> str:
    """What holds when the key is left out."""
    if info.is_required():
        return "required"
    return "its defaults" if isinstance(info.default, BaseModel) else f"`{yaml_of(info.default)}`"


def yaml_of(value: Any) -> str:
    """A value as it would stand in a study file, numbers to four digits."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {yaml_of(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(yaml_of(one) for one in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(yaml.safe_dump(value, width=1000)).removesuffix("\n").removesuffix("\n...")


def pages() -> dict[Path, str]:
    """Every page that is written, whole or in part, and what it should say."""
    found = {HERE / "analyses" / f"{name}.md": page(name) for name in analyses.names()}
    return {**found, STUDY_FILE: filled(STUDY_FILE.read_text(encoding="utf-8"))}


def main() -> None:
    for file, text in pages().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
