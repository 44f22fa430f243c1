"""A target as a study names it: a reference, and what its source is told of how to read it.

The two travel as one text, `csv:FILE?{"columns":{...}}`, so that whoever is handed a reference (a worker, a table that
is streamed) reads the same images; a target without options is the plain reference.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from transferscope.answers import METRICS, Kind, Task
from transferscope.data import paths
from transferscope.data.names import split_word
from transferscope.errors import UserError, did_you_mean
from transferscope.registry import joined
from transferscope.strict_models import TEXT, Also, Real, Strict, as_number, as_tuple

IGNORE = "ignore"  # of cells
FITS: dict[Task | None, frozenset[Kind]] = {
    None: frozenset({"class", "labels"}),
    "ordinal": frozenset({"grade"}),
    "regression": frozenset({"numbers"}),
}


def _names(value: Any) -> Any:
    """One name or a list of them, as a tuple."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _readings(value: Any) -> Any:
    cells = list(value.values()) if isinstance(value, dict) else [value]
    if value is not None and not all(cell == IGNORE or (type(cell) is int and cell in (0, 1)) for cell in cells):
        raise ValueError(
            "an uncertain cell counts as 0 or 1, or is to ignore: give one of them, or a mapping from label to one"
        )
    return value


Names = Annotated[tuple[str, ...] | None, BeforeValidator(_names), Also(TEXT), "text", "list of texts", "`null`"]


