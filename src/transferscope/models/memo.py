"""Slow answers about outside files, kept in a folder until a file or the version of timm changes."""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any


def remembered(
    folder: Path | None, question: Sequence[str], answer: Callable[[], Any], files: Callable[[], Sequence[Path]]
) -> Any:
    """`answer()`, a JSON value, or what it said last time while `files()` keep their sizes and times.

    `files` is asked only along with `answer`: both may be slow. No folder, or one that cannot be written, only
    means that nothing is remembered.
    """
    if folder is None:
        return answer()
    path = folder / "weights.json"
    key = json.dumps([*question, metadata.version("timm")])
    kept = _read(path)
    entry = kept.get(key)
    if isinstance(entry, dict) and all(_stat(Path(name)) == stat for name, stat in entry["files"].items()):
        return entry["answer"]
    value = answer()
    entry = {"answer": value, "files": {str(file): _stat(file) for file in files()}}
    _write(path, _read(path) | {key: entry})
    return value


def _stat(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _write(path: Path, kept: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(kept, file)
        os.replace(scratch, path)  # noqa: PTH105
    except OSError:
        pass
