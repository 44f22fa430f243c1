"""csv:FILE, a table with columns path and label (or several 0/1 label columns), optionally split and group.

Paths are absolute or relative to the table's folder. Without a `label` column every column other than path, split and
group is one label of a multi-label task, its cells 0 or 1. `split` cells are train, val, test or empty (undecided);
`group` cells name what must stay on one side of a split, such as the patient. The separator is the comma, semicolon or
tab, whichever the header uses most. Rows may come in any order.
"""

import csv
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from transferscope.data.decode import ImageFiles
from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import SPLITS, Listing
from transferscope.errors import UserError, did_you_mean

RESERVED = ("path", "label", "split", "group")


@dataclass(frozen=True)
class Sheet:
    """The cells of a table by column name, rows sorted by path; `lines` are line numbers in the file."""

    file: Path
    cells: dict[str, list[str]]
    lines: list[int]

    def files(self) -> dict[str, Path]:
        """Path as written -> path on disk."""
        return {name: self.file.parent / Path(name).expanduser() for name in self.cells["path"]}


def check(rest: str) -> None:
    """A UserError unless the file exists and its header has the columns."""
    _header(_file(rest))


def absolute(rest: str, folder: Path) -> str:
    """The same reference with a relative path starting from `folder`."""
    return str((folder / Path(rest).expanduser()).absolute())


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the table and of every image it names."""
    sheet = _existing(_read(_file(rest)))
    return files_fingerprint({**{f"image {name}": file for name, file in sheet.files().items()}, "": sheet.file}, memo)


def listing(rest: str) -> Listing:
    """The rows, named by their path as written; classes are the sorted labels, or the label columns in their order."""
    sheet = _existing(_read(_file(rest)))
    classes, labels = _labels(sheet)
    return Listing(
        names=tuple(sheet.cells["path"]),
        classes=classes,
        labels=labels,
        load=ImageFiles(tuple(str(file) for file in sheet.files().values())),
        splits=_splits(sheet),
        groups=tuple(sheet.cells["group"]) if "group" in sheet.cells else None,
    )


def _file(rest: str) -> Path:
    if not rest:
        raise UserError("The reference 'csv:' names no file; write csv:FILE.")
    file = Path(rest).expanduser().absolute()
    if not file.is_file():
        kind = "is a folder" if file.is_dir() else "does not exist"
        raise UserError(f"The table '{file}' {kind}; give a CSV file with the columns path and label.")
    return file


def _header(file: Path) -> tuple[list[str], str]:
    """Column names and separator."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            first = lines.readline()
    except UnicodeDecodeError:
        raise UserError(f"The table '{file}' is not UTF-8 text; save it as CSV with UTF-8 encoding.") from None
    separator = max(",;\t", key=first.count)
    columns = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    if "path" not in columns:
        raise UserError(f"The table '{file}' has no column 'path'; {did_you_mean('path', columns)}")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"The table '{file}' has the column '{twice}' twice; rename or remove one.")
    if "label" not in columns and len([name for name in columns if name not in RESERVED]) < 2:
        raise UserError(f"The table '{file}' has no column 'label' (nor several columns of 0 and 1); add one.")
    return columns, separator


def _read(file: Path) -> Sheet:
    columns, separator = _header(file)
    rows: list[tuple[list[str], int]] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, delimiter=separator)
            next(reader)
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(columns):
                    raise UserError(
                        f"Line {reader.line_num} of '{file}' has {len(cells)} cells, its header {len(columns)}."
                    )
                rows.append(([cell.strip() for cell in cells], reader.line_num))
    except UnicodeDecodeError:
        raise UserError(f"The table '{file}' is not UTF-8 text; save it as CSV with UTF-8 encoding.") from None
    except csv.Error as error:
        raise UserError(f"The table '{file}' cannot be read as CSV: {error}.") from None
    at = columns.index("path")
    rows.sort(key=lambda row: (row[0][at], row[1]))
    for (one, line), (other, later) in pairwise(rows):
        if one[at] == other[at]:
            raise UserError(f"Line {later} of '{file}' lists '{one[at]}' again (see line {line}); keep one of them.")
    by_column = {name: [row[column] for row, _ in rows] for column, name in enumerate(columns)}
    return Sheet(file, by_column, [line for _, line in rows])


def _existing(sheet: Sheet) -> Sheet:
    missing = [name for name, file in sheet.files().items() if not name or not os.path.isfile(file)]  # noqa: PTH113
    if missing:
        raise UserError(
            f"'{sheet.file}' names {len(missing)} image(s) that do not exist, the first being '{missing[0]}'; "
            f"paths are relative to '{sheet.file.parent}'."
        )
    return sheet


def _labels(sheet: Sheet) -> tuple[tuple[str, ...], np.ndarray]:
    if "label" in sheet.cells:
        words = sheet.cells["label"]
        if "" in words:
            raise UserError(f"Line {sheet.lines[words.index('')]} of '{sheet.file}' has an empty label; fill it in.")
        classes = tuple(sorted(set(words)))
        index = {name: i for i, name in enumerate(classes)}
        return classes, np.array([index[word] for word in words], dtype=np.int64)
    classes = tuple(name for name in sheet.cells if name not in RESERVED)
    for name in classes:
        for word, line in zip(sheet.cells[name], sheet.lines, strict=True):
            if word not in ("0", "1"):
                raise UserError(f"Line {line} of '{sheet.file}' has '{word}' in column '{name}'; write 0 or 1.")
    columns = [np.array(sheet.cells[name], dtype=np.uint8) for name in classes]
    return classes, np.stack(columns, axis=1)


def _splits(sheet: Sheet) -> tuple[str, ...] | None:
    if "split" not in sheet.cells:
        return None
    for word, line in zip(sheet.cells["split"], sheet.lines, strict=True):
        if word and word not in SPLITS:
            hint = did_you_mean(word, SPLITS)
            raise UserError(f"Line {line} of '{sheet.file}' has the split '{word}'; write train, val or test: {hint}")
    return tuple(sheet.cells["split"])
