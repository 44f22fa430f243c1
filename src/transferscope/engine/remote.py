"""Results in a bucket: uploaded whole, announced last, fetched file by file into a folder of this machine.

`done/TASK-KEY.json` announces a result: it is its `step.json`, written once, when all else is there. The files lie
below `results/TASK/KEY/ATTEMPT/`, where ATTEMPT is the digest of that `step.json`: of two that computed the same step
the first to announce it wins, and their files never mix. What is not announced does not count. It is long because all
that is known of the names of objects stands here.
"""

import hashlib
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from transferscope import atomic_files
from transferscope.engine import integrity
from transferscope.engine.bucket import Bucket, Object
from transferscope.engine.integrity import SAID
from transferscope.engine.leases import Leases
from transferscope.engine.step import KEEPS, Keep
from transferscope.errors import UserError
from transferscope.memo import Values

DONE, RESULTS, DAMAGED, MEMO, MARKS, RELIEVED = "done", "results", "damaged", "memo", "marks", "let-go"
ROWS = "rows.json"
LOOKS = 2.0  # seconds for which a listing of what is done holds, at least
SHARE = 20  # a listing is made again after so many times as long as it took
WAITS = 20.0  # seconds that a memo of the bucket is waited for
BATCH = 500  # small files that are fetched at a time


