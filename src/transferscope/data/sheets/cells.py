"""How the cells of label columns are read: one class or several in a cell, or a column of 0 and 1 for every label."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from transferscope.answers import MISSING
from transferscope.data.listing import Measured
from transferscope.data.sheets.numbers import MANY, measures, number, numbers_of
from transferscope.data.sheets.sheet import Sheet
from transferscope.data.target import IGNORE
from transferscope.errors import UserError, did_you_mean

BLANKS = frozenset(("", "nan", "na", "n/a", "<na>", "null", "none"))
MARKS = {  # what a cell says of a label, besides the numbers 1, 0 and -1 and a blank
    **dict.fromkeys(("true", "t", "yes", "y", "positive", "pos", "present"), "1"),
    **dict.fromkeys(("false", "f", "no", "n", "negative", "neg", "absent"), "0"),
    "uncertain": "-1",
}
NOTHING = frozenset(("no finding", "no findings", "no_finding", "nofinding"))  # of a cell that may hold several labels

Kind = Literal["words", "several", "columns", "one-hot", "numbers"]


@dataclass(frozen=True)
class Read:
    """Classes and labels as in `Listing`, how they were found, the sentences that say so, and the cells of -1."""

    classes: tuple[str, ...]
    labels: np.ndarray
    kind: Kind
    notes: tuple[str, ...] = ()
    unsure: int = 0


def read(
    sheet: Sheet, columns: Sequence[str], uncertain: Any = None, task: str | None = None, blank: Any = None
) -> Read:
    """The labels of one column of words, or of several of 0 and 1. `uncertain`: what -1 counts as (0 unless said),
    `blank`: what an empty cell does, both as a target says it. With the `task` regression the columns hold numbers.

    One column is of 0 and 1 too, and these its classes, where it is said what -1 counts as. UserError for an empty cell
    where there is one class or number an image, for numbers that measure instead of naming, and for what is neither 0
    nor 1.
    """
    if task == "regression":
        return Read(tuple(columns), numbers_of(sheet, columns), "numbers")
    if len(columns) == 1 and IGNORE in (uncertain, blank):
        raise UserError(f"'{IGNORE}' is for several columns of 0 and 1; leave rows without a '{columns[0]}' out.")
    if len(columns) == 1 and uncertain is None:
        return _words(sheet, columns[0])
    return _marks(sheet, columns, uncertain or 0, blank == IGNORE)


def is_binary(column: Sequence[str]) -> bool:
    """Does a column say of every row yes, no or nothing?"""
    found = {mark(cell) for cell in set(column)}
    return None not in found and not found.isdisjoint(("0", "1"))


def almost_binary(column: Sequence[str]) -> bool:
    """Is a column one of 0 and 1 but for a few cells?"""
    counts = {cell: n for cell, n in Counter(column).items() if mark(cell) != ""}
    marks = sum(n for cell, n in counts.items() if mark(cell))
    return bool(counts) and marks >= 0.8 * sum(counts.values()) and not is_binary(column)


def odd(column: Sequence[str]) -> tuple[int, str]:
    """The first cell of a column that says neither yes nor no, and its row."""
    return next((row, cell) for row, cell in enumerate(column) if mark(cell) is None)


def mark(cell: str) -> str | None:
    """What a cell says of a label: "1", "0", "-1" (uncertain), "" (nothing), or None for anything else."""
    if cell.lower() in BLANKS:
        return ""
    found = number(cell)
    return f"{found:.0f}".replace("-0", "0") if found in (1, 0, -1) else MARKS.get(cell.lower())


def numeric(column: Sequence[str]) -> bool:
    """Is everything in a column that is not blank a number?"""
    found = [cell for cell in set(column) if cell.lower() not in BLANKS]
    return bool(found) and all(number(cell) is not None for cell in found)


# -- one column of words ---------------------------------------------------------------------------------------------


def _words(sheet: Sheet, name: str) -> Read:
    column = sheet.cells[name]
    pieces, how = _pieces(column)
    if pieces is not None:
        return _several(name, column, pieces, how)
    blank = next((row for row, cell in enumerate(column) if cell.lower() in ("", "nan")), None)
    if blank is not None:
        called = "label" if name == "label" else f"cell in the label column '{name}'"
        rule = ", or say uncertain: 0 to count what is blank as 0" if is_binary(column) else ""
        raise UserError(f"Line {sheet.lines[blank]} of '{sheet.file}' has an empty {called}; fill it in{rule}.")
    classes = tuple(sorted(set(column)))
    _refuse_measurements(sheet, name, classes)
    index = {word: place for place, word in enumerate(classes)}
    labels = np.array([index[word] for word in column], dtype=np.int64)
    return Read(classes, labels, "words", tuple(_doubts(name, column, classes)))


def _doubts(name: str, column: Sequence[str], classes: Sequence[str]) -> list[str]:
    found = []
    if "-1" in classes or "-1.0" in classes:
        count = sum(cell in ("-1", "-1.0") for cell in column)
        found.append(f"-1 is a class of {count:,} images in '{name}'; if it marks those without a label, remove them.")
    for separator in ";,":
        joined = [
            word
            for word in classes
            if any(piece.strip() in classes for piece in word.split(separator) if piece != word)
        ]
        if joined:
            found.append(f"{joined[0]!r} in '{name}' is a class of its own: not every part of such cells stands alone.")
    lower = Counter(word.lower() for word in classes)
    if twice := sorted(word for word in classes if lower[word.lower()] > 1):
        found.append(f"The classes {', '.join(map(repr, twice[:4]))} of '{name}' differ in capitals only.")
    return found


def _refuse_measurements(sheet: Sheet, name: str, classes: Sequence[str]) -> None:
    """A UserError for numbers or texts that are nearly all different, and for numbers that measure."""
    rows, distinct = len(sheet.lines), len(classes)
    if numbers := all(number(word) is not None for word in classes):
        if not measures(classes, rows):
            return
    elif distinct <= max(MANY, rows / 2):
        return
    what = "different numbers" if numbers else "different texts"
    rule = ", or predict them with task: regression" if numbers else ""
    raise (Measured if numbers else UserError)(
        f"Column '{name}' of '{sheet.file}' holds {distinct:,} {what} in {rows:,} rows ('{classes[0]}', "
        f"'{classes[1]}', ...): these are no classes; group them into a few, or set columns.label to another "
        f"column{rule}."
    )


# -- several labels in a cell ----------------------------------------------------------------------------------------


def _pieces(column: Sequence[str]) -> tuple[dict[str, list[str]] | None, str]:
    """The labels of every distinct cell and what parts them; None where a cell is one class.

    A bar always parts. A semicolon, comma or blank does where every piece of every such cell also stands alone in one;
    a blank between whole numbers always. ['a', 'b'] is a list.
    """
    distinct = set(column)
    found = {cell for cell in distinct if cell.lower() not in BLANKS | NOTHING}
    if found and all(cell.startswith("[") and cell.endswith("]") for cell in found):
        return {cell: _parted(cell.strip("[]").replace("'", "").replace('"', ""), ",") for cell in distinct}, "commas"
    if any("|" in cell for cell in found):
        return {cell: _parted(cell, "|") for cell in distinct}, "bars"
    for separator, how in ((";", "semicolons"), (",", "commas"), (" ", "blanks")):
        together = {cell: _parted(cell, separator) for cell in found}
        joined = {piece for pieces in together.values() if len(pieces) > 1 for piece in pieces}
        alone = {pieces[0] for pieces in together.values() if len(pieces) == 1}
        if joined and (joined <= alone or (separator == " " and all(piece.isdecimal() for piece in joined | alone))):
            return {cell: _parted(cell, separator) for cell in distinct}, how
    return None, ""


def _parted(cell: str, separator: str) -> list[str]:
    if cell.lower() in BLANKS | NOTHING:
        return []
    return [piece for part in cell.split(separator) if (piece := part.strip()) and piece.lower() not in NOTHING]


def _several(name: str, column: Sequence[str], pieces: Mapping[str, Sequence[str]], how: str) -> Read:
    classes = tuple(sorted({piece for of in pieces.values() for piece in of}))
    index = {piece: place for place, piece in enumerate(classes)}
    labels = np.zeros((len(column), len(classes)), dtype=np.uint8)
    for row, cell in enumerate(column):
        labels[row, [index[piece] for piece in pieces[cell]]] = 1
    none = int((labels.sum(axis=1) == 0).sum())
    words = sorted({repr(cell) if cell else "an empty cell" for cell in pieces if not pieces[cell]})
    note = f"Cells of '{name}' hold several labels, parted by {how}: {len(classes)} labels in all"
    note += f"; {none:,} images carry none of them ({', '.join(words)})." if none else "."
    return Read(classes, labels, "several", (note,))


# -- columns of 0 and 1 ----------------------------------------------------------------------------------------------


def _marks(sheet: Sheet, columns: Sequence[str], uncertain: Any, ignore: bool = False) -> Read:
    """`uncertain` as in `read`; where blank cells are to `ignore`, labels of them and others to ignore are -1."""
    strange = [name for name in uncertain if name not in columns] if isinstance(uncertain, Mapping) else []
    if strange:
        raise UserError(
            f"uncertain: '{strange[0]}' is no label of '{sheet.file}'; {did_you_mean(strange[0], list(columns))}"
        )
    code = {"0": 0, "1": 1, "": 2, "-1": 3}
    read = []
    for name in columns:
        marks = {cell: mark(cell) for cell in set(sheet.cells[name])}
        read.append(np.array([code.get(marks[cell] or "", 2) for cell in sheet.cells[name]], dtype=np.uint8))
        if None in marks.values():
            row, cell = odd(sheet.cells[name])
            raise UserError(f"Line {sheet.lines[row]} of '{sheet.file}' has '{cell}' in column '{name}'; write 0 or 1.")
    cells = np.stack(read, axis=1)
    blank, unsure = (cells == 2).sum(axis=0), (cells == 3).sum(axis=0)
    counts = [uncertain.get(name, 0) if isinstance(uncertain, Mapping) else uncertain for name in columns]
    as_one, left = np.array([how == 1 for how in counts]), np.array([how == IGNORE for how in counts])
    labels = ((cells == 1) | ((cells == 3) & as_one)).astype(np.uint8)
    missing = ((cells == 2) & ignore) | ((cells == 3) & left)
    notes = _rules(columns, blank * (not ignore), unsure * ~left, as_one)
    if missing.any():
        labels = np.where(missing, MISSING, labels).astype(np.int8)
    if len(columns) == 1:
        return Read(("0", "1"), labels[:, 0].astype(np.int64), "columns", tuple(notes), int(unsure.sum()))
    there = (labels == 1).any(axis=0)
    seen = [place for place, one in enumerate(there) if one or not there.any()]
    if len(seen) < len(columns):
        unseen = [name for place, name in enumerate(columns) if place not in seen]
        notes.append(f"No image carries {', '.join(map(repr, unseen))}: left out.")
    classes, labels = tuple(columns[place] for place in seen), labels[:, seen]
    if len(classes) > 1 and not unsure.any() and not missing.any() and (labels.sum(axis=1) == 1).all():
        notes.append(f"Every image carries exactly one of the {len(classes)} label columns: read as that many classes.")
        return Read(classes, labels.argmax(axis=1).astype(np.int64), "one-hot", tuple(notes))
    return Read(classes, labels, "columns", tuple(notes), int(unsure.sum()))


def _rules(columns: Sequence[str], blank: np.ndarray, unsure: np.ndarray, as_one: np.ndarray) -> list[str]:
    """Sentences about blank and uncertain cells, where there are any."""
    notes = []
    if blank.any():
        notes.append(f"{int(blank.sum()):,} blank cells of the label columns count as 0 (not mentioned).")
    if unsure.any():
        ones = [f"'{name}'" for name, one, count in zip(columns, as_one, unsure, strict=True) if one and count]
        how = "1" if len(ones) == np.count_nonzero(unsure) else f"1 for {', '.join(ones)}, else 0" if ones else "0"
        notes.append(
            f"{int(unsure.sum()):,} uncertain cells (-1) count as {how}; 'uncertain:' of the target says otherwise."
        )
    return notes
