"""The files of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), pickles of Python that are read without running what is in
them: of all classes only numpy's arrays are made, and anything else is refused."""

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.errors import UserError

SIDE = 32
MOST = 250_000_000  # bytes of a file: the largest that is published has 155 million
_RECONSTRUCT = np.zeros(0).__reduce__()[0]  # how numpy itself makes an array of a pickle


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for readers of protocol 2; no other codec is looked up."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the codec {encoding}")
    return text.encode("latin1")


ALLOWED: Mapping[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _RECONSTRUCT for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


class _Arrays(pickle.Unpickler):
    """An unpickler that knows nothing but `ALLOWED`."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]


@dataclass(frozen=True)
class Published:
    """How a set lies on disk: its folder, the files of both splits, the keys of labels and of their names, and the MD5
    of every file as it was published."""

    scheme: str
    folder: str
    parts: Mapping[str, Sequence[str]]
    labels: str
    meta: str
    names: str
    md5: Mapping[str, str]


@dataclass(frozen=True)
class Pixels:
    """Image `places[i]` = (file, row) of a set, whose files every process opens for itself."""

    places: tuple[tuple[str, int], ...]

    def __call__(self, index: int) -> Image.Image:
        file, row = self.places[index]
        planes = _batch(file, Path(file).stat().st_mtime_ns)["data"][row].reshape(3, SIDE, SIDE)
        return Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))


def load(file: Path) -> dict[str, Any]:
    """The dictionary in a file. UserError where it is none, or holds anything but arrays, texts and numbers."""
    if not file.is_file():
        raise UserError(f"There is no '{file}'; unpack the archive of the Python version there.")
    if file.stat().st_size > MOST:
        raise UserError(f"'{file}' is larger than any file of CIFAR; unpack the archive of the Python version anew.")
    try:
        found = _Arrays(io.BytesIO(file.read_bytes()), encoding="latin1").load()
        if not isinstance(found, dict):
            raise TypeError(f"it holds {type(found).__name__}")
    except Exception as error:  # a damaged pickle raises nearly anything
        why = str(error) or type(error).__name__
        raise UserError(
            f"'{file}' is no file of CIFAR ({why}); unpack the archive of the Python version anew."
        ) from None
    return found


@lru_cache(maxsize=8)
def _batch(file: str, changed: int) -> dict[str, Any]:
    """`load` of one file as it was when it `changed` last, kept while its images are decoded."""
    return load(Path(file))


def place(kind: Published, rest: str) -> Path:
    """The folder of the files. UserError where it is not in ROOT."""
    if not rest:
        raise UserError(f"The reference '{kind.scheme}:' names no folder; write {kind.scheme}:ROOT.")
    root = Path(rest).expanduser().absolute()
    found = root if root.name == kind.folder else root / kind.folder
    if not found.is_dir():
        raise UserError(
            f"'{kind.scheme}:{rest}': there is no folder '{found}'; unpack the archive of the Python version."
        )
    return found


def fingerprint(kind: Published, rest: str, memo: Path | None) -> str:
    """Digest of all files of the set."""
    folder = place(kind, rest)
    files = {name: folder / name for name in (kind.meta, *(name for part in kind.parts.values() for name in part))}
    if absent := [name for name, file in files.items() if not file.is_file()]:
        raise UserError(f"There is no '{folder / absent[0]}'; unpack the archive of the Python version there.")
    return files_fingerprint(files, memo)


def listing(kind: Published, rest: str) -> Listing:
    """The images, named `train/00000`, ...; the classes are those of the file of names."""
    folder = place(kind, rest)
    meta = load(folder / kind.meta)
    classes = meta.get(kind.names)
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"'{folder / kind.meta}' has no list '{kind.names}'; unpack the archive anew.")
    rows: list[tuple[str, int, str, tuple[str, int]]] = []
    for split in ("test", "train"):
        count = 0
        for name in kind.parts[split]:
            labels = _labels(kind, folder / name, len(classes))
            rows += [
                (f"{split}/{count + row:05d}", label, split, (str(folder / name), row))
                for row, label in enumerate(labels)
            ]
            count += len(labels)
    return Listing(
        names=tuple(name for name, *_ in rows),
        classes=tuple(classes),
        labels=np.array([label for _, label, *_ in rows], dtype=np.int64),
        load=Pixels(tuple(where for *_, where in rows)),
        splits=tuple(split for _, _, split, _ in rows),
        notes=_notes(kind, folder),
        licence="Krizhevsky 2009, Learning multiple layers of features from tiny images",
    )


def _notes(kind: Published, folder: Path) -> tuple[str, ...]:
    """Which files are not, byte for byte, those that were published."""
    other = []
    for name, published in kind.md5.items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() != published:
                other.append(name)
    if not other:
        return ()
    if len(other) == 1:
        return (f"'{other[0]}' is not the file that was published (by its MD5); it is taken as it is.",)
    many = f"{len(other)} of {len(kind.md5)} files, '{other[0]}' first, are not those that were published"
    return (f"{many} (by their MD5); they are taken as they are.",)


def _labels(kind: Published, file: Path, classes: int) -> list[int]:
    """The labels of a file, once its images are what they should be."""
    found = load(file)
    labels, data = found.get(kind.labels), found.get("data")
    if not isinstance(labels, list) or not isinstance(data, np.ndarray):
        lost = "data" if isinstance(labels, list) else kind.labels
        raise UserError(f"'{file}' has no '{lost}'; unpack the archive of the Python version anew.")
    if data.dtype != np.uint8 or data.shape != (len(labels), 3 * SIDE * SIDE):
        raise UserError(f"'{file}' holds {data.dtype} {data.shape} for {len(labels)} labels; unpack the archive anew.")
    for row, label in enumerate(labels):
        if type(label) is not int or not 0 <= label < classes:
            raise UserError(f"'{file}': label {label!r} of image {row} is none of 0 to {classes - 1}; unpack it anew.")
    return labels
