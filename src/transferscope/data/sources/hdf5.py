"""hdf5:FILE, an HDF5 file: the dataset `x` (n, ...) holds examples of one shape, `y` (n,) their classes.

`group` (n,) says what stays on one side of a split, `split` (n,) which one an example belongs to (train, val, test or
empty). Where datasets are called otherwise, or lie in groups of the file, `columns` of the target says which is what
(`values` for x, `label` for y: `columns: {values: scans/data, label: scans/diagnosis}`). Examples are named by their
place and read a piece at a time. Needs h5py (`pip install 'transferscope[hdf5]'`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from transferscope import extras
from transferscope.data.array_files import InPieces, check_examples, existing, listing_of, rows_at_once
from transferscope.data.fingerprint import files_fingerprint, text_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.paths import from_folder
from transferscope.data.target import Columns
from transferscope.errors import UserError

USUAL = {"values": "x", "label": "y", "group": "group", "split": "split"}

absolute = from_folder


def recognised(path: Path) -> Path | None:
    """A file that ends in .h5 or .hdf5."""
    return path if path.suffix.lower() in (".h5", ".hdf5") else None


def check(rest: str, columns: Any = None, task: Any = None, blank: Any = None) -> None:
    """A UserError unless h5py is installed and the file holds the datasets of examples and labels."""
    file = _file(rest)
    with _opened(str(file)) as held:
        _named(held, file, columns)


def fingerprint(rest: str, memo: Path | None = None, columns: Any = None, task: Any = None, blank: Any = None) -> str:
    """Digest of the file and of which dataset is what."""
    file = _file(rest)
    with _opened(str(file)) as held:
        named = _named(held, file, columns)
    said = [f"{role}={name}" for role, name in named.items()]
    said += [f"blank={blank}"] if blank else []
    return text_fingerprint([files_fingerprint({"": file}, memo), *said])


def listing(rest: str, columns: Any = None, task: Any = None, blank: Any = None) -> Listing:
    """The examples in their order; classes are the sorted values of `y`, or the columns of one of 0 and 1 or, with
    `task` regression, of numbers."""
    file = _file(rest)
    with _opened(str(file)) as held:
        named = _named(held, file, columns)
        x = held[named["values"]]
        check_examples(x.shape, x.dtype, file, named["values"])
        rows = rows_at_once(x.shape, x.dtype)
        rows = rows if x.chunks is None else -(-rows // x.chunks[0]) * x.chunks[0]  # no chunk is decoded twice
        load = InPieces(_rows, str(file), (named["values"],), rows)
        cells = {role: _cells(held[name]) for role, name in named.items() if role != "values"}
        y = cells.pop("label")
        called = {"x": named["values"], "y": named["label"], **named}
        asked = {"task": task, "blank": blank}
        return listing_of(file, x.shape[0], load, y, cells, named=called, asked=asked)


def _named(held: Any, file: Path, columns: Any) -> dict[str, str]:
    """The dataset of every role: group and split only where there are some. UserError for one that is not there."""
    import h5py

    said = Columns.model_validate(columns or {})
    for role in ("path", "text"):
        if getattr(said, role) is not None:
            raise UserError(f"columns.{role}: '{file}' holds the examples themselves, as numbers; remove it.")
    found: dict[str, str] = {}
    for role, usual in USUAL.items():
        given = getattr(said, role)
        names = (given,) if isinstance(given, str) else given or (usual,)
        if said.without(role) or (not given and role in ("group", "split") and usual not in held):
            continue
        if len(names) > 1:
            raise UserError(f"columns.{role}: one dataset of '{file}' is needed; give one name, not {len(names)}.")
        (name,) = names
        if not isinstance(held.get(name), h5py.Dataset):
            there = ", ".join(_datasets(held)[:10]) or "no dataset"
            raise UserError(f"'{file}' has no dataset '{name}' (it has {there}); name it with columns.{role}.")
        data = held[name]
        if not data.shape:
            raise UserError(f"'{file}': {name} is a single value; give one entry an example.")
        if data.is_virtual or data.external or data.file.filename != held.filename:
            raise UserError(f"'{file}': {name} lies in another file, which may change unnoticed; copy it here.")
        found[role] = name
    return found


def _datasets(held: Any) -> list[str]:
    import h5py

    found: list[str] = []
    held.visititems(lambda name, thing: found.append(name) if isinstance(thing, h5py.Dataset) else None)
    return found


def _cells(data: Any) -> np.ndarray:
    import h5py

    if h5py.check_string_dtype(data.dtype) is not None:
        return np.array(data.asstr(errors="replace")[...].tolist(), dtype=np.str_)
    return np.asarray(data[...])


def _rows(file: str, parts: tuple[str, ...], start: int, stop: int) -> np.ndarray:
    """Examples `start` to `stop` of a dataset."""
    (name,) = parts
    with _opened(file) as held:
        return np.asarray(held[name][start:stop])


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """The file, for reading. UserError for one that is none, or damaged, or packed by a filter that is not there."""
    h5py: Any = extras.load("h5py", "hdf5", f"'{file}'")

    try:
        with h5py.File(file, "r") as held:
            yield held
    except (OSError, RuntimeError, KeyError) as error:
        why = (str(error).splitlines() or [""])[0].rstrip(".")
        raise UserError(f"'{file}' cannot be read as an HDF5 file ({why}); write it again with h5py.") from None


def _file(rest: str) -> Path:
    return existing(rest, "hdf5", "an HDF5 file with the datasets x and y")
