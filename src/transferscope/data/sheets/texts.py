"""A table with a column of texts: the text, label, split and group of every row, in the order of its lines."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferscope import input_nouns
from transferscope.data.listing import Listing
from transferscope.data.sheets import cells, headings
from transferscope.data.sheets.columns import Roles, known, roles
from transferscope.data.sheets.located import ImageFolder
from transferscope.data.sheets.sheet import read
from transferscope.data.sheets.understood import columns_note, groups_of, split_words
from transferscope.data.target import Columns
from transferscope.data.texts import TextCells
from transferscope.errors import UserError

READING = 1  # raised when the way of reading changes
TEXTS = ("text", "texts")  # names of a column of texts that need not be said
FILES = headings.PATHS[: headings.PATHS.index("name")]  # names of a column of images, whether they are there or not
LONGEST = 256  # characters of a cell that may still be the name of an image


@dataclass(frozen=True)
class Texts:
    """The texts of a table; `reading` is all that in a fingerprint, `roles` what the columns were taken for."""

    listing: Listing
    roles: Roles
    reading: tuple[str, ...]


def holds(file: Path, asked: Columns) -> bool:
    """Whether a table is one of texts: a column of them is named, or there is one of that name and none of images."""
    if asked.text is not None or asked.path is not None:
        return asked.text is not None
    sheet = read(file)
    if _text(list(sheet.cells)) is None or any(headings.plain(name) in FILES for name in sheet.cells):
        return False
    finds = ImageFolder(file.parent).finds
    short = [column for column in sheet.cells.values() if max(map(len, column), default=0) < LONGEST]
    return not any(finds(column) for column in short)


def read_texts(
    file: Path,
    asked: Columns,
    uncertain: Any = None,
    task: str | None = None,
    blank: Any = None,
    *,
    asks: bool = True,
) -> Texts:
    """The table in `file`, its labels read as by `cells.read`. A UserError where it cannot be read, or may be read in
    two ways (see `columns.roles`)."""
    sheet = read(file)
    if not sheet.lines:
        raise UserError(f"No text was found in '{file}': the table has no rows below its header.")
    if asked.text is not None and asked.path is not None:
        raise UserError("columns: a table holds images by their path, or texts; name one of the two.")
    known(sheet, asked)
    column = asked.text or _text(list(sheet.cells))
    given = {name: getattr(asked, name) for name in asked.model_fields_set if name != "text"}
    try:
        found = roles(sheet, Columns(**{**given, "path": column}), lambda _: False, asks=asks)
        labels = cells.read(sheet, found.labels, uncertain, task, blank)
        splits = None if found.split is None else split_words(sheet, found.split)
        groups = groups_of(sheet, found, asked, splits)
    except UserError as error:
        raise type(error)(input_nouns.of_texts(str(error))) from None
    width = len(str(max(sheet.lines)))
    how = [READING, found.columns().model_dump(mode="json"), labels.kind, uncertain or 0, *([blank] if blank else [])]
    said = (*sheet.notes, columns_note(found, asked).replace("path is", "text is"), *labels.notes)
    return Texts(
        Listing(
            names=tuple(f"line {line:0{width}d}" for line in sheet.lines),
            classes=labels.classes,
            labels=labels.labels,
            load=TextCells(tuple(sheet.cells[found.path])),
            splits=splits,
            groups=groups,
            notes=tuple(input_nouns.of_texts(note) for note in said if note),
            holds="texts",
        ),
        found,
        ("texts", json.dumps(how, sort_keys=True)),
    )


def _text(names: list[str]) -> str | None:
    """The column that is called so."""
    return next((name for word in TEXTS for name in names if headings.plain(name) == word), None)
