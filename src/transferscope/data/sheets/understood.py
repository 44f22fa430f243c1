"""A table of images as it is understood: the file, labels, split and group of every row, and what to say of it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.data.absent_classes import decides
from transferscope.data.listing import SPLITS
from transferscope.data.sheets import cells
from transferscope.data.sheets.columns import Roles, listed, patients, roles
from transferscope.data.sheets.given import listed_splits, split_word
from transferscope.data.sheets.located import ImageFolder
from transferscope.data.sheets.sheet import Sheet, read
from transferscope.data.target import Columns
from transferscope.errors import UserError, did_you_mean

READING = 1  # raised when the way of reading changes; a table read as tables always were has none in its fingerprint
LEFT_SHOWN = 12  # columns that are left out and named; of more the number is told
PLAIN = ("path", "label", "split", "group")  # the columns of a table that needs no mapping


@dataclass(frozen=True)
class Understood:
    """A table of images, rows sorted by path and every image once.

    `files`, `splits` and `groups` are one a row; `lists` the lists of splits that were read beside the table;
    `columns_note` says what the columns were taken for, `notes` how the rest was understood; `reading` is all that in a
    fingerprint, empty for a table with columns path, label (or of 0 and 1), split and group whose cells are what these
    names say.
    """

    sheet: Sheet
    roles: Roles
    files: tuple[str, ...]
    read: cells.Read
    splits: tuple[str, ...] | None
    groups: tuple[str, ...] | None
    lists: tuple[Path, ...]
    columns_note: str
    notes: tuple[str, ...]
    reading: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The path of every row as written."""
        return self.sheet.cells[self.roles.path]


def understood(
    file: Path,
    asked: Columns,
    images: str | None = None,
    uncertain: Any = None,
    task: str | None = None,
    blank: Any = None,
    *,
    asks: bool = True,
) -> Understood:
    """The table in `file`, its labels read as by `cells.read`. A UserError where it cannot be read, or may be read in
    two ways (see `columns.roles`)."""
    whole = read(file)
    if not whole.lines:
        raise UserError(f"No image was found in '{file}': the table has no rows below its header.")
    place = ImageFolder(Path(images), parent=False) if images else ImageFolder(file.parent)
    if images and not place.folder.is_dir():
        raise UserError(f"images: the folder '{images}' does not exist; name the one that the paths start from.")
    found = roles(whole, asked, place.finds, asks=asks)
    located = place.located(whole.cells[found.path])
    sheet, files, repeated = _sorted(whole, found, _existing(whole, found.path, located.files, place))
    labels = cells.read(sheet, found.labels, uncertain, task, blank)
    splits, lists = _splits(sheet, found, asked)
    groups = groups_of(sheet, found, asked, splits)
    notes = [*sheet.notes, located.how, *labels.notes]
    rows = "1 row repeats" if repeated == 1 else f"{repeated:,} rows repeat"
    notes += [f"{rows} an image with the same cells: left out."] if repeated else []
    notes += _lists_note(lists, splits)
    other = located.how or repeated or lists or labels.unsure or blank
    plain = not other and _plain(sheet, found, labels.kind) and _chooses(labels, splits)
    how = [READING, found.columns().model_dump(mode="json"), labels.kind, uncertain or 0, *([blank] if blank else [])]
    return Understood(
        sheet,
        found,
        files,
        labels,
        splits,
        groups,
        tuple(lists),
        columns_note(found, asked),
        tuple(note for note in notes if note),
        () if plain else (json.dumps(how, sort_keys=True),),
    )


def _existing(sheet: Sheet, path: str, files: Sequence[str | None], place: ImageFolder) -> list[str]:
    found = [file for file in files if file is not None]
    if len(found) < len(files):
        first = sheet.cells[path][files.index(None)]
        raise UserError(
            f"'{sheet.file}' names {len(files) - len(found)} image(s) that do not exist, the first being '{first}'; "
            f"paths are relative to '{place.folder}' (or set images: to their folder; or is "
            "it a table of texts, whose column columns.text names?)."
        )
    return found


def _sorted(sheet: Sheet, found: Roles, files: list[str]) -> tuple[Sheet, tuple[str, ...], int]:
    """Rows in the order of their paths and every file once, its files, and how many rows said the same again."""
    paths = sheet.cells[found.path]
    order = sorted(range(len(files)), key=lambda row: (paths[row], sheet.lines[row]))
    used = [sheet.cells[name] for name in (*found.labels, found.group, found.split) if name not in (None, found.path)]
    held: dict[str, int] = {}
    kept = []
    for row in order:
        first = held.setdefault(os.path.normpath(files[row]), row)
        if first == row:
            kept.append(row)
        elif any(column[row] != column[first] for column in used):
            early, late = sorted((first, row), key=lambda one: sheet.lines[one])
            raise UserError(
                f"Line {sheet.lines[late]} of '{sheet.file}' lists '{paths[late]}' again with other cells (see line "
                f"{sheet.lines[early]}); keep one of them."
            )
    return sheet.rows(kept), tuple(files[row] for row in kept), len(order) - len(kept)


