"""choose_lr, choose_fields: the learning rate, or the fields of the recipe, whose trial did best on validation."""

from collections.abc import Mapping, Sequence
from typing import Any

from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.task_context import Work


@task("choose_lr", version=1, needs="findings")
def choose_lr(*, trials: list[tuple[float, Artifact]], work: Work) -> list[dict[str, Any]]:
    """Rows of (lr, val_metric, chosen): the best final val metric wins, the smaller rate among equals.

    Scores are those of all val images. Where a metric is undefined (an AUC on a val split of one class) the lowest val
    loss wins instead.
    """
    return _judged([({"lr": lr}, run) for lr, run in trials])


@task("choose_fields", version=1, needs="findings")
def choose_fields(*, trials: list[tuple[dict[str, Any], Artifact]], work: Work) -> list[dict[str, Any]]:
    """Rows of (lr, every other field searched, val_metric, chosen), by the rule of `choose_lr`.

    A trial is what its run had of `lr` and the other fields; among equals of one rate the one listed first wins.
    """
    return _judged(trials)


def _judged(trials: Sequence[tuple[dict[str, Any], Artifact]]) -> list[dict[str, Any]]:
    last = [(fields, *_of_all(run.rows[-1])) for fields, run in trials]
    undefined = any(metric is None for _, _, metric in last)
    scores = [-loss if undefined else metric for _, loss, metric in last]
    best = max(range(len(last)), key=lambda i: (scores[i], -last[i][0]["lr"], -i))
    return [{**fields, "val_metric": metric, "chosen": i == best} for i, (fields, _, metric) in enumerate(last)]


def _of_all(row: Mapping[str, Any]) -> tuple[float, Any]:
    """Loss and metric of a run's last row on all val images."""
    whole = "whole_" if row.get("whole_val_loss") is not None else ""
    return row[f"{whole}val_loss"], row[f"{whole}val_metric"]


def chosen(lr: "float | Artifact") -> float:
    """The number behind a recipe's lr: itself, or what the search found."""
    return float(settled(lr)["lr"])


def tried(lr: "float | Step") -> dict[str, Any]:
    """`lr` and what else of the recipe was searched with it, before it is known what was found: as the first trial has
    them."""
    if not isinstance(lr, Step):
        return {"lr": lr}
    first: float | dict[str, Any] = lr.params["trials"][0][0]
    return dict(first) if isinstance(first, Mapping) else {"lr": first}


def settled(lr: "float | Artifact") -> dict[str, Any]:
    """`lr` and whatever else of the recipe was searched with it, as it was found."""
    if not isinstance(lr, Artifact):
        return {"lr": lr}
    best = next(row for row in lr.rows if row["chosen"])
    return {name: value for name, value in best.items() if name not in ("val_metric", "chosen")}
