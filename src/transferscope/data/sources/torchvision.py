"""torchvision:NAME:ROOT, a torchvision classification set already on disk, e.g. torchvision:CIFAR10:/data.

ROOT is what torchvision's class calls `root`; nothing is downloaded. The set's own train, val and test parts are kept.
The fingerprint covers the set's folder where its name is known below, else every file of ROOT: give each set a root of
its own.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.packages import package_folder
from transferscope.data.paths import from_folder
from transferscope.errors import UserError, did_you_mean

FOLDERS = {
    "CIFAR10": "cifar-10-batches-py",
    "CIFAR100": "cifar-100-python",
    "Country211": "country211",
    "DTD": "dtd",
    "EMNIST": "EMNIST",
    "EuroSAT": "eurosat",
    "FashionMNIST": "FashionMNIST",
    "FGVCAircraft": "fgvc-aircraft-2013b",
    "Flowers102": "flowers-102",
    "Food101": "food-101",
    "GTSRB": "gtsrb",
    "KMNIST": "KMNIST",
    "MNIST": "MNIST",
    "OxfordIIITPet": "oxford-iiit-pet",
    "PCAM": "pcam",
    "STL10": "stl10_binary",
    "StanfordCars": "stanford_cars",
}
PARTS = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}


@dataclass(frozen=True)
class Items:
    """Image `places[i]` = (part, index in it) of a torchvision set, which every process opens for itself."""

    name: str
    root: str
    places: tuple[tuple[str, int], ...]

    def __call__(self, index: int) -> Image.Image:
        part, item = self.places[index]
        image = _open(self.name, self.root)[part][item][0]
        return image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))


def check(rest: str) -> None:
    """A UserError unless torchvision is installed and ROOT is a folder."""
    _split(rest)


def absolute(rest: str, folder: Path) -> str:
    """The same reference with a relative ROOT starting from `folder`."""
    name, colon, where = rest.partition(":")
    return f"{name}:{from_folder(where, folder)}" if colon and where else rest


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the files of the set, and of its name."""
    name, root = _split(rest)
    base = root / FOLDERS[name] if (root / FOLDERS.get(name, "")).is_dir() and name in FOLDERS else root
    files = {
        (Path(folder) / file).relative_to(root).as_posix(): Path(folder) / file
        for folder, _, found in os.walk(base)
        for file in found
    }
    return files_fingerprint(files, memo, extra=(name,))


def listing(rest: str) -> Listing:
    """The images, named `part/index`; the classes are torchvision's, else the label numbers."""
    name, root = _split(rest)
    parts = _open(name, str(root))
    labels = {part: _labels(data, rest) for part, data in parts.items()}
    order = sorted((part, index) for part in parts for index in range(len(labels[part])))
    flat = np.array([labels[part][index] for part, index in order], dtype=np.int64)
    known = getattr(next(iter(parts.values())), "classes", None)
    classes = tuple(str(word) for word in known) if known else tuple(str(i) for i in range(int(flat.max()) + 1))
    return Listing(
        names=tuple(f"{part or 'all'}/{index:08d}" for part, index in order),
        classes=classes,
        labels=flat,
        load=Items(name, str(root), tuple(order)),
        splits=None if "" in parts else tuple(part for part, _ in order),
        licence=f"the terms of the data set {name}, see torchvision's documentation",
    )


def _split(rest: str) -> tuple[str, Path]:
    name, _, where = rest.partition(":")
    if not name or not where:
        raise UserError(f"'torchvision:{rest}' must name a set and a folder; write torchvision:CIFAR10:/path/to/root.")
    root = Path(where).expanduser().absolute()
    if not root.is_dir():
        raise UserError(f"'torchvision:{rest}': the folder '{root}' does not exist; nothing is downloaded.")
    package_folder("torchvision", "dev")
    return name, root


@cache
def _open(name: str, root: str) -> dict[str, Any]:
    """The parts of a set by split word; the one part of a set that has no splits is called ''."""
    from inspect import signature

    from torchvision import datasets

    known = tuple(word for word in datasets.__all__ if word[0].isupper())
    if name not in known:
        raise UserError(f"torchvision has no data set '{name}'; {did_you_mean(name, known)}")
    build = getattr(datasets, name)
    takes = signature(build).parameters
    offline = {"download": False} if "download" in takes else {}
    try:
        if "train" in takes:
            return {word: build(root, train=word == "train", **offline) for word in ("train", "test")}
        if "split" in takes and name != "EMNIST":
            return dict(_parts(lambda word: build(root, split=word, **offline)))
        return {"": build(root, **offline)}
    except (RuntimeError, OSError, TypeError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise UserError(f"torchvision's {name} could not be opened in '{root}': {reason}.") from None


def _parts(build: Any) -> Iterator[tuple[str, Any]]:
    """(split word, set) of every part that the set has; ValueError is how torchvision says there is no such part."""
    for word, spellings in PARTS.items():
        for spelling in spellings:
            try:
                part = build(spelling)
            except ValueError:
                continue
            yield word, part
            break


def _labels(data: Any, rest: str) -> np.ndarray:
    for attribute in ("targets", "labels", "_labels"):
        if hasattr(data, attribute):
            labels = np.asarray(getattr(data, attribute))
            break
    else:
        samples = getattr(data, "_samples", None) or getattr(data, "samples", None)
        labels = np.asarray([label for _, label in samples] if samples else [item[1] for item in data])
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"'torchvision:{rest}' does not give one class number per image; use csv: for it.")
    return labels
