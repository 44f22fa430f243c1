"""Where the images lie that a table names: as written, without leading folders, or by the id alone."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transferscope.data.names import PICTURES
from transferscope.errors import UserError

LOOK = 20  # names that are tried before a way of reading them is taken for all


@dataclass(frozen=True)
class Located:
    """The file of every name, or None; `how` is a sentence unless the names are paths as written."""

    files: list[str | None]
    how: str = ""


@dataclass(frozen=True)
class ImageFolder:
    """The folder of a table, or the one that `images` names: the names of images are looked for from there."""

    folder: Path
    parent: bool = True  # may paths start one folder higher?

    def located(self, names: Sequence[str]) -> Located:
        """Every name's file, by the first of these ways that finds any of the first 20 names.

        1. The path as written, absolute or from the folder. 2. The same from the folder above, and without one or more
        leading folders, the same number for all. 3. The files below the folder whose path ends with what is written,
        with any suffix of an image or the one written. UserError where two files fit one name.
        """
        for way, how in self._ways(max((_ending(name, 0).count("/") for name in names[:LOOK]), default=0)):
            if any(name and way(name) for name in names[:LOOK]):
                return Located([way(name) if name else None for name in names], how)
        return Located([None] * len(names))

    def finds(self, names: Sequence[str]) -> bool:
        """Is any of the first names an image that exists?"""
        try:
            return any(file is not None for file in self.located(names[:LOOK]).files)
        except UserError:
            return True  # several

    def _ways(self, depth: int) -> list[tuple[Callable[[str], str | None], str]]:
        ways: list[tuple[Callable[[str], str | None], str]] = [(lambda name: _file(self.folder / Path(name)), "")]
        for dropped in range(depth + 1):
            said = f" without {_leading(dropped)}" if dropped else ""
            starts = [self.folder, *([self.folder.parent] if self.parent else [])]
            for start in starts[(0 if dropped else 1) :]:
                how = f"Paths are read from '{start}'{said}."
                ways.append((lambda name, s=start, d=dropped: _file(s / _ending(name, d)), how))  # type: ignore[misc]
        for dropped in range(depth + 1):
            said = f", without {_leading(dropped)} of what is written" if dropped else ""
            how = f"Images are found by their name below '{self.folder}', whatever their folder and suffix{said}."
            ways.append((lambda name, d=dropped: self._below(_ending(name, d)), how))  # type: ignore[misc]
        return ways

    def _below(self, ending: str) -> str | None:
        """The one file below the folder whose path ends so, with the suffix written or else with any."""
        near = self._index.get(_bare(ending).rpartition("/")[2], ())
        fits = [path for path in near if f"/{_bare(path)}".endswith(f"/{_bare(ending)}")]
        found = [path for path in fits if path.endswith(ending)] or fits
        if len(found) > 1:
            raise UserError(f"'{ending}' may be '{found[0]}' or '{found[1]}' below '{self.folder}'; write its folder.")
        return _file(self.folder / found[0]) if found else None

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """Relative paths of all images below the folder, by file name without suffix."""
        index: dict[str, list[str]] = defaultdict(list)
        seen: set[tuple[int, int]] = set()
        for path, folders, files in os.walk(self.folder, followlinks=True):
            status = os.stat(path)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:  # a link back to where we came from
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = Path(path).relative_to(self.folder).as_posix()
            for name in sorted(files):
                if _bare(name) != name and not name.startswith("."):
                    index[_bare(name)].append(name if below == "." else f"{below}/{name}")
        return index


def _bare(path: str) -> str:
    """A path without the suffix of an image; an id with dots in it stays whole."""
    root, suffix = os.path.splitext(path)  # noqa: PTH122
    return root if suffix.lower() in PICTURES else path


def _file(path: Path) -> str | None:
    return str(path) if os.path.isfile(path) else None  # noqa: PTH113 (a hundred thousand calls)


def _ending(name: str, dropped: int) -> str:
    """A path in slashes without its first folders (a root counts as none)."""
    return "/".join(name.replace("\\", "/").lstrip("./").split("/")[dropped:])


def _leading(dropped: int) -> str:
    return "its first folder" if dropped == 1 else f"their first {dropped} folders"
