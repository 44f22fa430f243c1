"""Files below a folder, opened so that no name and no link in it leads out."""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOST = 256 << 20  # bytes of a file that is handed out whole


@dataclass(frozen=True)
class Found:
    """What a file held, or its end, and its `size` in bytes and time of change (seconds since 1970) then."""

    content: bytes
    size: int
    changed: float


def read(root: Path, parts: Sequence[str], *, last: int | None = None) -> Found | None:
    """A plain file at `root / parts`, of which no part may be a link, ``..`` or hold a slash; None for any other.

    `last`: only so many bytes, from its end. `root` itself may be a link: it is the user who names it.
    """
    file = _opened(root, parts)
    if file is None:
        return None
    try:
        with os.fdopen(file, "rb") as opened:
            told = os.fstat(opened.fileno())
            wanted = min(told.st_size, MOST if last is None else last)
            if last is not None:
                opened.seek(told.st_size - wanted)
            elif told.st_size > MOST:
                return None
            return Found(opened.read(wanted), told.st_size, told.st_mtime)
    except OSError:
        return None


def changed(root: Path, parts: Sequence[str]) -> tuple[int, int] | None:
    """What tells one content of a file from the next: its time of change in nanoseconds, and its size."""
    file = _opened(root, parts)
    if file is None:
        return None
    try:
        told = os.fstat(file)
        return told.st_mtime_ns, told.st_size
    finally:
        os.close(file)


def _opened(root: Path, parts: Sequence[str]) -> int | None:
    """A descriptor of the file. Every folder on the way is opened from the one above it, so that nobody can put a link
    in its place between a look and the opening."""
    if not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        return None
    folder = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        at = os.open(root, folder)
    except OSError:
        return None
    try:
        for part in parts[:-1]:
            above, at = at, os.open(part, folder | os.O_NOFOLLOW, dir_fd=at)
            os.close(above)
        found = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except (OSError, ValueError):  # not there, a link, a name that is no text
        return None
    finally:
        with suppress(OSError):
            os.close(at)
    if stat.S_ISREG(os.fstat(found).st_mode):
        return found
    os.close(found)  # a pipe or a device, which would be waited for
    return None
