"""The plan: cells of every analysis, merged into distinct steps in an order that can be executed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transferscope.engine.step import Step, walk
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

    def todo(self, store: Store) -> list[Step]:
        """The steps still to do: missing ones that a cell asks for, and what those need."""
        missing: list[Step] = []
        seen: dict[str, bool] = {}
        stack = [cell.step for cell in self.cells]
        while stack:
            step = stack.pop()
            if step.key in seen:
                continue
            seen[step.key] = store.has(step)
            if not seen[step.key]:
                missing.append(step)
                stack.extend(step.inputs)
        needed = {step.key for step in missing}
        return [step for step in self.steps if step.key in needed]

    def labels(self) -> dict[str, Mapping[str, Any]]:
        """Labels to know every step by: those of the first cell that wants it, else its own arm and rate."""
        names: dict[str, Mapping[str, Any]] = {cell.step.key: cell.labels for cell in reversed(self.cells)}
        return {step.key: names.get(step.key) or _own_labels(step) for step in self.steps}


def _own_labels(step: Step) -> Mapping[str, Any]:
    """What a step that is no cell (a trial of an lr search, say) says of itself."""
    said = {name: step.params.get(name) for name in ("arm", "lr")}
    return {name: value for name, value in said.items() if isinstance(value, str | float)}
