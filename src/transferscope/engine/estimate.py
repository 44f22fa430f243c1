"""How long and how large the steps to do will be, judged by those already done."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from transferscope.engine.step import Step
from transferscope.engine.store import Store, folder_bytes

SAMPLE = 200  # results read at most: enough for a median, little enough for a second


@dataclass(frozen=True)
class Estimate:
    """Seconds of work (of one slot) and bytes on disk; None when nothing comparable has been done."""

    seconds: float | None
    bytes: int | None


class Past:
    """Medians of seconds per cost and of bytes, by task and by what the task worked on."""

    def __init__(self, store: Store) -> None:
        self._rates: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        self._bytes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for task, key in list(store.entries())[-SAMPLE:]:
            artifact = store.artifact(task, key)
            said = artifact.said
            size = folder_bytes(artifact.path)
            for kind in _kinds(task, said["params"]):
                self._rates[kind].append(said["seconds"] / max(said["cost"], 1e-9))
                self._bytes[kind].append(size)

    def of(self, step: Step) -> Estimate:
        """The estimate of one step from the most similar finished ones."""
        for kind in _kinds(step.task, step.recipe["params"]):
            if kind in self._rates:
                return Estimate(median(self._rates[kind]) * step.cost, int(median(self._bytes[kind])))
        return Estimate(None, None)

    def total(self, steps: Iterable[Step], slots: int) -> Estimate:
        """Wall seconds with `slots` workers and bytes of all `steps`; None as soon as one step is without precedent."""
        found = [self.of(step) for step in steps]
        if any(e.seconds is None or e.bytes is None for e in found):
            return Estimate(None, None)
        seconds = [e.seconds or 0.0 for e in found]
        return Estimate(max(sum(seconds) / slots, max(seconds, default=0.0)), sum(e.bytes or 0 for e in found))


def _kinds(task: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """From the most to the least similar: same data and network, same network, same task."""
    data, network = str(params.get("data", params.get("source"))), str(params.get("network"))
    return [(task, data, network), (task, network), (task,)]
