"""What runs on the nodes of a Ray cluster: a look at the node, and a worker, which is an actor."""

import faulthandler
import importlib.metadata
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from transferscope import __version__
from transferscope.engine.machine import Machine, this_machine
from transferscope.engine.stalled_workers import processor_seconds
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute, settle_in


@dataclass(frozen=True)
class Seen:
    """What a look at a node found: its machine, and the versions of what computes there."""

    machine: Machine
    versions: Mapping[str, str]


def versions() -> dict[str, str]:
    """What must be equal for equal bytes, without importing it."""
    return {"transferscope": __version__, "torch": importlib.metadata.version("torch")}


def look() -> Seen:
    """From the node: see `Seen`."""
    return Seen(this_machine(), versions())


def asked(question: Callable[[], int]) -> int:
    """From a node with GPUs: how many runs should share one."""
    return question()


class Worker:
    """One worker. `do` works while `ask` and `stop` are answered, so that it takes two threads (`max_concurrency`)."""

    def __init__(self, place: str, folder: str, work: Mapping[str, Any]) -> None:
        with suppress(OSError):  # paths of a study may start at the working directory of its run
            os.chdir(folder)
        settle_in(work["options"])
        self._store, self._work = Store.at(place), work
        self._stop = threading.Event()
        self._said: dict[str, Any] | None = None
        self._others = {thread.id for thread in psutil.Process().threads()}  # Ray's own, which are never quite still
        self._at_work, self._before = 0, 0.0

    def ready(self, mark: str) -> bool:
        """Answers once it is there: whether it sees what the driver put into the store."""
        return self._store.sees(mark)

    def do(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Do one step, and say how it ended: an `Outcome` as plain values."""
        self._said, self._at_work = None, threading.get_native_id()
        self._before = self._spent()
        bench = Work(folder=self._store.root, stopping=self._stop.is_set, tell=self._tell, **self._work)
        return asdict(execute(job, self._store, bench))

    def ask(self) -> tuple[dict[str, Any] | None, float]:
        """What the step said last of its progress, if anything since this was asked, and its processor seconds."""
        said, self._said = self._said, None
        return said, self._spent() - self._before

    def _spent(self) -> float:
        """Processor seconds of the thread that works, of those that began after this worker, and of its children."""
        me = psutil.Process()
        own = [t for t in me.threads() if t.id == self._at_work or t.id not in self._others]
        below = processor_seconds(None) - sum(me.cpu_times()[:2])
        return float(sum(t.user_time + t.system_time for t in own) + below)

    def stop(self) -> None:
        """The step under way saves and ends."""
        self._stop.set()

    def leave(self, log: str | None = None) -> None:
        """End this process at once, which Ray alone takes half a minute for while a step is under way; `log` is where
        every thread is told to be before."""
        if log is not None:
            path = Path(log)
            with suppress(OSError):
                path.parent.mkdir(exist_ok=True)
                with path.open("w", encoding="utf-8") as file:
                    faulthandler.dump_traceback(file, all_threads=True)
        os._exit(1)

    def _tell(self, **said: Any) -> None:
        self._said = said
