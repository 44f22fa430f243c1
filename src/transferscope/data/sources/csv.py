"""csv:FILE, a table with a row for every image or text: where it lies, its class, what stays on one side of a split.

Columns are those that the target's `columns` names (path, label, group, split), else recognised by names and cells; the
listing's notes say what each was taken for. Paths are absolute or relative to the table's folder (or to `images`),
also without leading folders that are not there, or ids without folder and suffix. One label column holds a class, or
several labels parted by bars; several label columns hold 0 and 1, and are classes where each image carries just one.
`uncertain` says what -1 counts as, `blank` what an empty cell does; with `task: regression` the label columns hold
numbers. Cells of the split are words for train, val and test, or empty (undecided). Any encoding and separator; rows in
any order. With a column of texts (`text`) in the place of paths the table holds texts.
"""

from pathlib import Path
from typing import Any

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.pictures.decode import ImageFiles
from transferscope.data.sheets import texts
from transferscope.data.sheets.columns import known
from transferscope.data.sheets.sheet import read
from transferscope.data.sheets.understood import understood
from transferscope.data.target import Columns
from transferscope.errors import UserError

absolute = from_folder


ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".xls", ".xlsx", ".gz")  # those that are not text say so
BESIDE = "metadata.csv"  # of pictures whose paths are in its column file_name


def recognised(path: Path) -> Path | None:
    """A file with the ending of a table, or a folder of pictures with a metadata.csv."""
    if path.is_dir():
        return table if (table := path / BESIDE).is_file() and _names_files(table) else None
    return path if path.suffix.lower() in ENDINGS else None


def check(
    rest: str,
    columns: Any = None,
    images: str | None = None,
    uncertain: Any = None,
    task: Any = None,
    blank: Any = None,
) -> None:
    """A UserError unless the file exists, is a table, and has the columns that were named."""
    known(read(_file(rest)), _columns(columns, rest))


def fingerprint(
    rest: str,
    memo: Path | None = None,
    columns: Any = None,
    images: str | None = None,
    uncertain: Any = None,
    task: Any = None,
    blank: Any = None,
) -> str:
    """Digest of the table, of every image it names, and of how it was read."""
    if texts.holds(_file(rest), _columns(columns, rest)):
        found = texts.read_texts(_file(rest), _columns(columns, rest), uncertain, task, blank)
        return files_fingerprint({"": _file(rest)}, memo, found.reading)
    seen = understood(_file(rest), _columns(columns, rest), images, uncertain, task, blank)
    files = {f"image {name}": Path(file) for name, file in zip(seen.names, seen.files, strict=True)}
    beside = {file.name: file for file in seen.lists}
    return files_fingerprint({**files, **beside, "": seen.sheet.file}, memo, seen.reading)


def listing(
    rest: str,
    columns: Any = None,
    images: str | None = None,
    uncertain: Any = None,
    task: Any = None,
    blank: Any = None,
) -> Listing:
    """The rows, named by their path as written, or texts by their line; classes are the sorted labels, or the label
    columns in their order."""
    if texts.holds(_file(rest), _columns(columns, rest)):
        return texts.read_texts(_file(rest), _columns(columns, rest), uncertain, task, blank).listing
    seen = understood(_file(rest), _columns(columns, rest), images, uncertain, task, blank)
    return Listing(
        names=tuple(seen.names),
        classes=seen.read.classes,
        labels=seen.read.labels,
        load=ImageFiles(seen.files),
        splits=seen.splits,
        groups=seen.groups,
        notes=tuple(note for note in (seen.columns_note, *seen.notes) if note),
    )


def _columns(columns: Any, rest: str) -> Columns:
    said = Columns.model_validate(columns or {})
    if said.values is not None:
        raise UserError(f"columns.values: it names numbers of arrays, and 'csv:{rest}' lists images; remove it.")
    return said


def _names_files(table: Path) -> bool:
    with table.open("rb") as opened:
        return b"file_name" in opened.readline()


def _file(rest: str) -> Path:
    if not rest:
        raise UserError("The reference 'csv:' names no file; write csv:FILE.")
    file = Path(rest).expanduser().absolute()
    if not file.is_file():
        kind = "is a folder" if file.is_dir() else "is no file" if file.exists() else "does not exist"
        raise UserError(f"The table '{file}' {kind}; give a CSV file with the columns path and label.")
    return file
