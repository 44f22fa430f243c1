"""The form of a file of published numbers: who published them, how they were had, and the numbers table by table."""

import math
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from transferscope.against.quantities import QUANTITIES, SHARES
from transferscope.errors import UserError, did_you_mean, legible
from transferscope.section import CLAIMS
from transferscope.strict_models import Real, Strict, as_tuple
from transferscope.study import yaml_text
from transferscope.study.explain import explain
from transferscope.tasks.recipe_fields import Epochs, Rates

PAPER = "paper"  # what the file that comes with the project is called
LARGEST = 1_000_000  # bytes of a file
Tag = Literal["printed", "read", "inferred", "told"]
TAGS: dict[Tag, str] = {
    "printed": "stands in a table, a text or the code of the publication",
    "read": "was measured on a figure",
    "inferred": "follows from other published facts",
    "told": "is known from others who read the publication",
}
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Setting(Strict):
    """How the published numbers of a target were had: what a study is held against. What is left out is not known."""

    data: str | None = None
    """The reference of its images, `*` standing for anything: a target of a study is this one if its name is the same
    or its reference fits."""
    metric: str | None = None
    """What scores are: `accuracy`, `auc`, or another metric that a target may have."""
    network: str | None = None
    """The network, as a study file writes it."""
    image_size: int | None = None
    """Side in pixels of what the network saw."""
    train: Annotated[int, Field(ge=1)] | None = None
    """Images that were trained on."""
    test: Annotated[int, Field(ge=1)] | None = None
    """Images that were tested on."""
    epochs: Epochs | None = None
    """Epochs of training: a number, or one per arm."""
    recipe: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """What else of the recipe is known, by the keys of a study file."""


class Value(Strict):
    """One published number and what it is of: `target`, and what its quantity asks for besides."""

    target: Text
    """A name of `targets`."""
    value: Real
    """The number."""
    arm: str | None = None
    """The arm: `pretrained` or `random`."""
    pair: str | None = None
    """The pair of networks, as the page writes it: `P-T & P-T`, `P-T & P`, `RI-T & RI-T (same init)`."""
    block: str | None = None
    """The side of the shuffled blocks in pixels, `channels`, or `whole`."""
    layer: str | None = None
    """The block of the network; a stage such as `layer1` is read at its last block."""
    epoch: Annotated[int, Field(ge=0)] | None = None
    """The epoch of pretraining that the network started from."""


class Group(Strict):
    """Numbers of one table or figure that mean the same."""

    place: Text
    """Where they are published: `table 2`, `figure 7`."""
    quantity: str
    """What they are."""
    unit: Literal["%", "share", ""] = ""
    """Of scores: `%` or `share` (of 1)."""
    tag: Tag
    """How they are known: `printed`, `read` off a figure, `inferred`, or `told` by others."""
    tolerance: Annotated[Real, Field(ge=0)] = 0.0
    """How far they may be off because they were rounded or read, in their unit."""
    margin: Annotated[Real, Field(gt=0)] | None = None
    """How far off a number still counts as the same, in their unit; without one nothing is called reproduced."""
    claim: Annotated[int, Field(ge=min(CLAIMS), le=max(CLAIMS))] | None = None
    """The claim of the paper that they belong to."""
    lr: Rates | None = None
    """The learning rate of the runs, or one per arm, where it is known."""
    options: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """Options of the analysis that they were had with, where they are known."""
    note: str = ""
    """What else to know of them."""
    values: Annotated[tuple[Value, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    """The numbers."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quantity not in QUANTITIES:
            raise ValueError(f"quantity: '{self.quantity}' is none; {did_you_mean(self.quantity, list(QUANTITIES))}")
        asked = QUANTITIES[self.quantity]
        if asked.score != bool(self.unit):
            hint = f"write one of {', '.join(SHARES)}" if asked.score else "leave it out"
            raise ValueError(f"unit: {self.quantity} is {'' if asked.score else 'not '}a score; {hint}")
        for one in self.values:
            said = {key for key in ("arm", "pair", "block", "layer", "epoch") if getattr(one, key) is not None}
            if lost := set(asked.keys) - said:
                raise ValueError(
                    f"values: a number of '{self.quantity}' needs '{min(lost)}', and {_called(one)} has none"
                )
            if more := said - {*asked.keys, *asked.may}:
                raise ValueError(f"values: '{self.quantity}' has no '{min(more)}', which {_called(one)} says")
        self._in_range()
        return self

    def _in_range(self) -> None:
        most = max(one.value for one in self.values)
        least, limit = min(one.value for one in self.values), {"%": 100.0, "share": 1.0}.get(self.unit, math.inf)
        if most > limit:
            raise ValueError(f"values: {most:g} is no score in {self.unit!r}; the most is {limit:g}")
        if self.unit == "%" and 0 < most <= 1:
            raise ValueError("values: all are below 1 %, which looks like shares; write 'unit: share'")
        if self.unit and least < -limit:
            raise ValueError(f"values: {least:g} is no score in {self.unit!r}; the least is {-limit:g}")


class Published(Strict):
    """A file of published numbers."""

    title: Text
    """Whose numbers they are, as the page names the publication."""
    short: Text
    """The same in a word or two, for headings: `the paper`."""
    notes: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    """What a reader should know of all of them, a sentence each."""
    targets: Annotated[dict[str, Setting], Field(min_length=1)]
    """How the numbers of each target were had."""
    tables: Annotated[tuple[Group, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    """The numbers, table by table."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[tuple[Any, ...]] = set()
        for group in self.tables:
            for one in group.values:
                if one.target not in self.targets:
                    known = did_you_mean(one.target, list(self.targets))
                    raise ValueError(f"tables: '{group.place}' speaks of '{one.target}', which is no target; {known}")
                rest = tuple(one.model_dump(exclude={"value"}).values())
                key = (group.quantity, str(group.lr), str(group.options), *rest)
                if key in seen:
                    raise ValueError(f"tables: '{group.place}' has {_called(one)} twice")
                seen.add(key)
        return self


def read(given: str) -> Published:
    """The numbers of `paper`, or of anybody's file. UserError in one sentence for a file that cannot be read."""
    if given == PAPER:
        text, where = (files("transferscope.against") / "paper.yaml").read_text(encoding="utf-8"), "paper.yaml"
    else:
        text, where = _text(Path(given).expanduser()), given
    said = yaml_text.read(text, where)
    if not isinstance(said, dict):
        raise UserError(f"{where}: published numbers are a mapping with title, short, targets and tables.")
    try:
        return Published.model_validate(said)
    except ValidationError as error:
        raise UserError(explain(error, Published, where)) from None


def _text(file: Path) -> str:
    if not file.is_file():
        hint = "there is no such file" if not file.exists() else "it is no file"
        raise UserError(f"--against {file}: {hint}; give 'paper', or a YAML file of published numbers.")
    if file.stat().st_size > LARGEST:
        raise UserError(f"--against {file}: it has more than {LARGEST:,} bytes, which is no file of published numbers.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"--against {file}: it is no text in UTF-8; give a YAML file of published numbers.") from None


def _called(one: Value) -> str:
    said = one.model_dump(exclude={"value"}, exclude_none=True)
    return legible("the one of " + ", ".join(str(value) for value in said.values()))
