"""choose_lr: the learning rate whose trial run did best on the validation split."""

from typing import Any

from transferscope.engine.step import task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Work


@task("choose_lr", version=1)
def choose_lr(*, trials: list[tuple[float, Artifact]], work: Work) -> list[dict[str, Any]]:
    """Rows of (lr, val_metric, chosen): the best final val metric wins, the smaller rate among equals."""
    scores = [(lr, float(run.rows[-1]["val_metric"])) for lr, run in trials]
    best = max(scores, key=lambda pair: (pair[1], -pair[0]))[0]
    return [{"lr": lr, "val_metric": score, "chosen": lr == best} for lr, score in scores]


def chosen(lr: "float | Artifact") -> float:
    """The number behind a recipe's lr: itself, or what the search found."""
    if isinstance(lr, Artifact):
        return float(next(row["lr"] for row in lr.rows if row["chosen"]))
    return float(lr)
