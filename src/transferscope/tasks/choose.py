"""choose_lr: the learning rate whose trial run did best on the validation split."""

from collections.abc import Mapping
from typing import Any

from transferscope.engine.step import task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Work


@task("choose_lr", version=1)
def choose_lr(*, trials: list[tuple[float, Artifact]], work: Work) -> list[dict[str, Any]]:
    """Rows of (lr, val_metric, chosen): the best final val metric wins, the smaller rate among equals.

    Scores are those of all val images. Where a metric is undefined (an AUC on a val split of one class) the lowest val
    loss wins instead.
    """
    last = [(lr, *_of_all(run.rows[-1])) for lr, run in trials]
    undefined = any(metric is None for _, _, metric in last)
    scores = [(lr, -loss if undefined else metric) for lr, loss, metric in last]
    best = max(scores, key=lambda pair: (pair[1], -pair[0]))[0]
    return [{"lr": lr, "val_metric": metric, "chosen": lr == best} for lr, _, metric in last]


def _of_all(row: Mapping[str, Any]) -> tuple[float, Any]:
    """Loss and metric of a run's last row on all val images."""
    whole = "whole_" if row.get("whole_val_loss") is not None else ""
    return row[f"{whole}val_loss"], row[f"{whole}val_metric"]


def chosen(lr: "float | Artifact") -> float:
    """The number behind a recipe's lr: itself, or what the search found."""
    if isinstance(lr, Artifact):
        return float(next(row["lr"] for row in lr.rows if row["chosen"]))
    return float(lr)
