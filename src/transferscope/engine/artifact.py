"""Artifacts: what finished steps left, each read as it was written or not at all."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.engine import integrity
from transferscope.engine.integrity import Damaged
from transferscope.engine.step import canonical

SAID = "step.json"  # written last: a folder without it is not a result
ROWS = "rows.json"


@dataclass(frozen=True)
class Artifact:
    """A finished step's folder. What is read through `said`, `rows`, `arrays`, `file` and `whole` is what was written:
    where a digest says otherwise the result is set aside and `Damaged` raised. Results of before digests are trusted.
    """

    path: Path

    @cached_property
    def said(self) -> dict[str, Any]:
        """`step.json`: the task and its parameters, versions, machine, seconds, and the digests of the `files`."""
        try:
            return self._read_said()
        except ValueError as error:
            raise self._set_aside(str(error)) from None

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The step's table."""
        try:
            return list(json.loads(self.file(ROWS).read_text(encoding="utf-8")))
        except (ValueError, TypeError, FileNotFoundError):
            raise self._set_aside(f"{ROWS} cannot be read") from None

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one ``.safetensors`` file of the folder."""
        from safetensors.numpy import load_file

        return dict(load_file(self.file(f"{name}.safetensors")))

    def file(self, name: str) -> Path:
        """The path of one file of the folder, which is as it was written; it need not be there."""
        if why := integrity.damage(self.path, self._files, only=name):
            raise self._set_aside(why)
        return self.path / name

    def whole(self) -> Path:
        """The folder, of which every file is as it was written."""
        if why := integrity.damage(self.path, self._files):
            raise self._set_aside(why)
        return self.path

    def inspect(self, *, small: bool = False) -> str | None:
        """What is wrong with the result, in words; nothing is set aside. `small`: see `integrity.damage`."""
        try:
            return integrity.damage(self.path, self._read_said().get("files", {}), small=small)
        except ValueError as error:
            return str(error)

    @property
    def verifiable(self) -> bool:
        """Whether there are digests to hold it against."""
        return "files" in self.said

    @property
    def _files(self) -> dict[str, Any]:
        """Digests of the files; none where nobody wrote a `step.json`, which is no result of a store."""
        if not (self.path / SAID).exists() and not (self.path / integrity.ASIDE).exists():
            return {}
        return dict(self.said.get("files", {}))

    def _read_said(self) -> dict[str, Any]:
        """ValueError says what is wrong with `step.json`."""
        try:
            found = json.loads((self.path / SAID).read_text(encoding="utf-8"))
        except (ValueError, FileNotFoundError):
            raise ValueError(f"{SAID} cannot be read") from None
        if not isinstance(found, dict) or not isinstance(found.get("params"), dict):
            raise ValueError(f"{SAID} does not tell of a step")
        if ("digest" in found or "files" in found) and found.get("digest") != own_digest(found):
            raise ValueError(f"{SAID} has changed since it was written")
        return found

    def _set_aside(self, why: str) -> Damaged:
        integrity.set_aside(self.path)
        task, key = self.path.parts[-2:]
        return Damaged(f"The result {task} {key} is damaged ({why}). It was set aside: run again to compute it anew.")


def own_digest(said: dict[str, Any]) -> str:
    """The digest of what a `step.json` says besides its digest."""
    rest = {name: value for name, value in said.items() if name != "digest"}
    return hashlib.blake2b(canonical(rest), digest_size=20).hexdigest()
