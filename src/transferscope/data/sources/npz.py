"""npz:FILE, numpy arrays of one shape: `x` (n, ...) holds the examples, `y` (n,) their classes, numbers or words.

`group` (n,) says what stays on one side of a split, `split` (n,) which one an example belongs to (train, val, test or
empty). Examples are named by their place. Pickled objects are never opened.
"""

import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.errors import UserError

PARTS = ("x", "y", "group", "split")


@dataclass(frozen=True)
class Stored:
    """Array i of the part `x` of a file."""

    file: str

    def __call__(self, index: int) -> np.ndarray:
        found: np.ndarray = _part(self.file, "x")[index]
        return found


def check(rest: str) -> None:
    """A UserError unless the file is an archive of numpy arrays with `x` and `y`."""
    _names(_file(rest))


def absolute(rest: str, folder: Path) -> str:
    """The same reference with a relative path starting from `folder`."""
    return str((folder / Path(rest).expanduser()).absolute())


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the file."""
    return files_fingerprint({"": _file(rest)}, memo)


def listing(rest: str) -> Listing:
    """The examples in their order; classes are the sorted values of `y`, or the columns of one of 0 and 1."""
    file = _file(rest)
    names = _names(file)
    x, y = _part(str(file), "x"), _part(str(file), "y")
    if x.ndim < 2 or x.dtype.kind not in "iuf":
        raise UserError(f"'{file}': x is {x.dtype} of shape {x.shape}; give numbers of shape (examples, ...).")
    for name in names:
        if len(_part(str(file), name)) != len(x):
            raise UserError(
                f"'{file}': {name} has {len(_part(str(file), name))} entries, x has {len(x)}; give one each."
            )
    classes, labels = _classes(y, file)
    width = len(str(max(len(x) - 1, 0)))
    return Listing(
        names=tuple(f"{index:0{width}d}" for index in range(len(x))),
        classes=classes,
        labels=labels,
        load=Stored(str(file)),
        groups=_words(file, "group") if "group" in names else None,
        splits=_words(file, "split") if "split" in names else None,
        holds="arrays",
    )


def _classes(y: np.ndarray, file: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names and labels (n,), or (n, k) where y holds k columns of 0 and 1."""
    if y.ndim == 2 and y.dtype.kind in "iub" and set(np.unique(y)) <= {0, 1}:
        return tuple(str(column) for column in range(y.shape[1])), y.astype(np.uint8)
    if y.ndim != 1 or y.dtype.kind not in "iubUS":
        raise UserError(
            f"'{file}': y is {y.dtype} of shape {y.shape}; give one class an example, as whole numbers or words, or a "
            "column of 0 and 1 for every label."
        )
    values, labels = np.unique(y, return_inverse=True)
    return tuple(_word(value) for value in values), labels.astype(np.int64).reshape(-1)


def _words(file: Path, part: str) -> tuple[str, ...]:
    return tuple(_word(value) for value in _part(str(file), part))


def _word(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _names(file: Path) -> list[str]:
    """The parts that there are. UserError where x or y is not among them, or the file is no archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            found = [name.removesuffix(".npy") for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"'{file}' is no archive of numpy arrays ({error}); write one with numpy.savez(x=..., y=...)."
        ) from None
    if absent := [part for part in PARTS[:2] if part not in found]:
        there = ", ".join(found[:10]) or "nothing"
        raise UserError(
            f"'{file}' has no '{absent[0]}' (it has {there}); write numpy.savez(FILE, x=examples, y=classes)."
        )
    return [part for part in PARTS if part in found]


@lru_cache(maxsize=8)
def _read(file: str, part: str, stamp: tuple[int, int]) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as archive:
            found: np.ndarray = archive[part]
    except (ValueError, zipfile.BadZipFile, OSError, EOFError, KeyError) as error:
        why = "it holds pickled objects, which are never opened" if "pickle" in str(error) else str(error)
        raise UserError(f"'{file}': {part} cannot be read ({why}); save plain arrays of numbers.") from None
    return found


def _part(file: str, part: str) -> np.ndarray:
    state = Path(file).stat()
    return _read(file, part, (state.st_size, state.st_mtime_ns))


def _file(rest: str) -> Path:
    if not rest:
        raise UserError("The reference 'npz:' names no file; write npz:FILE.")
    file = Path(rest).expanduser().absolute()
    if not file.is_file():
        kind = "is no file" if file.exists() else "does not exist"
        raise UserError(f"'{file}' {kind}; give an archive written by numpy.savez.")
    return file
