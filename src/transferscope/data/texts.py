"""Texts as sources load them: files of any encoding that says what it is, or cells of a table; what cannot be read."""

from dataclasses import dataclass
from pathlib import Path

from transferscope.data.sheets.sheet import MARKS

EMPTY = "it is empty"


@dataclass(frozen=True)
class TextFiles:
    """Text i of these files: UTF-8, or what a byte-order mark says, or else `otherwise`, where that is known."""

    files: tuple[str, ...]
    otherwise: str = ""

    def __call__(self, index: int) -> str:
        """Raises OSError for a file that cannot be read, ValueError with the reason for one without a text in it."""
        return decoded(Path(self.files[index]).read_bytes(), self.otherwise)


@dataclass(frozen=True)
class TextCells:
    """Text i of these cells of a table."""

    cells: tuple[str, ...]

    def __call__(self, index: int) -> str:
        """Raises ValueError for an empty one."""
        return sound(self.cells[index])


def decoded(content: bytes, otherwise: str = "") -> str:
    """The text in some bytes. Raises ValueError with the reason where there is none."""
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return sound(content.decode(encoding))
    except UnicodeDecodeError:
        if not otherwise:
            raise ValueError(f"it is no {encoding.upper().removesuffix('-SIG')} text: save it as UTF-8") from None
    return sound(content.decode(otherwise))


def sound(text: str) -> str:
    """The text itself. Raises ValueError with the reason where it is none."""
    if "\0" in text:
        raise ValueError("it is no text: it holds null bytes")
    if not text.strip():
        raise ValueError(EMPTY)
    return text
