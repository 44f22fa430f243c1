"""The cells of a text table, whatever program wrote it: encodings, separators, quotes, and what is no table at all."""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transferscope.errors import UserError
from transferscope.spreadsheet import plain

SEPARATORS = ",;\t|"
NOT_TEXT = {
    b"PK\x03\x04": "is a workbook or an archive; save its sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook; save its sheet as CSV",
    b"\x1f\x8b": "is compressed; unpack it",
    b"PAR1": "is a Parquet file; save it as CSV",
    b"version https://git-lfs": "is a pointer of Git LFS, not the table; fetch it with 'git lfs pull'",
    b"<": "is a web page or XML, not a table; download the table itself",
}
MARKS = {  # the bytes a text begins with -> its encoding
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
MOST_COLUMNS = 5_000  # of an image table: each is tried for what it may mean
UNNAMED = "unnamed column "  # and its number, from 1


@dataclass(frozen=True)
class Sheet:
    """A table by column name, rows in the file's order; `lines` are line numbers in the file.

    Cells are stripped, also of an apostrophe that keeps spreadsheets from computing them (see `spreadsheet`).
    Columns without a name are called "unnamed column 1" by their place; `notes` says how the text was read.
    """

    file: Path
    cells: dict[str, list[str]]
    lines: list[int]
    notes: tuple[str, ...] = ()

    def rows(self, kept: list[int]) -> "Sheet":
        """The sheet of some of its rows, in the order given."""
        cells = {name: [column[row] for row in kept] for name, column in self.cells.items()}
        return Sheet(self.file, cells, [self.lines[row] for row in kept], self.notes)


def read(file: Path) -> Sheet:
    """The cells of a file. A UserError says what it is instead, or which line does not fit the header."""
    status = file.stat()
    return _read(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(file: Path, size: int, changed: int) -> Sheet:
    """As `read`; a plan asks for the same table several times, so the last ones are kept as long as the file stays."""
    text, notes = _text(file)
    separator, skipped = _dialect(text)
    rows: list[tuple[list[str], int]] = []
    names: list[str] = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        for cells in reader:
            if reader.line_num <= skipped or not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = _named([plain(cell.strip()) for cell in cells], file)
                continue
            rows.append(
                (_fitted([plain(cell.strip()) for cell in cells], names, reader.line_num, file), reader.line_num)
            )
    except csv.Error as error:
        raise UserError(f"The table '{file}' cannot be read as CSV: {error}.") from None
    columns = zip(*(cells for cells, _ in rows), strict=True) if rows else [()] * len(names)
    by_name = {name: list(column) for name, column in zip(names, columns, strict=True)}
    kept = {name: column for name, column in by_name.items() if not name.startswith(UNNAMED) or any(column)}
    return Sheet(file, kept, [line for _, line in rows], notes)


def _text(file: Path) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and a note where its encoding had to be guessed."""
    content = file.read_bytes()
    for start, what in NOT_TEXT.items():
        if content.lstrip(b" \r\n\t").startswith(start):
            raise UserError(f"The table '{file}' {what}.")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:1000]:
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        if encoding is not None:
            raise UserError(f"The table '{file}' is damaged or not text; save it as CSV with UTF-8 encoding.") from None
        text = content.decode("cp1252", errors="replace")
        return text, (f"'{file.name}' is not UTF-8 and was read as Windows-1252 (Latin-1); look at its accents.",)
    if "\0" in text:
        raise UserError(f"The table '{file}' is not text; save it as CSV with UTF-8 encoding.")
    return text, ()


def _dialect(text: str) -> tuple[str, int]:
    """The separator, and the lines before the header: empty ones, those that begin with #, and Excel's `sep=;`."""
    for number, line in enumerate(io.StringIO(text)):
        if said := re.fullmatch(r"sep=(.)\s*", line):
            return said[1], number + 1
        if line.strip() and not line.startswith("#"):
            bare = re.sub(r'"[^"]*"', "", line)
            return max(SEPARATORS, key=bare.count), number
    return ",", 0


def _named(header: list[str], file: Path) -> list[str]:
    """The header with a name for every column."""
    if len(header) > MOST_COLUMNS:
        raise UserError(
            f"The table '{file}' has {len(header):,} columns, and {MOST_COLUMNS:,} are the most that are read; keep "
            "those of the path, the labels, the group and the split."
        )
    twice = next((name for name, count in Counter(header).items() if name and count > 1), None)
    if twice is not None:
        raise UserError(f"The table '{file}' has the column '{twice}' twice; rename or remove one.")
    return [name or f"{UNNAMED}{place}" for place, name in enumerate(header, 1)]


def _fitted(cells: list[str], names: list[str], line: int, file: Path) -> list[str]:
    """A row as long as the header; empty cells at its end may be there or not where the header has no name either."""
    if len(cells) > len(names) and not any(cells[len(names) :]):
        return cells[: len(names)]
    missing = names[len(cells) :]
    if len(cells) > len(names) or not all(name.startswith(UNNAMED) for name in missing):
        title = "; is the first line a title?" if len(names) == 1 else "."
        raise UserError(f"Line {line} of '{file}' has {len(cells)} cells, its header {len(names)}{title}")
    return cells + [""] * len(missing)
