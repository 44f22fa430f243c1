"""A folder of pictures as it lies on the disk: which pictures, which other files, which folders below."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transferscope.data.names import PICTURES, kind_of


@dataclass(frozen=True, eq=False)
class Folder:
    """`path` is relative to the root, with slashes ('' for the root itself); `others` counts files that are no picture
    by their kind, as `kind_of` gives it; hidden folders are named only; `place` tells one folder on the disk from
    another, whatever links lead to it; `odd` are names of pictures at which there is no file (a pipe, a socket, a
    device: to open one may never end), `lost` links of pictures and folders that lead nowhere."""

    path: str
    place: tuple[int, int]
    pictures: tuple[str, ...]
    others: Counter[str]
    folders: tuple["Folder", ...]
    hidden: tuple[str, ...] = ()
    odd: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @cached_property
    def total(self) -> int:
        """Pictures in the folder and below."""
        return len(self.pictures) + sum(folder.total for folder in self.folders)

    @cached_property
    def rest(self) -> Counter[str]:
        """Other files in the folder and below, by kind."""
        return sum((folder.rest for folder in self.folders), start=Counter(self.others))

    def below(self, which: str) -> Iterator[str]:
        """Path of everything `odd` or `lost` in the folder and below, relative to the root."""
        yield from (f"{self.path}/{name}".lstrip("/") for name in getattr(self, which))
        for folder in self.folders:
            yield from folder.below(which)

    def files(self, seen: set[tuple[int, int]] | None = None) -> Iterator[str]:
        """Path of every picture in the folder and below, relative to the root; a folder linked to twice counts once."""
        seen = set() if seen is None else seen
        if self.place in seen:
            return
        seen.add(self.place)
        yield from (f"{self.path}/{name}" if self.path else name for name in self.pictures)
        for folder in self.folders:
            yield from folder.files(seen)


def scan(root: Path, endings: frozenset[str] = PICTURES) -> Folder:
    """Everything below `root`, pictures being files with one of the `endings`; links are followed, but not back to
    where they came from. Raises OSError."""
    return _scan(str(root), "", {_place(str(root))}, endings)


def _scan(where: str, path: str, above: set[tuple[int, int]], endings: frozenset[str]) -> Folder:
    pictures: list[str] = []
    odd: list[str] = []
    lost: list[str] = []
    others, folders, hidden = Counter[str](), [], []
    with os.scandir(where) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            what, kind = _what(entry), kind_of(entry.name)
            if what == "folder" and entry.name.startswith("."):
                hidden.append(entry.name)
            elif what == "folder":
                if (place := _place(entry.path)) not in above:
                    folders.append(_scan(entry.path, f"{path}/{entry.name}".lstrip("/"), above | {place}, endings))
            elif what == "lost" and (kind in endings or not kind):
                lost.append(entry.name)
            elif kind in endings:
                (pictures if what == "file" else odd).append(entry.name)
            elif kind != "-":
                others[kind] += 1
    return Folder(path, _place(where), tuple(pictures), others, tuple(folders), tuple(hidden), tuple(odd), tuple(lost))


def _what(entry: os.DirEntry[str]) -> str:
    """ "folder" or "file", or a link to one; "lost" for a link that leads nowhere or back to itself; "odd"."""
    if not entry.is_symlink():
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "odd"
    try:
        mode = os.stat(entry.path).st_mode  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return "lost"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "lost"
        raise
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "odd"


def _place(where: str) -> tuple[int, int]:
    status = os.stat(where)  # noqa: PTH116 (one for each of perhaps many thousand folders)
    return status.st_dev, status.st_ino
