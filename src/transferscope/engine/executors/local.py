"""local: worker processes on this machine, one a slot, warm between steps, the longest step first.

A step whose worker dies, or stands still for `options["patience"]` seconds, is tried once more by a fresh worker.
"""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from transferscope.engine.environment import worker_environment
from transferscope.engine.executors import Slots
from transferscope.engine.processes import cause, starting
from transferscope.engine.queue import Course, Known, Watch
from transferscope.engine.stalled_workers import Moves, processor_seconds
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome, serve


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    step: Step | None = None
    moves: Moves = field(default_factory=Moves)
    stood: float = 0.0  # seconds without a move after which it was ended
    log: Path | None = None  # where it then stood

    def stands(self, patience: float | None) -> bool:
        """Whether it has a step, and neither said anything nor computed for so many seconds."""
        return self.step is not None and self.moves.stopped(patience, lambda: processor_seconds(self.process.pid))


@dataclass
class Local:
    """One worker process per entry of `slots.devices`; `known` as of `queue.Course`."""

    slots: Slots
    options: Mapping[str, Any] = field(default_factory=dict)
    known: Known = lambda _: None
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
        course = Course(steps, store, watch, self.known)
        idle = list(range(len(self.slots.devices)))
        stopping = False
        again: set[str] = set()  # steps that were tried once more
        try:
            while True:
                while idle and not self._stopped and (step := course.next()):
                    self._give(self._worker(idle.pop(0), store), step)
                busy = [worker for worker in self._workers if worker.step]
                if not busy and (self._stopped or not course.waits):
                    break
                if self._stopped and not stopping:
                    stopping = True
                    for worker in busy:
                        with suppress(OSError):
                            worker.pipe.send("stop")
                if not busy:
                    time.sleep(0.2)
                for handle in wait([h for w in busy for h in (w.pipe, w.process.sentinel)], timeout=0.2):
                    worker = next(w for w in busy if handle in (w.pipe, w.process.sentinel))
                    step, ended = worker.step, self._hear(worker, watch)
                    if step is None or ended is None:
                        continue
                    slot = self._workers.index(worker)
                    if worker.process.is_alive() or step.key in again or self._stopped:
                        idle.append(slot)
                        course.end(ended)
                    else:
                        again.add(step.key)
                        self._give(self._worker(slot, store), step)
                for worker in busy:
                    if worker.stands(self.options.get("patience")):
                        self._end(worker, store)
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
            "processes": self.slots.processes,
            "options": dict(self.options),
        }
        environment = worker_environment(self.slots.threads)
        process = context.Process(target=serve, args=(theirs, store.place, work, environment))
        with starting(environment):
            process.start()
        theirs.close()
        return _Worker(process, ours)

    @staticmethod
    def _give(worker: _Worker, step: Step) -> None:
        worker.step, worker.moves = step, Moves(spent=processor_seconds(worker.process.pid))
        with suppress(OSError):  # a worker that just died is noticed by its sentinel
            worker.pipe.send(step.job)

    @staticmethod
    def _hear(worker: _Worker, watch: Watch) -> Outcome | None:
        """Read what a worker has to say; the outcome when its step is over, by word or by death."""
        step = worker.step
        if step is None:
            return None
        try:
            while worker.pipe.poll():
                kind, what = worker.pipe.recv()
                worker.moves.heard()
                if kind == "ended":
                    worker.step = None
                    return Outcome(**what)
                watch(kind, what)
        except (EOFError, OSError):
            worker.process.join(timeout=5)
        if worker.process.is_alive():
            return None
        worker.step = None
        if worker.stood:
            why = f"The step did not move for {worker.stood:g} s, twice, and was ended: see {worker.log}."
        else:
            died = cause(worker.process.exitcode)
            why = f"The worker process died twice ({died}); run again, perhaps with fewer slots."
        return Outcome(step.key, "failed", error=why)

    def _end(self, worker: _Worker, store: Store) -> None:
        """Have a worker that stands still write where it stands, keep that, and kill it."""
        assert worker.step is not None
        with suppress(OSError, ProcessLookupError):
            os.kill(worker.process.pid or 0, signal.SIGUSR1)
            time.sleep(0.5)
        worker.stood = float(self.options["patience"])
        worker.log = store.root / "failures" / f"{worker.step.task}-{worker.step.key}.txt"
        with suppress(OSError):
            worker.log.parent.mkdir(exist_ok=True)
            shutil.copyfile(store.scratch(worker.step.task, worker.step.key) / "log.txt", worker.log)
        worker.process.kill()
        worker.process.join(timeout=5)

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


executor = Local
