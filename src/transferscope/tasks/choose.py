"""choose_lr: the learning rate whose trial run did best on the validation split."""

from typing import Any

from transferscope.engine.step import task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Work


@task("choose_lr", version=1)
def choose_lr(*, trials: list[tuple[float, Artifact]], work: Work) -> list[dict[str, Any]]:
    """Rows of (lr, val_metric, chosen): the best final val metric wins, the smaller rate among equals.

    Where a metric is undefined (an AUC on a val split of one class) the lowest val loss wins instead.
    """
    last = [(lr, run.rows[-1]) for lr, run in trials]
    undefined = any(row["val_metric"] is None for _, row in last)
    scores = [(lr, -row["val_loss"] if undefined else row["val_metric"]) for lr, row in last]
    best = max(scores, key=lambda pair: (pair[1], -pair[0]))[0]
    return [{"lr": lr, "val_metric": row["val_metric"], "chosen": lr == best} for lr, row in last]


def chosen(lr: "float | Artifact") -> float:
    """The number behind a recipe's lr: itself, or what the search found."""
    if isinstance(lr, Artifact):
        return float(next(row["lr"] for row in lr.rows if row["chosen"]))
    return float(lr)
