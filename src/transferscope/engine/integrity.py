"""Integrity: a digest of every file of a result, and what happens to a result whose files are not what was written."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transferscope import atomic_files
from transferscope.errors import UserError

SAID = "step.json"  # of a result, written last: a folder without it is none
ASIDE = "damaged.json"  # what `step.json` is called in a damaged result, which is absent from then on
LET_GO = "let-go.json"  # of a result of which less than all is kept: how much, and the `files` that went
TIMING = "timing.json"  # of any step whose seconds are told
FREE = frozenset({SAID, "log.txt", TIMING, ASIDE, LET_GO})  # files that no digest vouches for: how it went
SMALL = 1 << 20  # bytes up to which a file is read whole whenever a run begins

# Digests by path, size, times and inode: a file is hashed once a process.
_known: dict[tuple[str, int, int, int, int], str] = {}


class Damaged(UserError):
    """A result is not what was written. It was set aside, so that the next run computes it again."""


class LetGo(UserError):
    """A file is read of which its result was relieved (`resources.keep`); `recall` makes the next run compute it."""

    def __init__(self, task: str, key: str, name: str, recall: Callable[[], None]) -> None:
        self.recall = recall
        super().__init__(
            f"The file {name} of the result {task} {key} was let go (resources.keep): 'transferscope run STUDY "
            "--restore' computes it again, and the bytes are the same."
        )


def digest(path: Path) -> str:
    """BLAKE2b of a file's bytes (20 bytes, as hex)."""
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(file: Any) -> str:
    """The same of an open file, from where it stands."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


def written(folder: Path) -> dict[str, list[Any]]:
    """``{name: [bytes, digest]}`` of every file of a folder whose digest is kept."""
    return {name: [path.stat().st_size, digest(path)] for name, path in _files(folder)}


def damage(folder: Path, files: Mapping[str, Any], *, only: str | None = None, small: bool = False) -> str | None:
    """What is wrong with the files of a result by what `written` said of them, in words; None for nothing.

    `only` looks at one file; one that is not in `files` is nobody's. `small` reads those of up to `SMALL` bytes, and of
    the others the size alone. A file that this process has read before is not read again while its size, times and
    inode stay.
    """
    for name, said in files.items():
        if only not in (None, name):
            continue
        path = folder / name
        try:
            found = path.stat()
            if why := _difference(name, said, found.st_size):
                return why
            if small and found.st_size > SMALL:
                continue
            state = (str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            if state not in _known:
                _known[state] = digest(path)
        except FileNotFoundError:
            return _difference(name, said, None)
        if why := _difference(name, said, found.st_size, _known[state]):
            return why
    return None


def is_result(folder: Path) -> bool:
    """Whether somebody wrote a `step.json` there, be it set aside by now."""
    return any(os.path.exists(f"{folder}/{name}") for name in (SAID, ASIDE))  # noqa: PTH110 (of every step of a plan)


def content(folder: Path, name: str) -> bytes:
    """The bytes of a small file, read at once."""
    with open(f"{folder}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 (of every step of a plan)
        return file.read()


def damage_of(name: str, content: bytes | None, said: Sequence[Any]) -> str | None:
    """The same of a file whose `content` was read, None where it is gone, by what `written` said of it."""
    if content is None:
        return _difference(name, said, None)
    return _difference(name, said, len(content), hashlib.blake2b(content, digest_size=20).hexdigest())


def _difference(name: str, said: Sequence[Any], size: int | None, own: str | None = None) -> str | None:
    """In words, what a file of so many bytes (None: it is gone) with the digest `own`, where that is known, has other
    than what `written` said of it; None for nothing."""
    wanted_size, wanted = said
    if size is None:
        return f"{name} is gone"
    if size != wanted_size:
        return f"{name} has {size:,} bytes and not {wanted_size:,}"
    return f"{name} has changed since it was written" if own not in (None, wanted) else None


def set_aside(folder: Path) -> None:
    """Make a damaged result absent; its files stay until it is computed again. A read-only store stays as it is."""
    if not atomic_files.may_write(folder):
        return
    with suppress(OSError):
        (folder / SAID).rename(folder / ASIDE)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in FREE:
            yield name, path
