"""Memos: answers worth keeping between runs, as one JSON object in a file that any number of processes add to."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from transferscope import atomic_files
from transferscope.errors import UserError

Values = Mapping[str, Any]


class Elsewhere(Protocol):
    """Where a memo lies that several machines share; each of these may raise UserError."""

    def pull(self) -> bytes | None: ...

    def push(self, known: Values) -> None: ...

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else changes it inside the block."""
        ...


@dataclass(frozen=True)
class Memo:
    """What is remembered in `file`, or nothing where that is None. It saves time and is never needed: a file that is
    lost, damaged or cannot be written raises nothing, and reads as what it lacks.

    `indent` as in `json.dumps`, for files that people look into. Where it lies `elsewhere` the file is what was last
    seen of it.
    """

    file: Path | None
    indent: int | None = None
    elsewhere: Elsewhere | None = None

    def read(self) -> dict[str, Any]:
        """All that is remembered, by key."""
        if self.file is None:
            return {}
        try:
            known = json.loads(self._pulled() or self.file.read_bytes())
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
        if not atomic_files.may_write(self.file):
            return to(self.read())
        from filelock import FileLock  # readers do without

        with suppress(OSError, NotImplementedError, UserError):  # also of file systems without locks
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.file}.lock"), self.elsewhere.alone() if self.elsewhere else nullcontext():
                known = self.read()
                wanted = to(known)
                if wanted != known:
                    self._write(wanted)
                return wanted
        return to(self.read())

    def _pulled(self) -> bytes | None:
        with suppress(UserError):
            return self.elsewhere.pull() if self.elsewhere else None
        return None

    def _write(self, known: dict[str, Any]) -> None:
        assert self.file is not None
        if self.elsewhere is not None:
            self.elsewhere.push(known)
        atomic_files.write_json(self.file, known, indent=self.indent)
