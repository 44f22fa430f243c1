"""folder:PATH, one subfolder of images per class, optionally below train/, val/ and test/.

The splits are taken as given when PATH holds `train/` and nothing else but `val/`, `valid/`, `validation/` or `test/`;
otherwise every subfolder is a class. Images may be nested deeper; hidden files and other file types are ignored.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from transferscope.data.decode import ImageFiles
from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.errors import UserError

SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm"),
        *(".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    )
)
SPLIT_WORDS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def check(rest: str) -> None:
    """A UserError unless the folder exists and has subfolders."""
    _class_folders(_root(rest))


def absolute(rest: str, folder: Path) -> str:
    """The same reference with a relative path starting from `folder`."""
    return str((folder / Path(rest).expanduser()).absolute())


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of every image's relative name and bytes."""
    root = _root(rest)
    return files_fingerprint({name: root / name for name, *_ in _images(root)}, memo)


def listing(rest: str) -> Listing:
    """The images below PATH, named by their path relative to it; classes are the union over the splits."""
    root = _root(rest)
    folders = _class_folders(root)
    images = sorted(_images(root))
    classes = sorted({name for _, name, _ in folders})
    if any(split for *_, split in images):
        trained = {label for _, label, split in images if split == "train"}
        missing = [name for name in classes if name not in trained]
        if missing:
            raise UserError(f"Class '{missing[0]}' has no image in '{root / 'train'}'; add images or remove the class.")
    index = {name: i for i, name in enumerate(classes)}
    return Listing(
        names=tuple(name for name, *_ in images),
        classes=tuple(classes),
        labels=np.array([index[label] for _, label, _ in images], dtype=np.int64),
        load=ImageFiles(tuple(str(root / name) for name, *_ in images)),
        splits=tuple(split for *_, split in images) if any(split for *_, split in folders) else None,
    )


def _root(rest: str) -> Path:
    if not rest:
        raise UserError("The reference 'folder:' names no folder; write folder:PATH.")
    root = Path(rest).expanduser().absolute()
    if not root.is_dir():
        kind = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"The image folder '{root}' {kind}; give a folder with one subfolder per class.")
    return root


def _subfolders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _class_folders(root: Path) -> list[tuple[Path, str, str]]:
    """(folder, class, split or '') of every class folder."""
    top = _subfolders(root)
    if "train" in top and all(name in SPLIT_WORDS for name in top):
        found = [(root / part / name, name, SPLIT_WORDS[part]) for part in top for name in _subfolders(root / part)]
    else:
        found = [(root / name, name, "") for name in top]
    if not found:
        raise UserError(f"'{root}' has no class folders; put the images of each class into a subfolder of their own.")
    return found


def _images(root: Path) -> Iterator[tuple[str, str, str]]:
    """(posix path relative to `root`, class, split or '') of every image."""
    for folder, label, split in _class_folders(root):
        seen: set[tuple[int, int]] = set()
        for path, subfolders, files in os.walk(folder, followlinks=True):
            status = os.stat(path)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:  # a link back to where we came from
                subfolders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            subfolders[:] = [name for name in subfolders if not name.startswith(".")]
            below = Path(path).relative_to(root).as_posix()
            for name in files:
                if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122
                    yield f"{below}/{name}", label, split
