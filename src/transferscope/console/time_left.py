"""How much longer a run will take: what is left of every step, by what this run has seen, else by the forecast."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from transferscope.engine.step import Step
from transferscope.forecast import Forecast

SEEN = 0.02  # share of a running step from which its seconds tell something ...
MOVED = 10.0  # ... or so many seconds of it: 2% of a day's training are half an hour


@dataclass
class Running:
    """When a step began, when it was first heard to move and how far it was then (what comes before is start-up), and
    the share that is done."""

    began: float
    moved: float | None = None
    first: float = 0.0
    share: float = 0.0


class TimeLeft:
    """Hears of steps that start, get on and end; `seconds` says how many are left with `slots` workers.

    A task that this run has seen is judged by its own pace here. Others by the forecast, corrected by how this run
    compares with it so far; without one by their work in passes, at the pace of what was seen.
    """

    def __init__(
        self, todo: Iterable[Step], forecast: Forecast, slots: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._left = {step.key: step for step in todo}
        self._passes = {key: forecast.passes(step) for key, step in self._left.items()}
        self._known = {key: forecast.of(step).seconds for key, step in self._left.items()}
        self._decodes = {key for key, step in self._left.items() if forecast.decodes(step)}
        self._tasks = {key: step.task for key, step in self._left.items()}
        self._running: dict[str, Running] = {}
        self._ran: list[tuple[str, float]] = []
        self._slots, self._clock = slots, clock

    def started(self, key: str) -> None:
        self._running[key] = Running(self._clock())

    def progress(self, key: str, share: float) -> None:
        of = self._running[key]
        of.share = share
        if of.moved is None and share > 0:
            of.moved, of.first = self._clock(), share

    def ended(self, key: str, seconds: float | None) -> None:
        """`seconds` it took, or None where it was found, failed or skipped: that tells nothing of others."""
        self._running.pop(key, None)
        self._left.pop(key, None)
        if seconds is not None:
            self._ran.append((key, seconds))

    def seconds(self) -> float | None:
        """Wall seconds until all steps are done; None while nothing tells of one of them."""
        now, seen = self._clock(), self._seen()
        spent: dict[str, list[float]] = {}
        compared, predicted, comparable, work = 0.0, 0.0, 0.0, 0.0
        for key, seconds, share in seen:
            total = spent.setdefault(self._tasks[key], [0.0, 0.0])
            total[0] += seconds
            total[1] += share * self._passes[key]
            if key in self._decodes:
                continue
            comparable, work = comparable + seconds, work + share * self._passes[key]
            if (known := self._known[key]) is not None:
                compared, predicted = compared + seconds, predicted + share * known
        drift = compared / predicted if predicted else 1.0
        left = []
        for key, step in self._left.items():
            known = self._known[key]
            if step.task in spent:
                seconds, done = spent[step.task]
                whole = seconds / max(done, 1e-9) * self._passes[key]
            elif known is not None:
                whole = known * (1.0 if key in self._decodes else drift)
            elif work:
                whole = comparable / work * self._passes[key]
            else:
                return None
            of = self._running.get(key, Running(now))
            left.append(whole * (1 - of.share) if of.share else max(0.0, whole - (now - of.began)))
        return max(sum(left) / self._slots, max(left, default=0.0))

    def _seen(self) -> list[tuple[str, float, float]]:
        """Key, seconds and share done of every step that tells something."""
        now = self._clock()
        running = [
            (key, now - of.moved, of.share - of.first)
            for key, of in self._running.items()
            if of.moved is not None and (of.share - of.first > SEEN or (of.share > of.first and now - of.moved > MOVED))
        ]
        return [(key, seconds, 1.0) for key, seconds in self._ran] + running
