"""Columns of numbers in a table: which measure something instead of naming a class, and the numbers to predict."""

import math
from collections.abc import Sequence

import numpy as np

from transferscope.data.sheets.sheet import Sheet
from transferscope.errors import UserError

MANY = 20  # distinct numbers beyond which they are a measurement, unless they count the classes


def number(cell: str) -> float | None:
    """What a cell holds, where it is a number."""
    try:
        return float(cell)
    except ValueError:
        return None


def measures(different: Sequence[str], rows: int) -> bool:
    """Are the `different` cells of so many rows numbers that measure, rather than ones that name or count classes?"""
    found = sorted(value for value in map(number, different) if value is not None)
    if len(found) < len(different) or not all(map(math.isfinite, found)):
        return False
    broken = any(value != int(value) for value in found)
    counting = found[0] in (0, 1) and found[-1] - found[0] == len(found) - 1 and not broken
    few = len(found) <= (MANY // 2 if broken else MANY)
    return not few and not (counting and len(found) <= rows / 2)


def numbers_of(sheet: Sheet, columns: Sequence[str]) -> np.ndarray:
    """Columns of numbers to predict, float64 (n, k). UserError for a cell that is no finite number."""
    found = np.empty((len(sheet.lines), len(columns)))
    for place, name in enumerate(columns):
        for row, cell in enumerate(sheet.cells[name]):
            value = number(cell)
            if value is None or not math.isfinite(value):
                said = f"'{cell}'" if cell else "an empty cell"
                raise UserError(
                    f"Line {sheet.lines[row]} of '{sheet.file}' has {said} in column '{name}', and task: regression "
                    "reads numbers; fill it in or leave the row out."
                )
            found[row, place] = value
    return found
