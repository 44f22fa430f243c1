"""The schedule that steps of known lengths will have with so many workers, as the executors would deal them out."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transferscope.engine.queue import Queue
from transferscope.engine.step import Step
from transferscope.engine.worker import Outcome


@dataclass(frozen=True)
class Schedule:
    """Seconds from the first step to the last end (`makespan`) and of all steps together (`work`) with `workers`;
    `chain` are the steps, each an input of the next, that take longest one after the other: `critical` seconds."""

    workers: int
    makespan: float
    work: float
    critical: float
    chain: tuple[Step, ...]

    @property
    def utilisation(self) -> float:
        """The share of their time in which workers do steps; 1 where there is nothing to do."""
        return self.work / (self.workers * self.makespan) if self.makespan else 1.0

    @property
    def is_bound_by_chain(self) -> bool:
        """Whether more workers would hardly help."""
        return self.makespan <= 1.1 * self.critical


def simulate(steps: Sequence[Step], seconds: Mapping[str, float], workers: int, start: float = 0.0) -> Schedule:
    """The schedule of `steps`, inputs first, that take `seconds` by their keys; `start` passes before a worker's first.

    It is greedy, as the executors are: what can start does, longest way to the end first (Graham's list scheduling). So
    it ends within twice the best, and in rare plans later with a worker more (Graham 1969, "Bounds on multiprocessing
    timing anomalies").
    """
    queue, now, fresh = Queue(list(steps)), 0.0, workers
    free, running = 0, list[tuple[float, int, str]]()
    while True:
        while (free or fresh) and (step := queue.take()):
            begin = now if free else now + start
            free, fresh = (free - 1, fresh) if free else (free, fresh - 1)
            heapq.heappush(running, (begin + seconds[step.key], queue.place[step.key], step.key))
        if not running:
            break
        now = running[0][0]
        while running and running[0][0] == now:
            queue.ended(Outcome(heapq.heappop(running)[2], "done"))
            free += 1
    chain = longest(steps, seconds)
    return Schedule(workers, now, sum(seconds[s.key] for s in steps), sum(seconds[s.key] for s in chain), chain)


def longest(steps: Sequence[Step], seconds: Mapping[str, float]) -> tuple[Step, ...]:
    """The chain of steps, each an input of the next, that takes most seconds."""
    total: dict[str, float] = {}
    before: dict[str, Step | None] = {}
    for step in steps:
        inputs = [one for one in step.inputs if one.key in total]
        last = max(inputs, key=lambda one: total[one.key], default=None)
        total[step.key], before[step.key] = seconds[step.key] + (total[last.key] if last else 0.0), last
    chain: list[Step] = []
    at = max(steps, key=lambda one: total[one.key], default=None)
    while at is not None:
        chain.append(at)
        at = before[at.key]
    return tuple(reversed(chain))
