"""The queue: which step may start next, and what every executor has to note when one ends."""

import heapq
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome

Watch = Callable[[str, Mapping[str, Any]], None]  # (event, what): started, progress, ended, elsewhere
Known = Callable[[Step], Outcome | None]
PATIENCE = 0.5  # seconds until steps that other processes do are asked after again


class Course:
    """The course of one run, whoever does the steps: `next` gives one that can start, `end` notes how it went.

    A step that another process of the same store is at work on is passed over for the next one that can start; it is
    taken up again when that process has done it or given it up. A failure spares every step that does not need it.
    `known` tells how a step ended that another worker of this run has tried.
    """

    def __init__(self, steps: Iterable[Step], store: Store, watch: Watch, known: Known = lambda _: None) -> None:
        self._queue, self._store, self._watch = Queue(list(steps)), store, watch
        self._outcomes: dict[str, Outcome] = {}
        self._known = known
        self._asked = 0.0  # when the steps done elsewhere were last asked after

    @property
    def waits(self) -> bool:
        """Whether a step is left to another process for now."""
        return bool(self._queue.elsewhere)

    @property
    def ended(self) -> Mapping[str, Outcome]:
        """How steps ended so far, by key."""
        return self._outcomes

    def next(self) -> Step | None:
        """A step to begin now, told to the watch; None where none is ready."""
        self._ask()
        while step := self._queue.take():
            if (ended := self._known(step)) is not None:
                self.end(ended)
            elif not self._store.busy(step):
                self._watch("started", {"key": step.key})
                return step
            else:
                self._queue.leave(step)
        if self.waits:
            self._watch("elsewhere", {"key": next(iter(self._queue.elsewhere)), "steps": len(self._queue.elsewhere)})
        return None

    def end(self, outcome: Outcome) -> None:
        """Note how a step ended, and what is lost with it."""
        if outcome.status == "busy":  # another process was a moment quicker
            self._queue.leave(self._queue.steps[outcome.key])
            return
        self._outcomes[outcome.key] = outcome
        if outcome.status in ("done", "cached"):
            self._store.note(self._queue.steps[outcome.key])
        said = {"key": outcome.key, "status": outcome.status, "seconds": outcome.seconds, "error": outcome.error}
        self._watch("ended", said)
        for lost in self._queue.ended(outcome):
            self.end(lost)

    def outcomes(self) -> dict[str, Outcome]:
        """How every step ended; those that were never begun are "interrupted"."""
        why = "the run was stopped before it began"
        left = {step.key: Outcome(step.key, "interrupted", error=why) for step in self._queue.left()}
        return self._outcomes | left

    def _ask(self) -> None:
        if self.waits and time.monotonic() - self._asked >= PATIENCE:
            self._asked = time.monotonic()
            for done in self._queue.again(self._store):
                self.end(Outcome(done.key, "cached"))


class Queue:
    """Steps that wait for inputs, steps that can start (longest way to the end first), steps that never will.

    `elsewhere` are steps that could start, but that another process is at work on.
    """

    def __init__(self, steps: list[Step]) -> None:
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
            if store.has(step) and store.keeps(step, "all"):
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
        self.waiting.discard(outcome.key)
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
