"""Texts that a spreadsheet would compute as formulas: an apostrophe keeps it from that, and goes when they are read."""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_KEPT = re.compile(r"'+[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def safe(text: str) -> str:
    """`text` as a cell that no spreadsheet computes; numbers, which compute nothing, stay as they are."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain(cell: str) -> str:
    """The text that `safe` made a cell of."""
    return cell[1:] if cell[:1] == "'" and _KEPT.match(cell) else cell
