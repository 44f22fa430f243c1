"""Files written whole or not at all, whoever else writes the same one at the same time; and whose they are."""

import json
import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

LEFT = re.compile(r"\..+\.[0-9a-f]{32}")  # names of what a process that was killed leaves behind

_closed: set[Path] = set()


def close(folder: Path) -> None:
    """From now on what comes along the way (memos, logs, results set aside) is not written below a folder."""
    _closed.add(folder.resolve())


def may_write(path: Path) -> bool:
    """Whether a path lies in no folder that was closed."""
    return not _closed or not any(path.resolve().is_relative_to(folder) for folder in _closed)


def sweep(folder: Path, *, older: float | None = None) -> None:
    """Remove what writers that were killed left in a folder which nobody else writes to. Raises OSError.

    With `older`, in one that others write to as well: what lies in it, not below, and is that many seconds old.
    """
    for path in folder.rglob(".*") if older is None else folder.glob(".*"):
        if LEFT.fullmatch(path.name) and (older is None or time.time() - path.stat().st_mtime > older):
            path.unlink()


def write(path: Path, content: bytes) -> None:
    """In one rename, so that a reader sees the whole file or the old one. Raises OSError, and leaves nothing behind."""
    scratch = path.with_name(f".{path.name}.{uuid4().hex}")  # see LEFT
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """A JSON value, as `write` does. Raises ValueError for what is no number, TypeError for what is no JSON."""
    write(path, as_json(value, indent=indent))


def as_json(value: Any, *, indent: int | None = None) -> bytes:
    """A JSON value as the bytes that `write_json` writes."""
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # names of files that are no text, as Python carries them
        content = json.dumps(value, indent=indent, allow_nan=False).encode()
    return content + b"\n"


def owner(path: Path) -> str:
    """The user to whom a file belongs: a name, or a number where the system knows none."""
    try:
        return path.owner()
    except (KeyError, NotImplementedError):
        return f"user {path.stat().st_uid}"
