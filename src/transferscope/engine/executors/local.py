"""local: worker processes on this machine, one a slot, warm between steps, the longest step first."""

import multiprocessing
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from transferscope.engine.environment import set_to, worker_environment
from transferscope.engine.executors import Slots
from transferscope.engine.queue import Course, Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome, serve


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    step: Step | None = None


@dataclass
class Local:
    """One worker process per entry of `slots.devices`."""

    slots: Slots
    options: Mapping[str, Any] = field(default_factory=dict)
    _stopped: bool = field(default=False, init=False)
    _workers: list[_Worker] = field(default_factory=list, init=False)

    def stop(self) -> None:
        """Safe in a signal handler: the loop passes the word on."""
        self._stopped = True

    def kill(self) -> None:
        self._stopped = True
        for worker in self._workers:
            worker.process.kill()

    def run(self, steps: Iterable[Step], store: Store, watch: Watch = lambda *_: None) -> dict[str, Outcome]:
        """Do `steps` (inputs among them or already in `store`)."""
        course = Course(steps, store, watch)
        idle = list(range(len(self.slots.devices)))
        told = False
        try:
            while True:
                while idle and not self._stopped and (step := course.next()):
                    self._give(self._worker(idle.pop(0), store), step)
                busy = [worker for worker in self._workers if worker.step]
                if not busy and (self._stopped or not course.waits):
                    break
                if self._stopped and not told:
                    told = True
                    for worker in busy:
                        with suppress(OSError):
                            worker.pipe.send("stop")
                if not busy:
                    time.sleep(0.2)
                for handle in wait([h for w in busy for h in (w.pipe, w.process.sentinel)], timeout=0.2):
                    worker = next(w for w in busy if handle in (w.pipe, w.process.sentinel))
                    ended = self._hear(worker, watch)
                    if ended is not None:
                        idle.append(self._workers.index(worker))
                        course.end(ended)
        finally:
            self._dismiss()
        return course.outcomes()

    def _worker(self, slot: int, store: Store) -> _Worker:
        """The worker of a slot, started when first needed or when its predecessor died."""
        while len(self._workers) <= slot:
            self._workers.append(self._start(len(self._workers), store))
        if not self._workers[slot].process.is_alive():
            self._workers[slot] = self._start(slot, store)
        return self._workers[slot]

    def _start(self, slot: int, store: Store) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        work = {
            "cores": self.slots.cores,
            "threads": self.slots.threads,
            "device": self.slots.devices[slot],
            "options": dict(self.options),
        }
        environment = worker_environment(self.slots.threads)
        process = context.Process(target=serve, args=(theirs, str(store.root), work, environment))
        with set_to(environment), _deaf():  # the allocator reads its settings when the process starts
            process.start()
        theirs.close()
        return _Worker(process, ours)

    @staticmethod
    def _give(worker: _Worker, step: Step) -> None:
        worker.step = step
        with suppress(OSError):  # a worker that just died is noticed by its sentinel
            worker.pipe.send(step.recipe)

    @staticmethod
    def _hear(worker: _Worker, watch: Watch) -> Outcome | None:
        """Read what a worker has to say; the outcome when its step is over, by word or by death."""
        step = worker.step
        if step is None:
            return None
        try:
            while worker.pipe.poll():
                kind, what = worker.pipe.recv()
                if kind == "ended":
                    worker.step = None
                    return Outcome(**what)
                watch(kind, what)
        except (EOFError, OSError):
            worker.process.join(timeout=5)
        if worker.process.is_alive():
            return None
        worker.step = None
        code = worker.process.exitcode
        why = "killed, perhaps because memory ran out" if code == -9 else f"exit code {code}"
        return Outcome(
            step.key, "failed", error=f"The worker process died ({why}); run again, perhaps with fewer slots."
        )

    def _dismiss(self) -> None:
        """Close the pipes, which ends idle workers; wait for them a little, then insist."""
        for worker in self._workers:
            worker.pipe.close()
        deadline = time.monotonic() + 20
        for worker in self._workers:
            worker.process.join(timeout=max(0.1, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


@contextmanager
def _deaf() -> Any:
    """Block Ctrl-C and SIGTERM: a process started inside inherits that, and is not shot down while it still imports."""
    resource_tracker.ensure_running()  # otherwise the first start launches it, which unblocks the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


executor = Local
