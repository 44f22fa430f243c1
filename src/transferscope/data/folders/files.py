"""The files of class folders: what a listing and a fingerprint of them hold, whatever is in the files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.folders.layout import Layout
from transferscope.data.listing import Listing
from transferscope.errors import UserError


@dataclass(frozen=True)
class Files:
    """Every file below `root` that is an example: (posix path relative to the root, class, split or ''), sorted."""

    root: Path
    entries: tuple[tuple[str, str, str], ...]

    @classmethod
    def of(cls, root: Path, layout: Layout) -> "Files":
        """Those of a folder as it was understood."""
        places = ((name, place.label, place.split) for place in layout.places for name in place.folder.files())
        return cls(root, tuple(sorted(places)))

    @property
    def classes(self) -> tuple[str, ...]:
        """The union over the splits, sorted."""
        return tuple(sorted({label for _, label, _ in self.entries}))

    @property
    def trained(self) -> set[str]:
        """The classes with files to train on; all where no splits are given."""
        given = any(split for *_, split in self.entries)
        return {label for _, label, split in self.entries if split == "train" or not given}

    def fingerprint(self, memo: Path | None) -> str:
        """Digest of every file's relative name and bytes, and of the class and split its folder gives it."""
        given = (f"{label}/{split}" for _, label, split in self.entries)
        return files_fingerprint({name: self.root / name for name, *_ in self.entries}, memo, extra=given)

    def listing(self, load: Callable[[tuple[str, ...]], Callable[[int], Any]], **more: Any) -> Listing:
        """The files named by their relative paths; `load` is made of the paths, `more` are further fields."""
        classes, splits = self.classes, tuple(split for *_, split in self.entries)
        index = {name: i for i, name in enumerate(classes)}
        return Listing(
            names=tuple(name for name, *_ in self.entries),
            classes=classes,
            labels=np.array([index[label] for _, label, _ in self.entries], dtype=np.int64),
            load=load(tuple(str(self.root / name) for name, *_ in self.entries)),
            splits=splits if any(splits) else None,
            **more,
        )


def class_root(rest: str, scheme: str, what: str, each: str) -> Path:
    """The folder that the reference `scheme:rest` names. UserError where there is none, which says `what` it should be
    and what `each` class should have."""
    if not rest:
        raise UserError(f"The reference '{scheme}:' names no folder; write {scheme}:PATH.")
    root = Path(rest).expanduser().absolute()
    if not root.is_dir():
        kind = "is a file, not a folder" if root.exists() else "does not exist"
        raise UserError(f"The {what} '{root}' {kind}; give a folder with {each} per class.")
    return root
