"""Artifacts: what finished steps left, each read as it was written or not at all."""

import fnmatch
import hashlib
import json
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from transferscope import atomic_files
from transferscope.engine import integrity
from transferscope.engine.integrity import LET_GO, Damaged, LetGo
from transferscope.engine.remote import Remote
from transferscope.engine.step import Keep, canonical

SAID = integrity.SAID
ROWS = "rows.json"


@dataclass(frozen=True)
class Artifact:
    """A finished step's folder. What is read through `said`, `rows`, `arrays`, `file` and `whole` is what was written:
    where a digest says otherwise the result is set aside and `Damaged` raised. Results of before digests are trusted.

    One that lies in a bucket (`remote`) is fetched into its folder, file by file, when it is read.
    """

    path: Path
    remote: Remote | None = field(default=None, compare=False, repr=False)

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
            return list(json.loads(self._read(ROWS)))
        except (ValueError, TypeError, FileNotFoundError):
            raise self._set_aside(f"{ROWS} cannot be read") from None

    def check_rows(self) -> None:
        """Raise what `rows` raises; the table is only taken apart where no digest vouches for it."""
        if ROWS in self._files:
            self._read(ROWS)
        else:
            self.rows  # noqa: B018 (it raises)

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of one ``.safetensors`` file of the folder."""
        from safetensors.numpy import load_file

        return dict(load_file(self.file(f"{name}.safetensors")))

    def file(self, name: str) -> Path:
        """The path of one file of the folder, which is as it was written; it need not be there."""
        self._raise_if_let_go([name])
        self._bring([name])
        if why := integrity.damage(self.path, self._files, only=name):
            self._raise_if_let_go([name], now=True)
            raise self._set_aside(why)
        return self.path / name

    def _read(self, name: str) -> bytes:
        """The bytes of one small file, which are as they were written. FileNotFoundError where nobody wrote it."""
        self._raise_if_let_go([name])
        self._bring([name])
        try:
            found = integrity.content(self.path, name)
        except FileNotFoundError:
            found = None
        said = self._files.get(name)
        if said is not None and (why := integrity.damage_of(name, found, said)):
            self._raise_if_let_go([name], now=True)
            raise self._set_aside(why)
        if found is None:
            raise FileNotFoundError(name)
        return found

    def whole(self) -> Path:
        """The folder, of which every file is as it was written."""
        self._raise_if_let_go(self._files)
        self._bring(self._files)
        if why := integrity.damage(self.path, self._files):
            self._raise_if_let_go(self._files, now=True)
            raise self._set_aside(why)
        return self.path

    def has(self, name: str) -> bool:
        """Whether one file is part of the result."""
        return name in self._files or (self.path / name).exists()

    def names(self, pattern: str) -> list[str]:
        """The files of the result whose names fit, in order."""
        return sorted({*fnmatch.filter(self._files, pattern), *(path.name for path in self.path.glob(pattern))})

    @property
    def bytes(self) -> int:
        """Of all files that digests are kept of; of a result of before there were any, of those that are there."""
        if self.verifiable:
            return sum(int(size) for size, _ in self._files.values())
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    def beside(self, task: str, key: str) -> "Artifact":
        """Another result of the same store."""
        return Artifact(self.path.parents[1] / task / key, self.remote)

    def inspect(self, *, small: bool = False) -> str | None:
        """What is wrong with the result, in words; nothing is set aside. `small`: see `integrity.damage`.

        Of one in a bucket `small` looks at what was fetched, and drops that if it is damaged.
        """
        try:
            gone = self._let_go(now=not small).get("files", ())
            files = {name: said for name, said in self._read_said().get("files", {}).items() if name not in gone}
            if self.remote is not None:
                return self._inspect_both(files, self.remote, small)
            return integrity.damage(self.path, files, small=small)
        except ValueError as error:
            return str(error)

    def kept(self, *, now: bool = False) -> Keep:
        """How much of the result there is; in a bucket as far as a listing of a moment ago tells, or looked at now."""
        if self.remote is not None:
            return self.remote.kept(*self._name, now=now)
        keep: Keep = self._let_go().get("keep", "all")
        return keep

    def let_go(self, keep: Keep, names: Collection[str]) -> int:
        """Delete files of the result, of which as much as `keep` stays; the bytes that were freed. What they were
        stays known by their digests."""
        said = {"keep": keep, "files": sorted({*names, *self._let_go(now=True).get("files", ())})}
        if self.remote is not None:
            freed = self.remote.let_go(*self._name, keep, atomic_files.as_json(said), names)
        else:
            freed = sum((self.path / name).stat().st_size for name in names if (self.path / name).exists())
            atomic_files.write_json(self.path / LET_GO, said)  # first: from now on nobody asks for them
        for name in names:
            (self.path / name).unlink(missing_ok=True)
        return freed

    def _let_go(self, now: bool = False) -> dict[str, Any]:
        """What is said of files that were let go; nothing where none were."""
        try:
            if self.remote is None:
                return dict(json.loads(integrity.content(self.path, LET_GO)))
            return dict(json.loads(self.remote.said_of_let_go(*self._name, now=now) or b"{}"))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return {}

    def _raise_if_let_go(self, names: Iterable[str], *, now: bool = False) -> None:
        if gone := {*names}.intersection(self._let_go(now).get("files", ())):
            raise LetGo(*self._name, min(gone), self.set_aside)

    @property
    def verifiable(self) -> bool:
        """Whether there are digests to hold it against."""
        return "files" in self.said

    @property
    def _name(self) -> tuple[str, str]:
        """Task and key."""
        return self.path.parent.name, self.path.name

    @property
    def _files(self) -> dict[str, Any]:
        """Digests of the files; none where nobody wrote a `step.json`, which is no result of a store."""
        if "said" not in vars(self) and self.remote is None and not integrity.is_result(self.path):
            return {}
        found: dict[str, Any] = self.said.get("files", {})
        return found

    def _read_said(self) -> dict[str, Any]:
        """ValueError says what is wrong with `step.json`."""
        if self.remote is not None and not (self.path / SAID).exists():
            self.remote.fetch(*self._name, SAID)
        try:
            found = json.loads(integrity.content(self.path, SAID))
        except (ValueError, FileNotFoundError):
            raise ValueError(f"{SAID} cannot be read") from None
        if not isinstance(found, dict) or not isinstance(found.get("params"), dict):
            raise ValueError(f"{SAID} does not tell of a step")
        if ("digest" in found or "files" in found) and found.get("digest") != own_digest(found):
            raise ValueError(f"{SAID} has changed since it was written")
        return found

    def set_aside(self) -> None:
        """Make it absent, for it is damaged: it will be computed again. A read-only store stays as it is."""
        if self.remote is not None and atomic_files.may_write(self.path):
            self.remote.set_aside(*self._name)
        integrity.set_aside(self.path)

    def _bring(self, names: Iterable[str]) -> None:
        """Fetch what is not here, or not as it was written."""
        if self.remote is None:
            return
        for name in names:
            if (self.path / name).exists() and integrity.damage(self.path, self._files, only=name):
                (self.path / name).unlink(missing_ok=True)
            if not (self.path / name).exists():
                self._files  # noqa: B018 (its `step.json` comes first)
                self.remote.fetch(*self._name, name)

    def _inspect_both(self, files: dict[str, Any], remote: Remote, small: bool) -> str | None:
        here = {name: said for name, said in files.items() if (self.path / name).exists()}
        if integrity.damage(self.path, here, small=small):
            shutil.rmtree(self.path, ignore_errors=True)
        return None if small else remote.damage(*self._name, files)

    def _set_aside(self, why: str) -> Damaged:
        self.set_aside()
        task, key = self._name
        return Damaged(f"The result {task} {key} is damaged ({why}). It was set aside: run again to compute it anew.")


def own_digest(said: dict[str, Any]) -> str:
    """The digest of what a `step.json` says besides its digest."""
    rest = {name: value for name, value in said.items() if name != "digest"}
    return hashlib.blake2b(canonical(rest), digest_size=20).hexdigest()
