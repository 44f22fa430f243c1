"""How long and how large the steps to do will be, judged by those already done."""

from collections import defaultdict
from dataclasses import dataclass
from fnmatch import fnmatch
from statistics import median
from typing import Any

from transferscope.engine.step import Keep, Step, encoded, find
from transferscope.engine.store import Store
from transferscope.errors import UserError

SIMILAR = ("data", "source", "network")  # parameters that tell what a step works on
SAMPLE = 200  # results read at most: enough for a median, little enough for a second


@dataclass(frozen=True)
class Estimate:
    """Seconds of work (of one slot) and bytes on disk; None when nothing comparable has been done."""

    seconds: float | None
    bytes: int | None


class Past:
    """Medians of seconds per cost and of bytes, by task and by what the task worked on.

    Results of earlier versions, which measured the cost of every task in a unit of its own, tell their bytes only.
    """

    def __init__(self, store: Store) -> None:
        self._rates: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        self._bytes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        self._files: dict[tuple[Any, ...], list[dict[str, int]]] = defaultdict(list)
        self._spent: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._alike: dict[tuple[Any, ...], tuple[float | None, int | None]] = {}  # of steps that were asked about
        self._shares: dict[tuple[Any, ...], float | None] = {}
        known = list(store.entries())[-SAMPLE:]
        store.bring(known)
        for task, key in known:
            artifact = store.artifact(task, key)
            try:
                said = artifact.said
            except (OSError, UserError):  # another process removed it, or it is damaged: others tell enough
                continue
            size, cost = artifact.bytes, said.get("passes")
            files = {name: int(count) for name, (count, _) in said.get("files", {}).items()}
            for kind in _kinds(task, said["params"]):
                self._bytes[kind].append(size)
                self._files[kind].append(files)
                if cost is not None:
                    self._rates[kind].append(said["seconds"] / max(cost, 1e-9))
            if cost is not None and "network" in said["params"]:
                self._spent[str(said["params"]["network"])].append((said["seconds"], cost))

    def of(self, step: Step) -> Estimate:
        """The estimate of one step from the most similar finished ones."""
        kinds = _kinds_of(step)
        if kinds[0] not in self._alike:
            rate = next((median(self._rates[kind]) for kind in kinds if kind in self._rates), None)
            size = next((int(median(self._bytes[kind])) for kind in kinds if kind in self._bytes), None)
            self._alike[kinds[0]] = rate, size
        rate, size = self._alike[kinds[0]]
        return Estimate(None if rate is None else rate * step.cost, size)

    def share(self, step: Step, keep: Keep) -> float | None:
        """The share of the bytes of a step that `keep` leaves, by the most similar finished ones."""
        kinds = _kinds_of(step)
        asked = (step.call, keep, *kinds[0])
        if asked not in self._shares:
            sheds = find(step.call).sheds.get(keep, ())
            found = next((self._files[kind] for kind in kinds if any(self._files.get(kind, ()))), [])
            total = sum(sum(files.values()) for files in found)
            gone = sum(size for files in found for name, size in files.items() if any(fnmatch(name, s) for s in sheds))
            self._shares[asked] = 1 - gone / total if total else None
        return self._shares[asked]

    def seconds_per_cost(self, network: str) -> float | None:
        """Seconds per cost of all finished steps that name a network; None when there are none."""
        spent = self._spent.get(network)
        return None if not spent else sum(seconds for seconds, _ in spent) / max(sum(cost for _, cost in spent), 1e-9)


def _kinds_of(step: Step) -> list[tuple[Any, ...]]:
    return _kinds(step.task, {name: encoded(step.params[name]) for name in SIMILAR if name in step.params})


def _kinds(task: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """From the most to the least similar: same data and network, same network, same task."""
    data, network = str(params.get("data", params.get("source"))), str(params.get("network"))
    return [(task, data, network), (task, network), (task,)]
