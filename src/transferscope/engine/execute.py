"""The local executor: a worker process a slot, warm between steps, the longest step first."""

import heapq
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome, serve

Watch = Callable[[str, Mapping[str, Any]], None]  # (event, what): started, progress, ended, elsewhere
PATIENCE = 0.5  # seconds until steps that other processes do are asked after again


class Executor(Protocol):
    """Does the steps of a plan and returns how each ended."""

    def run(self, steps: Iterable[Step], store: Store, watch: Watch) -> dict[str, Outcome]: ...


@dataclass(frozen=True)
class Slots:
    """How a machine is shared: one worker per entry of `devices`, each with `threads` threads."""

    devices: tuple[str, ...]
    threads: int
    cores: int


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    step: Step | None = None


@dataclass
class Local:
    """Worker processes on this machine. `stop()` asks every task to save and end; `kill()` ends them now."""

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
        """Do `steps` (inputs among them or already in `store`). A failure spares every step that does not need it.

        A step that another process of the same store is at work on is passed over for the next one that can start; it
        is taken up again when that process has done it or given it up.
        """
        plan = _Queue(list(steps), store)
        outcomes: dict[str, Outcome] = {}
        idle = list(range(len(self.slots.devices)))
        told = False
        asked = 0.0  # when the steps done elsewhere were last asked after

        def settle(outcome: Outcome) -> None:
            outcomes[outcome.key] = outcome
            watch(
                "ended",
                {"key": outcome.key, "status": outcome.status, "seconds": outcome.seconds, "error": outcome.error},
            )
            for lost in plan.ended(outcome):
                settle(lost)

        try:
            while True:
                if plan.elsewhere and time.monotonic() - asked >= PATIENCE:
                    asked = time.monotonic()
                    for done in plan.again(store):
                        settle(Outcome(done.key, "cached"))
                while idle and not self._stopped and (step := plan.take()):
                    if store.busy(step):
                        plan.leave(step)
                        continue
                    self._give(self._worker(idle.pop(0), store), step)
                    watch("started", {"key": step.key})
                busy = [worker for worker in self._workers if worker.step]
                if not busy and (self._stopped or not plan.elsewhere):
                    break
                if plan.elsewhere:
                    watch("elsewhere", {"key": next(iter(plan.elsewhere)), "steps": len(plan.elsewhere)})
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
                    if ended is None:
                        continue
                    idle.append(self._workers.index(worker))
                    if ended.status == "busy":  # another process was a moment quicker
                        plan.leave(plan.steps[ended.key])
                    else:
                        settle(ended)
        finally:
            self._dismiss()
        for step in plan.left():
            outcomes[step.key] = Outcome(step.key, "interrupted", error="the run was stopped before it began")
        return outcomes

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
        with _environment(environment), _deaf():  # the allocator reads its settings when the process starts
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


class _Queue:
    """Steps that wait for inputs, steps that can start (longest way to the end first), steps that never will.

    `elsewhere` are steps that could start, but that another process is at work on.
    """

    def __init__(self, steps: list[Step], store: Store) -> None:
        self.steps = {step.key: step for step in steps}
        self.needs = {s.key: {i.key for i in s.inputs if i.key in self.steps} for s in steps}
        self.wanted: dict[str, list[str]] = {step.key: [] for step in steps}
        for key, inputs in self.needs.items():
            for one in inputs:
                self.wanted[one].append(key)
        length: dict[str, float] = {}
        for step in reversed(steps):  # dependents come later in the list
            length[step.key] = step.cost + max((length[k] for k in self.wanted[step.key]), default=0.0)
        self.length = length
        self.place = {step.key: number for number, step in enumerate(steps)}
        self.ready: list[tuple[float, int, str]] = []
        self.waiting = set(self.steps)
        self.elsewhere: dict[str, Step] = {}
        for key, inputs in self.needs.items():
            if not inputs:
                self._push(key)

    def _push(self, key: str) -> None:
        heapq.heappush(self.ready, (-self.length[key], self.place[key], key))

    def take(self) -> Step | None:
        while self.ready:
            key = heapq.heappop(self.ready)[2]
            if key in self.waiting:
                self.waiting.discard(key)
                return self.steps[key]
        return None

    def leave(self, step: Step) -> None:
        """Another process is at work on `step`, which `take` gave."""
        self.waiting.add(step.key)
        self.elsewhere[step.key] = step

    def again(self, store: Store) -> list[Step]:
        """Look after the steps left to others: those that are done now; those that were given up can start here."""
        done = []
        for key, step in list(self.elsewhere.items()):
            if store.has(step):
                done.append(step)
                self.waiting.discard(key)
            elif store.busy(step):
                continue
            else:
                self._push(key)
            del self.elsewhere[key]
        return done

    def ended(self, outcome: Outcome) -> list[Outcome]:
        """Note an outcome: free what waited for it, or return the dependents that are lost with it."""
        lost = []
        for key in self.wanted[outcome.key]:
            if outcome.status in ("done", "cached"):
                self.needs[key].discard(outcome.key)
                if not self.needs[key]:
                    self._push(key)
            elif key in self.waiting and outcome.status != "interrupted":
                self.waiting.discard(key)
                lost.append(Outcome(key, "skipped", error=f"not run: it needs a step that failed ({outcome.error})"))
        return lost

    def left(self) -> list[Step]:
        return [step for key, step in self.steps.items() if key in self.waiting]


def worker_environment(threads: int) -> dict[str, str]:
    """What every worker process starts with: its share of threads, and an allocator that keeps large blocks.

    Freed activations stay mapped (no page-fault storm at the next batch) and large blocks may use huge pages.
    Spinning OpenMP threads starve other workers of the core, hence the passive wait.
    """
    ours = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
        "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }
    return {name: os.environ.get(name, value) if name == "GLIBC_TUNABLES" else value for name, value in ours.items()}


@contextmanager
def _deaf() -> Any:
    """Block Ctrl-C and SIGTERM: a process started inside inherits that, and is not shot down while it still imports."""
    resource_tracker.ensure_running()  # otherwise the first start launches it, which unblocks the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(values: Mapping[str, str]) -> Any:
    kept = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
