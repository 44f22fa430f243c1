"""The learning-rate search: the best on val, the smaller among equals, the loss where no metric is defined."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from transferscope.engine.task_context import Work
from transferscope.tasks.choose import choose_fields, choose_lr, chosen, settled


@dataclass(frozen=True)
class Run:
    """A trial's rows."""

    rows: list[dict[str, float | None]]


def trial(lr: float, metric: float | None, loss: float) -> tuple[float, Run]:
    return lr, Run([{"val_metric": 0.9, "val_loss": 0.1}, {"val_metric": metric, "val_loss": loss}])


@pytest.mark.parametrize(
    ("trials", "best"),
    [
        ([trial(0.1, 0.5, 1.0), trial(0.01, 0.7, 2.0)], 0.01),
        ([trial(0.1, 0.7, 1.0), trial(0.01, 0.7, 2.0)], 0.01),
        ([trial(0.1, None, 1.0), trial(0.01, 0.7, 2.0)], 0.1),
        ([trial(0.1, None, 3.0), trial(0.01, None, 2.0)], 0.01),
    ],
)
def test_the_rate_that_wins(trials, best) -> None:
    rows = choose_lr(trials=trials, work=Work(Path()))
    assert [row["lr"] for row in rows if row["chosen"]] == [best]
    assert [row["val_metric"] for row in rows] == [run.rows[-1]["val_metric"] for _, run in trials]
    assert chosen(0.3) == 0.3


def test_scores_of_all_val_images_decide_over_those_of_a_sample() -> None:
    """The last weights are scored on all images anyway."""
    trials = [trial(0.1, 0.9, 1.0), trial(0.01, 0.5, 1.0)]
    for (_, run), metric in zip(trials, (0.6, 0.7), strict=True):
        run.rows[-1] |= {"whole_val_metric": metric, "whole_val_loss": 1.0}
    rows = choose_lr(trials=trials, work=Work(Path()))
    assert [(row["val_metric"], row["chosen"]) for row in rows] == [(0.6, False), (0.7, True)]


def test_of_equal_settings_the_smaller_rate_wins_and_then_the_first() -> None:
    listed = [(0.1, 0.0), (0.01, 0.5), (0.01, 0.0), (0.001, 0.0)]
    scores = (0.7, 0.7, 0.7, 0.6)
    trials = [
        ({"lr": lr, "weight_decay": decay}, trial(lr, score, 1.0)[1])
        for (lr, decay), score in zip(listed, scores, strict=True)
    ]
    rows = choose_fields(trials=trials, work=Work(Path()))
    assert [(row["lr"], row["weight_decay"]) for row in rows if row["chosen"]] == [(0.01, 0.5)]
    assert [row["val_metric"] for row in rows] == list(scores)
    assert settled(0.3) == {"lr": 0.3}
