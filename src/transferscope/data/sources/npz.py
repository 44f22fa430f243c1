"""npz:FILE, numpy arrays of one shape: `x` (n, ...) holds the examples, `y` (n,) their classes, numbers or words.

With `task: regression` y holds numbers to predict, (n,) or (n, k); `blank: ignore` leaves NaN and -1 among labels out.

`group` (n,) says what stays on one side of a split, `split` (n,) which one an example belongs to (train, val, test or
empty). Examples are named by their place and read a piece at a time, so that `x` may be larger than memory. Pickled
objects are never opened.
"""

import threading
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from transferscope.data.array_files import InPieces, check_examples, existing, listing_of, rows_at_once, stamp
from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.errors import UserError

PARTS = ("x", "y", "group", "split")
DAMAGE = (ValueError, zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, RuntimeError)
_lock = threading.Lock()  # of the place in a member that is read in pieces

absolute = from_folder


def recognised(path: Path) -> Path | None:
    """A file that ends in .npz."""
    return path if path.suffix.lower() == ".npz" else None


def check(rest: str, task: Any = None, blank: Any = None) -> None:
    """A UserError unless the file is an archive of numpy arrays with `x` and `y`."""
    _names(_file(rest))


def fingerprint(rest: str, memo: Path | None = None, task: Any = None, blank: Any = None) -> str:
    """Digest of the file, and of how its labels are read where that is another way."""
    return files_fingerprint({"": _file(rest)}, memo, [f"blank={blank}"] if blank else ())


def listing(rest: str, task: Any = None, blank: Any = None) -> Listing:
    """The examples in their order; classes are the sorted values of `y`, or the columns of one of 0 and 1 or, with
    `task` regression, of numbers."""
    file = _file(rest)
    names = _names(file)
    x = _member(str(file), "x", stamp(str(file)))
    check_examples(x.shape, x.dtype, file)
    load = InPieces(_rows, str(file), ("x",), rows_at_once(x.shape, x.dtype))
    beside = {name: _whole(str(file), name, stamp(str(file))) for name in names if name in ("group", "split")}
    y = _whole(str(file), "y", stamp(str(file)))
    asked = {"task": task, "blank": blank}
    return listing_of(file, x.shape[0], load, y, beside, named={name: name for name in PARTS}, asked=asked)


@dataclass(frozen=True)
class Member:
    """One array of an archive: its bytes from `begins` on, row after row unless `turned` (Fortran's order)."""

    stream: IO[bytes]
    begins: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    turned: bool


def _rows(file: str, parts: tuple[str, ...], start: int, stop: int) -> np.ndarray:
    """Examples `start` to `stop` of a part; a part in Fortran's order is read whole.

    Whoever reads all of them in their order has the check sum of the archive verified too.
    """
    (part,) = parts
    if start == 0:
        _member.cache_clear()  # a stream that was moved about in may no longer compare check sums
    held = _member(file, part, stamp(file))
    if held.turned:
        return _whole(file, part, stamp(file))[start:stop]
    row, stop = int(np.prod(held.shape[1:])) * held.dtype.itemsize, min(stop, held.shape[0])
    try:
        with _lock:
            if held.stream.tell() != held.begins + start * row:
                held.stream.seek(held.begins + start * row)
            content = held.stream.read((stop - start) * row)
            if stop == held.shape[0]:
                held.stream.read(1)  # the end, where the check sum is compared
        return np.frombuffer(content, held.dtype).reshape(stop - start, *held.shape[1:])
    except DAMAGE as error:
        raise _unreadable(file, part, error) from None


@lru_cache(maxsize=2)
def _member(file: str, part: str, stamp: tuple[int, int]) -> Member:
    """A part that stays open, to go on from where its last piece ended."""
    try:
        archive = zipfile.ZipFile(file)
        stream = archive.open(f"{part}.npy" if f"{part}.npy" in archive.namelist() else part)
        read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        shape, turned, dtype = read(stream)
    except DAMAGE as error:
        raise _unreadable(file, part, error) from None
    if dtype.hasobject:
        raise _unreadable(file, part, ValueError("pickle"))
    return Member(stream, stream.tell(), dtype, shape, turned)


@lru_cache(maxsize=8)
def _whole(file: str, part: str, stamp: tuple[int, int]) -> np.ndarray:
    try:
        with np.load(file, allow_pickle=False) as archive:
            found: np.ndarray = archive[part]
    except DAMAGE as error:
        raise _unreadable(file, part, error) from None
    return found


def _unreadable(file: str, part: str, error: Exception) -> UserError:
    why = "it holds pickled objects, which are never opened" if "pickle" in str(error) else str(error)
    return UserError(f"'{file}': {part} cannot be read ({why}); save plain arrays of numbers.")


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


def _file(rest: str) -> Path:
    return existing(rest, "npz", "an archive written by numpy.savez")