def folder(url: str) -> Path:
    """Where this machine keeps what it fetched of a bucket: in the user's cache (`XDG_CACHE_HOME`)."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9.]+", "-", url)[:60]
    mark = hashlib.blake2b(url.rstrip("/").encode(), digest_size=4).hexdigest()
    return home / "transferscope" / "stores" / f"{name}-{mark}"


class Remote:
    """The results of one bucket; `folder` is that of this machine."""

    def __init__(self, url: str, folder: Path) -> None:
        self.bucket, self.folder = Bucket(url), folder
        self.url, self.leases = self.bucket.url, Leases(self.bucket)
        self._done: dict[str, Object] = {}  # by "task-key"
        self._relieved: dict[str, Keep] = {}  # how much there is of those of which files were let go
        self._looked, self._took = 0.0, 0.0

    @staticmethod
    @cache
    def at(url: str) -> "Remote":
        """One a process: what is known of a bucket is known once."""
        return Remote(url, folder(url))

    def prepare(self) -> None:
        """See that the bucket can be written, and that it writes an object once where it is asked to. UserError if
        not."""
        probe = f"{MARKS}/probe-{uuid4().hex}"
        try:
            if not self.bucket.create(probe, b"x") or self.bucket.create(probe, b"y"):
                raise UserError(
                    f"resources.store: {self.url} does not keep what is there from being written over "
                    "(conditional writes); use another object store, or a disk that is shared."
                )
        finally:
            self.bucket.delete([probe])

    # What is done

    def look(self) -> None:
        """List all that is done."""
        began = time.monotonic()
        self._done = {name.removesuffix(".json"): said for name, said in self.bucket.names(DONE).items()}
        before, self._relieved = self._relieved, {}
        for name in self.bucket.names(RELIEVED):
            self._relieve(*name.removesuffix(".json").split("/"))
        for name in before.keys() - self._relieved.keys():  # done again: what is here tells of the first time
            task, _, key = name.rpartition("-")
            (self.folder / task / key / SAID).unlink(missing_ok=True)
        self._looked = time.monotonic()
        self._took = self._looked - began

    def has(self, task: str, key: str) -> bool:
        """Whether a result is announced, as far as a listing of a moment ago tells."""
        if f"{task}-{key}" in self._done:
            return True
        self._look_now_and_then()
        return f"{task}-{key}" in self._done

    def _look_now_and_then(self) -> None:
        if not self._looked or time.monotonic() - self._looked > max(LOOKS, SHARE * self._took):
            self.look()

    def is_done(self, task: str, key: str) -> bool:
        """The same, looked at now."""
        if self.bucket.exists(_announcement(task, key)):
            self.note(task, key)
            return True
        self._done.pop(f"{task}-{key}", None)
        return False

    def note(self, task: str, key: str) -> None:
        """A result was announced, as its worker says."""
        self._done.setdefault(f"{task}-{key}", Object(0, time.time()))
        self._relieved.pop(f"{task}-{key}", None)

    def entries(self) -> Iterator[tuple[str, str, float]]:
        """(task, key, when it was announced) of every result."""
        self.look()
        for name, said in self._done.items():
            task, _, key = name.rpartition("-")
            yield task, key, said.written

    def announced(self, task: str, key: str, unknown: float) -> float:
        """When a result was announced (seconds since 1970), as far as a listing tells."""
        found = self._done.get(f"{task}-{key}")
        return found.written if found is not None and found.written else unknown

    def sizes(self, below: str = "") -> dict[str, int]:
        """Bytes of all attempts at steps, by "task-key"."""
        found: dict[str, int] = {}
        for name, said in self.bucket.names(f"{RESULTS}/{below}".rstrip("/")).items():
            task, key, *_ = [*filter(None, below.split("/")), *name.split("/")]
            found[f"{task}-{key}"] = found.get(f"{task}-{key}", 0) + said.size
        return found

    # Up

    def publish(self, task: str, key: str, here: Path) -> bool:
        """Upload a finished folder, then announce it; False where another process announced the step before."""
        said = (here / SAID).read_bytes()
        place = _place(task, key, said)
        found = {path.relative_to(here).as_posix(): path for path in sorted(here.rglob("*")) if path.is_file()}
        files = {name: path for name, path in found.items() if not atomic_files.LEFT.fullmatch(path.name)}
        self.bucket.put({f"{place}/{name}": path for name, path in files.items()})
        if self.bucket.create(_announcement(task, key), said):
            self.note(task, key)
            return True
        if self.bucket.read(_announcement(task, key)) != said:
            self.bucket.delete(f"{place}/{name}" for name in files)
            return False
        return True

    def remove(self, task: str, key: str) -> int:
        """Delete a result, its announcement first; the bytes it freed."""
        self._withdraw(task, key)
        names = self.bucket.names(f"{RESULTS}/{task}/{key}")
        self.bucket.delete(f"{RESULTS}/{task}/{key}/{name}" for name in names)
        return sum(said.size for said in names.values())

    def let_go(self, task: str, key: str, keep: Keep, said: bytes, names: Iterable[str]) -> int:
        """Delete files of a result, after `said` is there, which tells of them; the bytes that were freed."""
        self.bucket.write(_relief(task, key, keep), said)
        self._relieve(f"{task}-{key}", keep)
        place = _place(task, key, self.bucket.read(_announcement(task, key)) or b"")
        there = self.bucket.names(place)
        gone = [name for name in names if name in there]
        self.bucket.delete(f"{place}/{name}" for name in gone)
        return sum(there[name].size for name in gone)

    def kept(self, task: str, key: str, *, now: bool = False) -> Keep:
        """How much there is of a result, as far as a listing of a moment ago tells, or `now`."""
        name = f"{task}-{key}"
        if now:
            self._relieved.pop(name, None)
            for one in self.bucket.names(f"{RELIEVED}/{name}"):
                self._relieve(name, one.removesuffix(".json"))
        elif name in self._relieved:  # it may have been done again
            self._look_now_and_then()
        return self._relieved.get(name, "all")

    def said_of_let_go(self, task: str, key: str, *, now: bool = False) -> bytes | None:
        """What `let_go` was given; None where no file of the result was let go."""
        keep = self.kept(task, key, now=now)
        return None if keep == "all" else self.bucket.read(_relief(task, key, keep))

    def _relieve(self, name: str, keep: str) -> None:
        known = self._relieved.get(name, "all")
        self._relieved[name] = min((known, *(one for one in KEEPS if one == keep)), key=KEEPS.index)

    def set_aside(self, task: str, key: str) -> None:
        """Take back what announces a damaged result; it is kept under `damaged/`."""
        if (said := self.bucket.read(_announcement(task, key))) is not None:
            self.bucket.write(f"{DAMAGED}/{task}-{key}.json", said)
            self._withdraw(task, key)

    def _withdraw(self, task: str, key: str) -> None:
        self.bucket.delete([_announcement(task, key), *(_relief(task, key, keep) for keep in KEEPS if keep != "all")])
        self._done.pop(f"{task}-{key}", None)
        self._relieved.pop(f"{task}-{key}", None)

    def sweep(self, *, delete: bool) -> int:
        """Bytes of uploads that were not finished and that no process is at work on."""
        self.look()
        total = 0
        left: dict[tuple[str, str, str], dict[str, int]] = {}
        for name, said in self.bucket.names(RESULTS).items():
            task, key, attempt, *_ = name.split("/")
            left.setdefault((task, key, attempt), {})[f"{RESULTS}/{name}"] = said.size
        attempts = Counter((task, key) for task, key, _ in left)
        doubtful = {one for one, count in attempts.items() if count > 1 or "-".join(one) not in self._done}
        said_of = self.bucket.read_all([_announcement(*one) for one in sorted(doubtful)])
        for (task, key, attempt), files in left.items():
            said_now = said_of.get(_announcement(task, key), b"")
            whose = (task, key) in doubtful and attempt != _attempt(said_now)
            if whose and not self.leases.held(f"{task}-{key}"):
                total += sum(files.values())
                if delete:
                    self.bucket.delete(files)
        return total

    # Down

    def bring(self, results: Iterable[tuple[str, str]]) -> None:
        """Fetch the small files (`step.json` and rows) of results that are not here yet, many at a time."""
        lacking = [one for one in results if not (self.folder.joinpath(*one) / ROWS).exists()]
        for start in range(0, len(lacking), BATCH):
            part = {_announcement(*one): one for one in lacking[start : start + BATCH]}
            said = {part[name]: content for name, content in self.bucket.read_all([*part]).items()}
            rows = {f"{_place(*one, content)}/{ROWS}": one for one, content in said.items()}
            for name, content in self.bucket.read_all([*rows]).items():
                here = self.folder.joinpath(*rows[name])
                if (here / SAID).exists() and (here / SAID).read_bytes() != said[rows[name]]:
                    shutil.rmtree(here, ignore_errors=True)  # of an earlier attempt
                here.mkdir(parents=True, exist_ok=True)
                atomic_files.write(here / ROWS, content)
                atomic_files.write(here / SAID, said[rows[name]])

    def fetch(self, task: str, key: str, name: str) -> None:
        """Have one file of a result here, as the bucket has it; nothing where it has none.

        UserError where the result was computed anew since its `step.json` was fetched.
        """
        here = self.folder / task / key
        here.mkdir(parents=True, exist_ok=True)
        if name == SAID:
            if (said := self.bucket.read(_announcement(task, key))) is not None:
                atomic_files.write(here / SAID, said)
            return
        said = (here / SAID).read_bytes()
        (self.folder / ".scratch").mkdir(exist_ok=True)
        with FileLock(self.folder / ".scratch" / f"fetch-{task}-{key}.lock"):  # of many workers one fetches
            if (here / name).exists():
                return
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            scratch = here / f".{Path(name).name}.{uuid4().hex}"  # see whole.LEFT
            try:
                if self.bucket.get(f"{_place(task, key, said)}/{name}", scratch):
                    scratch.replace(here / name)
                elif self.bucket.read(_announcement(task, key)) not in (said, None):
                    (here / SAID).unlink(missing_ok=True)
                    raise UserError(f"The result {task} {key} was computed anew meanwhile: run again.")
            finally:
                scratch.unlink(missing_ok=True)

    def damage(self, task: str, key: str, files: Mapping[str, Any]) -> str | None:
        """What is wrong with the files of a result as the bucket has them, in words; None for nothing."""
        said = self.bucket.read(_announcement(task, key)) or b""
        for name, (_, wanted) in files.items():
            found = self.bucket.through(f"{_place(task, key, said)}/{name}", integrity.digest_of)
            if found is None:
                return f"{name} is gone"
            if found != wanted:
                return f"{name} has changed since it was written"
        return None

    # Besides

    def memo(self, name: str) -> "Shared":
        return Shared(self, name)

    @contextmanager
    def marked(self) -> Iterator[str]:
        """The name of an object that is there inside the block."""
        mark = f"{MARKS}/seen-{uuid4().hex}"
        self.bucket.write(mark, b"x")
        try:
            yield mark
        finally:
            self.bucket.delete([mark])


class Shared:
    """A memo that lies in a bucket, for all who use it."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote, self._name = remote, name

    def pull(self) -> bytes | None:
        return self._remote.bucket.read(f"{MEMO}/{self._name}")

    def push(self, known: Values) -> None:
        self._remote.bucket.write(f"{MEMO}/{self._name}", atomic_files.as_json(known))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else changes it inside the block, unless one that does takes very long."""
        limit = time.monotonic() + WAITS
        while True:
            with self._remote.leases.holding(f"memo-{self._name}") as first:
                if first or time.monotonic() > limit:
                    yield
                    return
            time.sleep(0.2)


def _announcement(task: str, key: str) -> str:
    return f"{DONE}/{task}-{key}.json"


def _relief(task: str, key: str, keep: str) -> str:
    return f"{RELIEVED}/{task}-{key}/{keep}.json"


def _attempt(said: bytes) -> str:
    return hashlib.blake2b(said, digest_size=8).hexdigest()


def _place(task: str, key: str, said: bytes) -> str:
    return f"{RESULTS}/{task}/{key}/{_attempt(said)}"
