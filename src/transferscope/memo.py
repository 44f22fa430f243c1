"""Memos: answers worth keeping between runs, as one JSON object in a file that any number of processes add to."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transferscope import whole


@dataclass(frozen=True)
class Memo:
    """What is remembered in `file`, or nothing where that is None. It saves time and is never needed: a file that is
    lost, damaged or cannot be written raises nothing, and reads as what it lacks.

    `indent` as in `json.dumps`, for files that people look into.
    """

    file: Path | None
    indent: int | None = None

    def read(self) -> dict[str, Any]:
        """All that is remembered, by key."""
        if self.file is None:
            return {}
        try:
            known = json.loads(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def first(self, key: str, value: Any) -> Any:
        """Remember a JSON value under a key; the one that was there first wins and is returned."""
        return self.change(lambda known: {key: value, **known})[key]

    def put(self, values: Mapping[str, Any]) -> None:
        """Remember JSON values by key, in the place of earlier ones."""
        self.change(lambda known: {**known, **values})

    def change(self, to: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Replace all that is remembered by `to` of it, which is returned; nobody else adds anything meanwhile.

        Raises ValueError or TypeError for what is no JSON.
        """
        if self.file is None:
            return to({})
        if not whole.may_write(self.file):
            return to(self.read())
        from filelock import FileLock  # readers do without

        with suppress(OSError, NotImplementedError):  # also of file systems without locks
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.file}.lock"):
                known = self.read()
                wanted = to(known)
                if wanted != known:
                    self._write(wanted)
                return wanted
        return to(self.read())

    def _write(self, known: dict[str, Any]) -> None:
        assert self.file is not None
        whole.write_json(self.file, known, indent=self.indent)