class Columns(Strict):
    """Which column of a table is what; what is not named is recognised, and null says that there is none."""

    path: str | None = None
    """The column of paths or ids of the images."""
    text: str | None = None
    """With `input: text` the column of texts, in the place of paths; a column called `text` is recognised."""
    label: Names = None
    """The column of labels, or several columns of 0 and 1."""
    group: str | None = None
    """The column of groups (patients), each of which stays on one side of a split."""
    split: str | None = None
    """The column that says which split an image belongs to."""
    values: Names = None
    """Of a file of arrays, the column that holds them, or the columns of numbers that make one up in this order, by
    name or pattern (`band_*`)."""

    @model_serializer(mode="wrap")
    def _said(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was said, and nothing of what was not: null means something here."""
        return {name: value for name, value in whole(self).items() if name in self.model_fields_set}

    def without(self, role: str) -> bool:
        """Was it said that there is no column of this role?"""
        return role in self.model_fields_set and getattr(self, role) is None


def split_cell(cell: Any, column: str) -> str:
    """The split, train, val or test, that a cell of the `column` of splits says; "" for an empty one."""
    if not cell:
        return ""
    if not (word := split_word(str(cell))):
        raise UserError(f"columns.split: '{cell}' in '{column}' is neither train, val nor test; name another column.")
    return word


def _ends(value: Any) -> Any:
    """`[low, high]` as a tuple of two numbers."""
    return tuple(map(as_number, value)) if isinstance(value, list | tuple) else value


def _rising(value: Any) -> Any:
    if isinstance(value, tuple) and not value[0] < value[1]:
        raise ValueError("the two ends of a window rise: write [low, high]")
    return value


def _bands(value: Any) -> Any:
    return (value,) if type(value) is int else as_tuple(value)


def _counted(value: Any) -> Any:
    if value is not None and (not value or min(value) < 0):
        raise ValueError("name one band or several, counted from 0")
    return value


def alike(targets: Iterable["Target"]) -> None:
    """UserError where networks are fed pictures of several numbers of channels."""
    fed = sorted({channels_fed(target.channels) for target in targets})
    if len(fed) > 1:
        many = " and of ".join(map(str, fed))
        raise UserError(f"pictures of {many} channels; a network takes one number: set channels of all alike")


def channels_fed(channels: Sequence[int] | None) -> int:
    """Channels that networks are fed where a target names these bands: one is shown as grey in three."""
    return len(channels) if channels and len(channels) > 1 else 3


class Target(Strict):
    """A reference `scheme:rest`, alone or with options for its source."""

    ref: str
    """The reference, `scheme:rest`: `folder:images`, `csv:labels.csv`."""
    columns: Columns | None = None
    """Which column of a table is what."""
    images: str | None = None
    """The folder that a table's paths and ids start from, relative to the study file; null for the table's own."""
    uncertain: Annotated[Literal[0, 1, "ignore"] | dict[str, Any] | None, AfterValidator(_readings)] = None
    """What -1 counts as in columns of 0 and 1: one answer for all, or a mapping such as `{Edema: 1}` with 0 for the
    rest; `ignore` leaves such a label of such an image out of loss and scores."""
    blank: Literal[0, "ignore"] | None = None
    """What an empty cell counts as in columns of 0 and 1: 0 (also null: not mentioned), or `ignore` as above; of files
    of arrays `ignore` is for NaN and -1."""
    task: Task | None = None
    """`regression` reads one number or several an image (from the columns of labels, or `y`), `ordinal` reads classes
    that are whole numbers as grades; null for classes and labels."""
    metric: str | None = None
    """What judges networks: `accuracy`, `auc`, `balanced_accuracy`, `macro_f1`, `average_precision`; of grades `kappa`;
    of numbers `r2`, `spearman`, and the errors `rmse` and `mae`, of which lower is better; null for AUC of two classes
    and of labels, accuracy of more classes, `kappa` and `r2`."""
    loss: Literal["mse", "huber"] | None = None
    """Of numbers, what training lowers; null for `mse`."""
    window: Annotated[
        Literal["full", "percentile"] | tuple[Real, Real] | None,
        BeforeValidator(_ends),
        AfterValidator(_rising),
        "`full`",
        "`percentile`",
        "`[low, high]`",
        "`null`",
    ] = None
    """The values of pictures that become 0 and 255: all that their files can hold, 1% and 99% of those found, or two
    numbers; null finds them for pictures of more than 8 bits and leaves others as they are."""
    channels: Annotated[
        tuple[int, ...] | None,
        BeforeValidator(_bands),
        AfterValidator(_counted),
        Also({"type": "integer", "minimum": 0}),
        "whole number",
        "list of whole numbers",
        "`null`",
    ] = None
    """Which bands of pictures, counted from 0, networks are fed, one as grey in three channels; null for the colours
    that their files declare."""
    depth: Literal[8, 16, "float"] = 8
    """Bits a band that pictures are kept with, after the window: 8, or where finer steps matter 16 or `float`, of two
    and four times the size; augmentations that need 8 bits are refused then."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """A reference alone is short for a mapping with nothing else in it."""
        if isinstance(value, str):
            return {"ref": value}
        if not isinstance(value, Mapping | Target):
            raise ValueError("write a reference such as folder:images, or a mapping with ref: and columns:")
        return value

    @model_validator(mode="after")
    def _judged(self) -> Self:
        """What metrics and losses are for is known from the task alone; the rest from the labels, once read."""
        fitting = [name for name, how in METRICS.items() if FITS[self.task].intersection(how.of)]
        if self.metric is not None and self.metric not in METRICS:
            raise ValueError(f"metric: there is no '{self.metric}'; {did_you_mean(self.metric, fitting)}")
        if self.metric is not None and self.metric not in fitting:
            of = f"task: {self.task}" if self.task else "classes and labels"
            raise ValueError(f"metric: '{self.metric}' is not for {of}; write one of {', '.join(fitting)}")
        if self.loss is not None and self.task != "regression":
            raise ValueError(f"loss: '{self.loss}' is for task: regression; remove it")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler.resolve_ref_schema(handler(core)), TEXT]}

    @model_serializer(mode="wrap")
    def _short(self, whole: SerializerFunctionWrapHandler) -> Any:
        usual = {"depth": 8}
        said = {name: value for name, value in whole(self).items() if value is not None and value != usual.get(name)}
        return self.ref if set(said) == {"ref"} else said

    @property
    def gaps(self) -> bool:
        """Whether cells of its labels may be left out of losses and scores."""
        unsure = self.uncertain.values() if isinstance(self.uncertain, Mapping) else (self.uncertain,)
        return IGNORE in (self.blank, *unsure)

    @property
    def options(self) -> dict[str, Any]:
        """What was said besides the reference, as JSON values."""
        said = self.model_dump(mode="json")
        return {} if isinstance(said, str) else {name: value for name, value in said.items() if name != "ref"}

    @property
    def reference(self) -> str:
        """Reference and options as one text."""
        return joined(self.ref, self.options)


def from_folder(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options with a relative folder of images made to start from `folder`."""
    images = options.get("images")
    return {**options, **({"images": paths.from_folder(images, folder)} if images else {})}