def _splits(sheet: Sheet, found: Roles, asked: Columns) -> tuple[tuple[str, ...] | None, list[Path]]:
    if found.split is None:
        return (None, []) if asked.without("split") else listed_splits(sheet.cells[found.path], sheet.file.parent)
    return split_words(sheet, found.split), []


def split_words(sheet: Sheet, column: str) -> tuple[str, ...]:
    """The split of every row, by a column of them; '' where it is undecided. UserError for another word."""
    words = []
    for cell, line in zip(sheet.cells[column], sheet.lines, strict=True):
        word = "" if cell.lower() in cells.BLANKS else split_word(cell)
        if word is None:
            hint = did_you_mean(cell, SPLITS)
            raise UserError(f"Line {line} of '{sheet.file}' has the split '{cell}'; write train, val or test: {hint}")
        words.append(word)
    return tuple(words)


def groups_of(sheet: Sheet, found: Roles, asked: Columns, splits: Sequence[str] | None) -> tuple[str, ...] | None:
    """The group of every row, '' for one of its own; None without such a column. UserError for one in two splits."""
    if found.group is None:
        return None
    if found.group == found.path:
        named = patients(sheet.cells[found.path])
        if named is None:
            raise UserError(
                f"columns.group: not every '{found.path}' of '{sheet.file}' names a patient; name a column."
            )
        groups = tuple(named)
    else:
        groups = tuple("" if cell.lower() in ("nan", "<na>") else cell for cell in sheet.cells[found.group])
    held: dict[str, str] = {}
    for group, word in zip(groups, splits or (), strict=False):
        if group and word and held.setdefault(group, word) != word and asked.group is None and found.group != "group":
            raise UserError(
                f"'{group}' of the column '{found.group}' of '{sheet.file}' lies in both '{held[group]}' and '{word}': "
                "give it one split, or say columns.group: null if images of one may lie in both."
            )
    return groups


def _plain(sheet: Sheet, found: Roles, kind: cells.Kind) -> bool:
    """Would the table be read so if its columns path, label, split and group were all that is known?"""
    here = sheet.cells
    marks = tuple(name for name in here if name not in PLAIN)
    labels = ("label",) if kind == "words" else marks if kind == "columns" and "label" not in here else None
    own = [name if name in here else None for name in ("split", "group")]
    return found.path == "path" and found.labels == labels and [found.split, found.group] == own


def _chooses(read: cells.Read, splits: Sequence[str] | None) -> bool:
    """Is the best epoch what it always was? Of three classes and more it was chosen on a val of one of them too."""
    rows = np.flatnonzero(np.array(splits or (), dtype=str) == "val")
    return len(rows) == 0 or read.labels.ndim == 2 or len(read.classes) == 2 or decides(read.labels[rows])


def columns_note(found: Roles, asked: Columns) -> str:
    """What the columns were taken for, unless their names say it and nothing was left out."""
    one = found.labels[0] if len(found.labels) == 1 else None
    taken = {"path": found.path, "label": one, "split": found.split, "group": found.group}
    said = [f"{role} is '{name}'" for role, name in taken.items() if name and name != role]
    if found.group == found.path:
        said[-1] = f"group is the patient that '{found.path}' names"
    if found.group and found.group != "group":
        said[-1] += ", whose images stay on one side of a split"
    if len(found.labels) > 1:
        said.append(f"labels are {listed(found.labels)}")
    shown = [f"{name!r} ({why})" for name, why in list(found.left.items())[:LEFT_SHOWN]]
    more = f" and {len(found.left) - LEFT_SHOWN:,} more" if len(found.left) > LEFT_SHOWN else ""
    left = f"Left out: {'; '.join(shown)}{more}." if shown else ""
    recognised = "" if asked.path and asked.label else ", by their names and cells"
    return " ".join(part for part in (f"Columns{recognised}: {', '.join(said)}." if said else "", left) if part)


def _lists_note(lists: Sequence[Path], splits: Sequence[str] | None) -> list[str]:
    if not lists:
        return []
    undecided = (splits or ()).count("")
    said = f"Splits are those of {' and '.join(file.name for file in lists)} beside the table"
    return [f"{said}; {undecided:,} images are in neither." if undecided else f"{said}."]
