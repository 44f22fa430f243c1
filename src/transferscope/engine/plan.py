"""The plan: cells of every analysis, merged into distinct steps in an order that can be executed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transferscope.engine.step import Keep, Step, find, walk
from transferscope.engine.store import Store


@dataclass(frozen=True)
class Cell:
    """One step placed in one analysis's table by its labels (target, arm, seed, ...)."""

    analysis: str
    labels: Mapping[str, Any]
    step: Step


@dataclass(frozen=True)
class Plan:
    """Cells, and the distinct steps behind them, inputs first. Steps with equal keys are one step."""

    cells: tuple[Cell, ...]
    steps: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(walk([cell.step for cell in self.cells])))

    @staticmethod
    def of(cells: Iterable[Cell]) -> "Plan":
        return Plan(tuple(cells))

    def todo(self, store: Store, *, whole: bool = False) -> list[Step]:
        """The steps still to do: missing ones that a cell asks for, and what those need.

        A result of which files were let go is missing where they are read, and with `whole` in any case.
        """
        needed: set[str] = set()
        seen: set[tuple[str, Keep]] = set()
        stack: list[tuple[Step, Keep]] = [(cell.step, "findings") for cell in self.cells]  # their rows are read
        stack += [(step, "all") for step in self.steps if whole and store.has(step)]
        while stack:
            step, keep = stack.pop()
            if step.key in needed or (step.key, keep) in seen:
                continue
            seen.add((step.key, keep))
            if not store.has(step) or not store.keeps(step, keep):
                needed.add(step.key)
                if step.inputs:
                    reads = find(step.call).needs(step.params)
                    stack.extend((one, reads) for one in step.inputs)
        return [step for step in self.steps if step.key in needed]

    def labels(self) -> dict[str, Mapping[str, Any]]:
        """Labels to know every step by: those of the first cell that wants it, else its own arm and rate; where several
        steps of a task have the same, with the cell's analysis, or the step's target and seed."""
        first = {cell.step.key: cell for cell in reversed(self.cells)}
        plain: dict[str, Mapping[str, Any]] = {}
        for step in self.steps:
            cell = first.get(step.key)
            plain[step.key] = (cell.labels if cell else {}) or _own_labels(step)
        alike = Counter((step.task, repr(plain[step.key])) for step in self.steps if plain[step.key])
        seeds = {cell.labels.get("seed") for cell in self.cells}
        found = dict(plain)
        for step in self.steps:
            if alike[step.task, repr(plain[step.key])] > 1:
                cell, data = first.get(step.key), step.params.get("data")
                of_data = first.get(data.key) if isinstance(data, Step) else None
                seed = step.params.get("seed")  # of a run that only other steps read it may be derived from a cell's
                own = {"target": of_data and of_data.labels.get("target")}
                own["seed" if seed in seeds else "derived_seed"] = seed
                more = {name: value for name, value in own.items() if value is not None}
                found[step.key] = {**plain[step.key], **({"analysis": cell.analysis} if cell else more)}
        return found


def _own_labels(step: Step) -> Mapping[str, Any]:
    """What a step that is no cell (a trial of an lr search, say) says of itself."""
    said = {name: step.params.get(name) for name in ("arm", "lr")}
    return {name: value for name, value in said.items() if isinstance(value, str | float)}
