"""The learning curve of a training that is under way, for who watches it: written every epoch, gone when it is done."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from transferscope.atomic_files import write_json

FILE = "curve.json"


def write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows of the epochs so far. Nothing reads them again, so that what hinders it (a full disk, a loss that is no
    number) is left to the saves of the training to tell."""
    with suppress(OSError, ValueError):
        write_json(folder / FILE, rows)


def clear(folder: Path) -> None:
    """The run is over: its rows are the result."""
    (folder / FILE).unlink(missing_ok=True)
