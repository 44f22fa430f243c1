"""One worker: takes jobs, does the steps, returns outcomes. Results travel through the store, never through here."""

import errno
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from transferscope.atomic_files import sweep, write_json
from transferscope.engine import integrity
from transferscope.engine.artifact import ROWS, SAID, own_digest
from transferscope.engine.environment import compiled_folder
from transferscope.engine.machine import this_machine
from transferscope.engine.step import decode, find
from transferscope.engine.store import Busy, Store, reason
from transferscope.engine.task_context import Interrupted, Lost, Work
from transferscope.errors import UserError, legible
from transferscope.progress import silent
from transferscope.registry import at_home

FULL = os.strerror(errno.ENOSPC)
TAIL = 1 << 14  # bytes of its log that are kept of a step that failed
Status = Literal["done", "cached", "failed", "skipped", "interrupted", "busy"]


@dataclass(frozen=True)
class Outcome:
    """How a step ended. `error` is one sentence; the traceback, if any, is in the store's ``failures`` folder.

    "busy": it did not begin, for another process is at work on it.
    """

    key: str
    status: Status
    seconds: float = 0.0
    error: str = ""


def execute(job: Mapping[str, Any], store: Store, work: Work) -> Outcome:
    """Do one step: read its inputs from `store`, run the task in a scratch folder, rename. Never raises Exception.

    A task that changes the working directory, as somebody's code may, or torch's threads changes them for itself alone.
    """
    began = time.perf_counter()
    name, key = job["task"], job["key"]
    store = store.absolute()

    def ended(status: Status, error: str = "") -> Outcome:
        return Outcome(key, status, time.perf_counter() - began, error)

    failure = store.root / "failures" / f"{name}-{key}.txt"
    printed: list[str] = []
    try:
        with at_home():
            task = find(job["call"])
        with store.writing(name, key, resumes=task.resumes) as scratch:
            if scratch is None:
                return ended("cached")
            cpu = time.process_time()
            params = decode(job["params"], store.artifact)
            with (
                _ending(scratch / "log.txt", printed),
                _logged(scratch / "log.txt"),
                silent(),
                at_home(),
                _threads_as_found(),
            ):
                bench = replace(work, folder=scratch, memo=store.root / "memo", share=partial(store.share, name, key))
                rows = task(**params, work=bench)
            (scratch / ROWS).write_text(_rows_text(rows), encoding="utf-8")
            sweep(scratch)
            said = {
                "task": name,
                "version": job["version"],
                "key": key,
                "params": job["params"],
                "passes": job["passes"],
                "seconds": round(time.perf_counter() - began, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "threads": work.threads,
                "device": work.device,
                "machine": this_machine().as_dict(),
                "versions": _versions(),
                "files": integrity.written(scratch),
            }
            write_json(scratch / SAID, {**said, "digest": own_digest(said)}, indent=1)
        failure.unlink(missing_ok=True)
        return ended("done")
    except Busy:
        return ended("busy")
    except SystemExit as error:  # of code that is not ours
        _keep(failure, printed)
        return ended("failed", f"The code that was run called sys.exit({error.code!r}) (traceback in {failure}).")
    except Interrupted:
        return ended("interrupted", "stopped before it was done; run again to go on")
    except UserError as error:
        if isinstance(error, integrity.LetGo):  # which no plan foresaw: the next round computes it
            error.recall()
        _keep(failure, printed, sentence=True)
        return ended("failed", str(error))
    except Lost as error:
        _keep(failure, printed)
        return ended("failed", str(error))
    except OSError as error:
        _keep(failure, printed)
        return ended("failed", f"{_plain(error)} [{name}]")
    except Exception as error:
        _keep(failure, printed)
        if FULL in str(error):  # from libraries that have errors of their own
            return ended("failed", f"Could not write {store.root}: the disk is full. [{name}]")
        why = legible(" ".join(str(error).split())[:300])
        return ended("failed", f"{type(error).__name__}: {why} (traceback in {failure})")


def _plain(error: OSError) -> str:
    where = f" {error.filename}" if error.filename else ""
    return f"Could not read or write{where}: {reason(error)}."


def _keep(failure: Path, printed: Sequence[str], *, sentence: bool = False) -> None:
    """Keep what is known of a failure: its traceback, unless a `sentence` says all, and what the step printed last."""
    said = "" if sentence else traceback.format_exc()
    said += "".join(f"\n--- what it printed last ---\n{text}\n" for text in printed)
    try:
        if not said:
            failure.unlink(missing_ok=True)  # that of an earlier run, of something else
            return
        failure.parent.mkdir(exist_ok=True)
        failure.write_text(said, encoding="utf-8", errors="backslashreplace")
    except OSError:
        print(said, file=sys.stderr)


@contextmanager
def _ending(log: Path, printed: list[str]) -> Iterator[None]:
    """Add to `printed` the end of the log of a step that raises, whose folder is removed."""
    try:
        yield
    except Exception:
        with suppress(OSError), log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            printed += [text] if (text := file.read().decode("utf-8", errors="replace").strip()) else []
        raise


def _rows_text(rows: Any) -> str:
    """Rows as JSON, one a line, so that equal tables are equal bytes and a person can read them."""
    lines = ",\n".join(json.dumps(row, allow_nan=False, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def _versions() -> dict[str, str]:
    """Versions of the libraries that are loaded and can change a number."""
    names = ("transferscope", "torch", "torchvision", "timm", "numpy", "PIL", "safetensors")
    found = {"python": sys.version.split()[0]}
    for name in names:
        module = sys.modules.get(name)
        if module is not None and hasattr(module, "__version__"):
            found[name] = str(module.__version__)
    return found


@contextmanager
def _threads_as_found() -> Iterator[None]:
    torch = sys.modules.get("torch")  # of a notebook's, or of a test's own
    threads = torch.get_num_threads() if torch else 0
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)


@contextmanager
def _logged(path: Path) -> Any:
    """Send what the task and its libraries print to `path` (only in worker processes, which own their outputs)."""
    if not _OWNS_OUTPUT:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in zip((1, 2), kept, strict=True):
            os.dup2(handle, number)
            os.close(handle)


_OWNS_OUTPUT = False


def settle_in(options: Mapping[str, Any]) -> None:
    """What a process does that is a worker and nothing else, before its first step."""
    global _OWNS_OUTPUT
    _OWNS_OUTPUT = True
    if options.get("compile"):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(compiled_folder()))
    faulthandler.enable()  # a crash leaves its stack in the step's log


def serve(pipe: Connection, place: str, work: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """A worker process's whole life. Messages in: jobs, "stop"; a closed pipe means the parent is gone."""
    os.environ.update(environment)  # before torch is imported: OpenMP reads its threads then
    settle_in(work["options"])
    faulthandler.register(signal.SIGUSR1)  # and so does a step that no longer moves, when it is asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a Ctrl-C reaches the whole group
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    jobs: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        while True:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                stop.set()
                jobs.put(None)
                return
            if message == "stop":
                stop.set()
            else:
                jobs.put(message)

    threading.Thread(target=listen, daemon=True).start()
    store = Store.at(place).absolute()
    while (job := jobs.get()) is not None:
        key = job["key"]
        bench = Work(folder=store.root, stopping=stop.is_set, tell=_teller(pipe, key), **work)
        outcome = execute(job, store, bench)
        try:
            pipe.send(("ended", asdict(outcome)))
        except OSError:
            return


def _teller(pipe: Connection, key: str) -> Callable[..., None]:
    """Progress to the parent, at most ten times a second."""
    last = 0.0

    def tell(**said: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 0.1:
            last = now
            try:
                pipe.send(("progress", {"key": key, **said}))
            except OSError:  # the parent is gone; the listener ends this worker
                return

    return tell
