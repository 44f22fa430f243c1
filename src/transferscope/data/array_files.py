"""Files of arrays: examples that are read a piece at a time, and the classes, groups and splits beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from transferscope.answers import MISSING
from transferscope.data.listing import Listing, Measured
from transferscope.data.target import IGNORE
from transferscope.errors import UserError

PIECE = 1 << 24  # bytes of examples that are read at once
Read = Callable[[str, tuple[str, ...], int, int], np.ndarray]


@dataclass(frozen=True)
class InPieces:
    """The loader of a file of arrays: example i, read with `rows` of its neighbours, of which the last ones are kept.

    `read(file, parts, start, stop)` gives examples `start` to `stop` (fewer at the end) as (n, ...). It is a function
    of a module, so that the loader can be sent to other processes.
    """

    read: Read
    file: str
    parts: tuple[str, ...]
    rows: int

    def __call__(self, index: int) -> np.ndarray:
        start = index - index % self.rows
        found: np.ndarray = _piece(self, start, stamp(self.file))[index - start]
        return found


@lru_cache(maxsize=1)
def _piece(of: InPieces, start: int, stamp: tuple[int, int]) -> np.ndarray:
    return of.read(of.file, of.parts, start, start + of.rows)


def stamp(file: str) -> tuple[int, int]:
    """What changes with a file: its size and when it was written."""
    state = Path(file).stat()
    return state.st_size, state.st_mtime_ns


def rows_at_once(shape: tuple[int, ...], dtype: np.dtype[Any], most: int = PIECE) -> int:
    """How many examples of a part (n, ...) take about `most` bytes; one at least."""
    return max(1, most // max(1, int(np.prod(shape[1:])) * dtype.itemsize))


def check_examples(shape: tuple[int, ...], dtype: np.dtype[Any], file: Path, name: str = "x") -> None:
    """UserError unless a part is numbers of shape (examples, ...)."""
    if len(shape) < 2 or dtype.kind not in "iuf":
        raise UserError(f"'{file}': {name} is {dtype} of shape {shape}; give numbers of shape (examples, ...).")


def listing_of(
    file: Path,
    count: int,
    load: InPieces,
    y: np.ndarray,
    beside: Mapping[str, np.ndarray],
    *,
    named: Mapping[str, str],
    classes: Sequence[str] = (),
    asked: Mapping[str, Any] = MappingProxyType({}),
) -> Listing:
    """The `count` examples of a file in their order, named by their place.

    `y` are their classes as in `classes_of`, or numbers where the `task` that is `asked` for is regression; `beside`
    may hold a "group" and a "split" (n,). `named` says what the parts x, y, group and split are called in the file.
    UserError for parts of unequal length.
    """
    for role, part in {"y": y, **beside}.items():
        if len(part) != count:
            raise UserError(
                f"'{file}': {named[role]} has {len(part)} entries, {named['x']} has {count}; give one each."
            )
    if asked.get("task") == "regression":
        found, labels = numbers_of(y, file, named["y"], classes)
    else:
        found, labels = classes_of(y, file, named["y"], classes, asked.get("blank") == IGNORE)
    width = len(str(max(count - 1, 0)))
    words = {role: tuple(_word(value) for value in part) for role, part in beside.items()}
    return Listing(
        names=tuple(f"{index:0{width}d}" for index in range(count)),
        classes=found,
        labels=labels,
        load=load,
        groups=words.get("group"),
        splits=words.get("split"),
        holds="arrays",
    )


def classes_of(
    y: np.ndarray, file: Path, name: str = "y", columns: Sequence[str] = (), ignore: bool = False
) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and labels (n,), or (n, k) where y holds k columns of 0 and 1, called as `columns` says.

    With `ignore` NaN and -1 are labels that are not known.
    """
    if y.ndim == 2 and y.dtype.kind in ("iubf" if ignore else "iub"):
        unknown = (np.isnan(y) if y.dtype.kind == "f" else y == MISSING) | (y == MISSING)
        strange = y[(y != 0) & (y != 1) & ~(unknown & ignore)]
        if not len(strange):
            names = tuple(columns or map(str, range(y.shape[1])))
            if not unknown.any():
                return names, y.astype(np.uint8)
            return names, np.where(unknown, MISSING, y).astype(np.int8)
        rule = "" if ignore else " (blank: ignore takes NaN and -1 for labels that are not known)"
        raise UserError(
            f"'{file}': {name} holds {strange[0]} among labels of 0 and 1; write 0 or 1 for every label{rule}."
        )
    if y.ndim != 1 or y.dtype.kind not in "iubUS":
        floats = y.dtype.kind == "f" and y.ndim in (1, 2)
        marks = floats and bool((np.isnan(y) | np.isin(y, (0, 1, MISSING))).all())
        rule = "; numbers to predict need task: regression" if floats else ""
        if marks and y.ndim == 2:
            rule = "; blank: ignore takes NaN and -1 for labels that are not known"
        raise (Measured if floats and not marks else UserError)(
            f"'{file}': {name} is {y.dtype} of shape {y.shape}; give one class an example, as whole numbers or words, "
            f"or a column of 0 and 1 for every label{rule}."
        )
    values, labels = np.unique(y, return_inverse=True)
    return tuple(_word(value) for value in values), labels.astype(np.int64).reshape(-1)


def numbers_of(
    y: np.ndarray, file: Path, name: str = "y", columns: Sequence[str] = ()
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of numbers to predict and the numbers themselves, float64 (n, k); y is (n,) or (n, k)."""
    if y.ndim not in (1, 2) or y.dtype.kind not in "iuf" or 0 in y.shape[1:]:
        raise UserError(
            f"'{file}': {name} is {y.dtype} of shape {y.shape}; task: regression needs one number an example, or "
            "several, of shape (examples, numbers)."
        )
    numbers = y.reshape(len(y), -1).astype(np.float64)
    names = tuple(columns) or ((name,) if numbers.shape[1] == 1 else tuple(map(str, range(numbers.shape[1]))))
    return names, numbers


def _word(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def existing(rest: str, scheme: str, written: str) -> Path:
    """The absolute path of the file of a reference; UserError where there is none, `written` says what to give."""
    if not rest:
        raise UserError(f"The reference '{scheme}:' names no file; write {scheme}:FILE.")
    file = Path(rest).expanduser().absolute()
    if not file.is_file():
        kind = "is no file" if file.exists() else "does not exist"
        raise UserError(f"'{file}' {kind}; give {written}.")
    return file
