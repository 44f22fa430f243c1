"""Saves of steps under way in a bucket, from which another machine goes on.

`saves/TASK-KEY/save.json` lists the files of a save with their digests, and is written when all of them are there as
`saves/TASK-KEY/DIGEST`: a save is whole or is not read, files that stay the same are uploaded once, and what two
machines upload for the same step never mixes.
"""

import json
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from transferscope import atomic_files
from transferscope.engine import integrity
from transferscope.engine.bucket import Bucket
from transferscope.engine.leases import Leases
from transferscope.errors import UserError

FOLDER = "saves"
LIST = "save.json"
EVERY = 300.0  # seconds between two uploads, at least
SHARE = 20  # and so many times as long as an upload takes


def sweep(bucket: Bucket, leases: Leases, wanted: Collection[str], *, delete: bool) -> int:
    """Bytes of saves of steps that are not `wanted` ("task-key") and that no process is at work on."""
    left: dict[str, dict[str, int]] = {}
    for name, said in bucket.names(FOLDER).items():
        left.setdefault(name.partition("/")[0], {})[f"{FOLDER}/{name}"] = said.size
    found = {step: files for step, files in left.items() if step not in wanted and not leases.held(step)}
    if delete:
        for files in found.values():
            bucket.delete(files)
    return sum(sum(files.values()) for files in found.values())


class Save:
    """The save of one step, for the process that has its lock; `folder` is where the step is at work.

    Beside it lies the list of the save that it came from or was uploaded as: another one in the bucket is of a machine
    that went on from there.
    """

    def __init__(self, bucket: Bucket, name: str, folder: Path) -> None:
        self._bucket, self._place, self._folder = bucket, f"{FOLDER}/{name}", folder
        self._note = folder.with_name(f"{folder.name}.save")
        self._looked, self._took = time.monotonic(), 0.0
        self._digests: dict[tuple[str, int, int], str] = {}

    def bring(self) -> None:
        """Have in the folder what another machine saved last; what is there stays where none did."""
        said = self._bucket.read(f"{self._place}/{LIST}") or b""
        if not _read(said) or (self._note.exists() and self._note.read_bytes() == said):
            return
        scratch = self._folder.with_name(f"{self._folder.name}.coming")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        for name, digest in _read(said).items():
            file = scratch / Path(name).name
            if not self._bucket.get(f"{self._place}/{digest}", file) or integrity.digest(file) != digest:
                shutil.rmtree(scratch)
                return
        shutil.rmtree(self._folder, ignore_errors=True)
        scratch.rename(self._folder)
        atomic_files.write(self._note, said)

    def share(self, *, now: bool = False) -> None:
        """Upload the folder, which holds a save, unless that was done lately. A bucket that cannot be used now costs
        what is done until it can."""
        if not now and time.monotonic() - self._looked < max(EVERY, SHARE * self._took):
            return
        began = time.monotonic()
        with suppress(UserError):
            self._upload()
        self._looked = time.monotonic()
        self._took = self._looked - began

    def drop(self) -> None:
        """The step is over, or begins afresh: leave no save behind, or else to `gc`."""
        with suppress(UserError):
            self._bucket.delete([f"{self._place}/{LIST}"])
            self._bucket.delete(f"{self._place}/{name}" for name in self._bucket.names(self._place))
        self._note.unlink(missing_ok=True)

    def _upload(self) -> None:
        files = {path: self._digest(path) for path in sorted(self._folder.iterdir()) if _is_saved(path)}
        there = self._bucket.names(self._place)
        self._bucket.put({f"{self._place}/{one}": path for path, one in files.items() if one not in there})
        said = atomic_files.as_json({path.name: one for path, one in files.items()})
        before = self._note.read_bytes() if self._note.exists() else b"{}"
        self._bucket.write(f"{self._place}/{LIST}", said)
        atomic_files.write(self._note, said)
        old = {*_read(before).values()} - {*files.values()}  # of others, who may go on, nothing is deleted
        self._bucket.delete(f"{self._place}/{one}" for one in sorted(old))

    def _digest(self, path: Path) -> str:
        found = path.stat()
        state = (path.name, found.st_size, found.st_mtime_ns)
        if state not in self._digests:
            self._digests[state] = integrity.digest(path)
        return self._digests[state]


def _read(said: bytes) -> dict[str, str]:
    """The digests of the files of a save by their names; none of what is no list."""
    with suppress(ValueError, AttributeError):
        return {str(name): str(digest) for name, digest in json.loads(said).items()}
    return {}


def _is_saved(path: Path) -> bool:
    return path.is_file() and path.suffix != ".part" and path.name not in integrity.FREE and path.name[0] != "."
