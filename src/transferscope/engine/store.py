"""The store: one folder a finished step, complete or absent, shared by any number of processes and machines.

Of a store in a bucket the folder is what this machine has of it (`remote.Remote`). It is long because it is all that
may be done with results.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from filelock import FileLock, Timeout

from transferscope import atomic_files
from transferscope.engine import saves
from transferscope.engine.artifact import SAID, Artifact
from transferscope.engine.bucket import is_url
from transferscope.engine.remote import Remote
from transferscope.engine.saves import Save
from transferscope.engine.step import KEEPS, Keep, Step, find
from transferscope.errors import UserError
from transferscope.memo import Memo

SCRATCH = ".scratch"


class Busy(Exception):
    """Another process is at work on the step."""


class Held(NamedTuple):
    """A finished step: its bytes, when it was finished (seconds since 1970), by which user, and how much there is."""

    size: int
    finished: float
    by: str
    kept: Keep


class Store:
    """Results under `root`, found by step: ``root/<task>/<key>/{step.json, rows.json, *.safetensors, log.txt}``."""

    def __init__(self, root: Path, remote: Remote | None = None) -> None:
        self.root, self.remote = Path(root), remote
        self._saves: dict[tuple[str, str], Save] = {}  # of steps that are under way here, in a bucket

    @staticmethod
    def at(place: str | Path) -> "Store":
        """The store at a path, or in the bucket of an address. UserError for what is none."""
        if not is_url(str(place)):
            return Store(Path(place))
        remote = Remote.at(str(place))
        return Store(remote.folder, remote)

    @property
    def place(self) -> str:
        """Where it is, for whoever opens it by `at`."""
        return self.remote.url if self.remote else str(self.root.absolute())

    def absolute(self) -> "Store":
        return Store(self.root.absolute(), self.remote)

    def look(self) -> None:
        """Look anew at what is done, where that is far away."""
        if self.remote is not None:
            self.remote.look()

    def bring(self, results: Iterable[tuple[str, str]]) -> None:
        """Have the small files of those of some results (task, key) that are there near, at once."""
        if self.remote is not None:
            self.remote.bring((task, key) for task, key in results if self.remote.has(task, key))

    def memo(self, name: str) -> Memo:
        """A memo of all who use the store."""
        return Memo(self.root / "memo" / name, elsewhere=self.remote.memo(name) if self.remote else None)

    def prepare(self) -> None:
        """Make the root and see that it can be written. UserError when it cannot."""
        try:
            (self.root / SCRATCH).mkdir(parents=True, exist_ok=True)
            probe = self.root / SCRATCH / f"probe-{os.getpid()}"
            probe.write_bytes(b"x")
            probe.unlink()
        except OSError as error:
            raise UserError(f"The store {self.root} cannot be written: {reason(error)}.") from None
        if self.remote is not None:
            self.remote.prepare()

    @contextmanager
    def marked(self) -> Iterator[str]:
        """A mark in the store inside the block, by which other machines know that they see it (`sees`)."""
        if self.remote is not None:
            with self.remote.marked() as name:
                yield name
            return
        mark = self.root.absolute() / SCRATCH / f"seen-{uuid4().hex}"
        mark.touch()
        try:
            yield str(mark)
        finally:
            mark.unlink(missing_ok=True)

    def sees(self, mark: str) -> bool:
        """Whether this machine sees what another has `marked`."""
        if self.remote is None:
            return Path(mark).exists()
        try:
            return self.remote.bucket.exists(mark)
        except UserError:
            return False

    def path(self, task: str, key: str) -> Path:
        return self.root / task / key

    def has(self, step: Step) -> bool:
        if self.remote is not None:
            return self.remote.has(step.task, step.key)
        return os.path.exists(f"{self.root}/{step.task}/{step.key}/{SAID}")  # noqa: PTH110 (of every step of a plan)

    def kept(self, step: Step) -> Keep:
        """How much there is of the result of a finished step."""
        return self.artifact(step.task, step.key).kept()

    def keeps(self, step: Step, keep: Keep) -> bool:
        """Whether as much as `keep` of it is there, and was not let go."""
        return keep == KEEPS[0] or KEEPS.index(self.kept(step)) >= KEEPS.index(keep)

    def note(self, step: Step) -> None:
        """A worker says that a step is done."""
        if self.remote is not None:
            self.remote.note(step.task, step.key)

    def get(self, step: Step) -> Artifact:
        """The result of a finished step; KeyError when there is none."""
        if not self.has(step):
            raise KeyError(f"{step.task} {step.key} is not in {self.place}")
        return self.artifact(step.task, step.key)

    def artifact(self, task: str, key: str) -> Artifact:
        return Artifact(self.path(task, key), self.remote)

    def scratch(self, task: str, key: str) -> Path:
        return self.root / SCRATCH / f"{task}-{key}"

    @contextmanager
    def writing(self, task: str, key: str, *, resumes: bool = False) -> Iterator[Path | None]:
        """The scratch folder of one step, under its lock; renamed into place on success, dropped on failure. What is
        in place is uploaded, where the store is in a bucket: UserError where that fails, and the next run does it.

        Yields None when another process finished the step meanwhile. The block must write `step.json` itself. With
        `resumes`, a folder left by a killed process is handed over as it is, and only a UserError drops it: what a
        full disk or a bug stopped goes on from its last save, or from that which another machine left in the bucket.
        Raises Busy, rather than wait, where another process holds the lock.
        """
        from transferscope.engine.task_context import Interrupted

        scratch, final = self.scratch(task, key), self.path(task, key)
        with self._lock(task, key):
            if self._finished(task, key):
                yield None
                return
            if not resumes:
                shutil.rmtree(scratch, ignore_errors=True)
            save = Save(self.remote.bucket, scratch.name, scratch) if resumes and self.remote else None
            if save is not None:
                self._saves[task, key] = save
                save.bring()
            scratch.mkdir(exist_ok=True)
            try:
                yield scratch
            except Interrupted:
                if not resumes:
                    shutil.rmtree(scratch, ignore_errors=True)
                raise
            except BaseException as error:
                if not resumes or isinstance(error, UserError):  # what the user must mend begins afresh
                    shutil.rmtree(scratch, ignore_errors=True)
                    if save is not None:
                        save.drop()
                raise
            final.parent.mkdir(exist_ok=True)
            if final.exists():  # a folder without step.json: somebody's half-deleted result
                shutil.rmtree(final)
            for file in scratch.rglob("*"):
                if file.is_file():
                    _sync(file)
            _sync(scratch)
            _open_up(scratch)
            scratch.rename(final)
            _sync(final.parent)
            self._publish(task, key)
            if save is not None:
                save.drop()
            Path(f"{scratch}.lock").unlink(missing_ok=True)

    def share(self, task: str, key: str, last: bool) -> None:
        """A step that is under way here has saved itself: in a bucket other machines may go on from there."""
        if (save := self._saves.get((task, key))) is not None:
            save.share(now=last)

    def _finished(self, task: str, key: str) -> bool:
        """Whether there is a result, seen to now; one that lies here alone is uploaded, and one of which files were
        let go is set aside: what is done again is done for their sake."""
        final = self.path(task, key)
        there = self.remote.is_done(task, key) if self.remote else (final / SAID).exists()
        if there and (found := self.artifact(task, key)).kept(now=True) != "all":
            found.set_aside()
            return False
        if there or self.remote is None:
            return there
        if (final / SAID).exists() and Artifact(final).inspect() is None:
            self._publish(task, key)
            return True
        shutil.rmtree(final, ignore_errors=True)  # a part of what was deleted elsewhere
        return False

    def _publish(self, task: str, key: str) -> None:
        final = self.path(task, key)
        if self.remote is not None and not self.remote.publish(task, key, final):
            shutil.rmtree(final)  # another process was quicker: its result counts

    def busy(self, step: Step) -> bool:
        """Whether a process is at work on `step` now."""
        if self.remote is not None and self.remote.leases.held(f"{step.task}-{step.key}"):
            return True
        try:
            with self._lock(step.task, step.key, here=True):
                return False
        except Busy:
            return True

    @contextmanager
    def _lock(self, task: str, key: str, *, here: bool = False) -> Iterator[None]:
        """The lock of a step, or Busy; `here` is that of this machine alone."""
        scratch = self.scratch(task, key)
        scratch.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{scratch}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy from None
        away = None if here or self.remote is None else self.remote.leases.holding(f"{task}-{key}")
        try:
            with away or nullcontext(True) as first:
                if not first:
                    raise Busy
                yield
        finally:
            lock.release()

    def damaged(self, steps: Iterable[Step]) -> list[str]:
        """Set aside the results of `steps` that are not what was written, as far as a quick look tells (all small
        files, and the sizes of the large ones); a sentence each."""
        found = []
        for step in (step for step in steps if self.has(step)):
            if why := self.get(step).inspect(small=True):
                self.get(step).set_aside()
                found.append(f"The result {step.task} {step.key} is damaged ({why}): it is computed anew.")
        return found

    def let_go(self, step: Step, keep: Keep) -> int:
        """Delete the files of a finished step that are no part of `keep`; the bytes that were freed. Nothing of one
        that a process is at work on, or of which no more is there."""
        sheds = find(step.call).sheds.get(keep)
        if not sheds or KEEPS.index(self.kept(step)) <= KEEPS.index(keep):
            return 0
        with suppress(Busy), self._lock(step.task, step.key):
            if self.has(step):
                found = self.get(step)
                return found.let_go(keep, [name for pattern in sheds for name in found.names(pattern)])
        return 0

    def entries(self) -> Iterator[tuple[str, str]]:
        """(task, key) of every finished step."""
        if self.remote is not None:
            yield from ((task, key) for task, key, _ in self.remote.entries())
            return
        for task in _names(self.root):
            for key in _names(self.root / task) if not task.startswith(".") else ():
                if os.path.exists(f"{self.root}/{task}/{key}/{SAID}"):  # noqa: PTH110 (of every result)
                    yield task, key

    def held(self) -> dict[str, Held]:
        """What there is of every finished step, by "task-key"."""
        found = {}
        if self.remote is not None:
            sizes = self.remote.sizes()
            for task, key, when in self.remote.entries():
                found[f"{task}-{key}"] = Held(sizes.get(f"{task}-{key}", 0), when, "-", self.remote.kept(task, key))
            return found
        for task, key in self.entries():
            said = self.path(task, key) / SAID
            size = folder_bytes(said.parent)
            found[f"{task}-{key}"] = Held(
                size, said.stat().st_mtime, atomic_files.owner(said), self.artifact(task, key).kept()
            )
        return found

    def age(self, task: str, key: str, now: float) -> float:
        """Seconds since a step was finished; 0 for one that is no longer there."""
        if self.remote is not None:
            return now - self.remote.announced(task, key, now)
        try:
            return now - (self.path(task, key) / SAID).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def bytes(self, task: str, key: str) -> int:
        """Of one result."""
        if self.remote is not None:
            return sum(self.remote.sizes(f"{task}/{key}").values())
        return folder_bytes(self.path(task, key))

    def remove(self, task: str, key: str) -> int:
        """Delete one result; the bytes it freed."""
        folder = self.path(task, key)
        size = self.remote.remove(task, key) if self.remote else folder_bytes(folder)
        (folder / SAID).unlink(missing_ok=True)  # first: from now on it is absent
        shutil.rmtree(folder, ignore_errors=True)
        return size

    def sweep(self, wanted: set[str], *, delete: bool) -> int:
        """Bytes of scratch folders that no process holds and no step of `wanted` ("task-key") may still resume."""
        total = 0
        if self.remote is not None:
            resumed = {name for name in wanted if not self.remote.has(*name.rsplit("-", 1))}
            total = self.remote.sweep(delete=delete)
            total += saves.sweep(self.remote.bucket, self.remote.leases, resumed, delete=delete)
        for scratch in sorted((self.root / SCRATCH).glob("*-*")):
            if not scratch.is_dir() or scratch.name in wanted:
                continue
            with suppress(Busy), self._lock(*scratch.name.split("-", 1), here=True):  # busy: somebody is at work in it
                total += folder_bytes(scratch)
                if delete:
                    shutil.rmtree(scratch, ignore_errors=True)
        for lock in sorted((self.root / SCRATCH).glob("*.lock")) if delete else ():
            task, _, key = lock.stem.partition("-")
            if not self.scratch(task, key).exists():
                with suppress(Busy), self._lock(task, key, here=True):
                    lock.with_suffix(".save").unlink(missing_ok=True)
                    lock.unlink(missing_ok=True)
        return total


def reason(error: OSError) -> str:
    """An OSError in words."""
    words = {
        errno.ENOSPC: "the disk is full",
        errno.EROFS: "the file system is read-only",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOTDIR: "a file stands where a folder is needed",
        errno.EEXIST: "a file stands where a folder is needed",
    }
    return words.get(error.errno or 0, (error.strerror or str(error)).lower())


def _names(folder: Path) -> list[str]:
    """What lies in a folder, in order; nothing where there is no such folder."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 (of every result)
    except (FileNotFoundError, NotADirectoryError):
        return []


def folder_bytes(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def _open_up(folder: Path) -> None:
    """Give all files the mode that `step.json` got by the umask: libraries write some for their owner alone."""
    mode = (folder / SAID).stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o777 != mode:
            path.chmod(mode)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems cannot sync a folder
        if error.errno == errno.ENOSPC:
            raise
    finally:
        os.close(handle)
