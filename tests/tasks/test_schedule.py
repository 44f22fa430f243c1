"""lr at given steps, and when a run stops."""

import json
from functools import partial

import pytest
import torch

from transferscope.tasks.schedule import Schedule, stops


def test_multistep_drops_at_the_shares_of_the_epochs() -> None:
    schedule = Schedule("multistep", 0.1, 10, 0.0, (0.3, 0.6, 0.9), 0.1)
    lrs = [schedule.at(epoch) for epoch in range(10)]
    assert lrs == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001] * 3 + [0.0001])


def test_the_papers_schedule() -> None:
    schedule = Schedule("multistep", 0.0125, 100, 0.0, (0.3, 0.6, 0.9), 0.1)
    assert schedule.at(29.99) == pytest.approx(0.0125)
    assert [schedule.at(e) for e in (30, 60, 90)] == pytest.approx([0.00125, 0.000125, 0.0000125])


def test_cosine_falls_from_lr_to_nothing() -> None:
    schedule = Schedule("cosine", 0.2, 10, 0.0, (), 0.1)
    assert schedule.at(0) == pytest.approx(0.2)
    assert schedule.at(5) == pytest.approx(0.1)
    assert schedule.at(10) == pytest.approx(0.0, abs=1e-12)


def test_warmup_rises_linearly_and_meets_the_schedule() -> None:
    schedule = Schedule("cosine", 0.2, 10, 2.0, (), 0.1)
    assert schedule.at(0) == pytest.approx(0.02)
    assert schedule.at(1) == pytest.approx(0.1)
    assert schedule.at(2) == pytest.approx(0.2)
    assert Schedule("constant", 0.2, 10, 0.0, (), 0.1).at(7.3) == 0.2


def test_step_drops_every_so_many_epochs() -> None:
    schedule = Schedule("step", 0.2, 7, 0.0, (), 0.5, step_size=3)
    assert [schedule.at(e) for e in (0, 2.999, 3, 5.5, 6)] == pytest.approx([0.2, 0.2, 0.1, 0.1, 0.05])
    assert schedule.drops() == (3, 6)


def test_one_cycle_is_torchs() -> None:
    """Forty batches and the end, where torch has its last step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=41, pct_start=13 / 41, cycle_momentum=False
    )
    schedule = Schedule("one-cycle", 0.3, 10, 1.0, (), 0.1)  # the top is at 30% of 40 batches; theirs at 41 * pct - 1
    for batch in range(41):
        assert schedule.at(batch / 4) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), batch
        optimizer.step()
        if batch < 40:
            torchs.step()


SCORES = [0.5, 0.6, 0.55, 0.6, 0.58, 0.59, 0.7, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def rows(scores: list[float | None]) -> list[dict[str, float | None]]:
    start = {"epoch": 0, "val_metric": 0.9, "val_loss": 9.0}  # a start that is better than all counts for nothing
    return [start, *({"epoch": e, "val_metric": s, "val_loss": -(s or 0.0)} for e, s in enumerate(scores, 1))]


def test_plateau_is_torchs() -> None:
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", factor=0.5, patience=2, threshold=0.0)
    schedule, seen = Schedule("plateau", 1.0, 20, 0.0, (), 0.5, patience=2), []
    for count, score in enumerate(SCORES, 1):
        torchs.step(score)
        seen.append(schedule.lowered(rows(SCORES[:count])))
        assert seen[-1] == optimizer.param_groups[0]["lr"], count
    assert seen[0] == 1.0 and seen[-1] == 0.125
    assert Schedule("cosine", 1.0, 20, 0.0, (), 0.5).lowered(rows(SCORES)) == 1.0


def test_plateau_goes_by_the_loss_where_a_metric_is_undefined() -> None:
    schedule = Schedule("plateau", 1.0, 20, 0.0, (), 0.5, patience=0)
    undefined = [{**row, "val_metric": None} for row in rows([0.3, 0.2, 0.4])]
    assert [schedule.lowered(undefined[: n + 1]) for n in range(4)] == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("scores", "patience", "at"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.4], 2, 4),  # as good is not better
        ([0.1, 0.3, 0.2, 0.3, 0.4], 3, None),
        ([0.1, 0.2, 0.3], 1, None),
        ([0.1, 0.1], 1, 2),
        ([0.1, 0.3, 0.2, 0.3, 0.4], None, None),
    ],
)
def test_a_run_stops_when_val_has_not_been_better_for_so_long(scores, patience, at) -> None:
    first = next((n for n in range(len(scores) + 1) if stops(rows(scores[:n]), patience)), None)
    assert first == at
    undefined = [{**row, "val_metric": None} for row in rows(scores)]
    assert stops(undefined, patience) == stops(rows(scores), patience), "else the loss counts"


def test_a_stopped_run_stands_still_and_resumes_so(fit, unbroken) -> None:
    from safetensors.torch import load_file

    from transferscope.tasks import loop

    how = {"epochs": 9, "early_stopping": 2, "lr": 1e-7, "evaluate": 32}  # nothing is learnt
    straight, found = unbroken("_batch", 3, 7, **how)
    trained = [row["epoch"] for row in found if not row["stopped"]]
    assert [row["epoch"] for row in found] == list(range(10))
    last = found[trained[-1]]
    unspent = {"epoch", "lr", "running_loss", "running_accuracy", "stopped", *loop.WHOLE}
    for row in found[len(trained) :]:
        assert {k: v for k, v in row.items() if k not in unspent} == {k: v for k, v in last.items() if k not in unspent}
        assert row["lr"] == 0 and row["running_loss"] is None
    assert found[9]["whole_test_metric"] is not None
    final, kept = (load_file(straight / f"{name}.safetensors") for name in ("final", "epoch-0008"))
    assert trained[-1] < 8 and all(torch.equal(final[name], kept[name]) for name in final)
    assert json.loads((straight / "run.json").read_text())["trained"] == trained[-1]
    assert len(json.loads((straight / "timing.json").read_text())) == len(trained)
    plain, every = fit("plain", **{**how, "early_stopping": None})
    assert [r["val_loss"] for r in every[: len(trained)]] == [r["val_loss"] for r in found[: len(trained)]]
    assert "trained" not in json.loads((plain / "run.json").read_text()) and "stopped" not in every[0]


def test_a_run_drops_where_val_stands_still_and_resumes_so(fit, monkeypatch) -> None:
    from transferscope.engine.task_context import Interrupted
    from transferscope.tasks.update import Update

    how = {"epochs": 6, "schedule": "plateau", "patience": 0, "lr": 1e-7, "gamma": 0.5}  # nothing is learnt
    used: list[float] = []
    take = Update.take

    def noted(self, loss, rate, batch, *rest):
        used.extend([rate] if batch == 0 else [])
        return take(self, loss, rate, batch, *rest)

    monkeypatch.setattr(Update, "take", noted)
    straight, found = fit("straight", **how)
    schedule = Schedule("plateau", 1e-7, 6, 0.0, (), 0.5, patience=0)
    said = [1e-7 * schedule.lowered(found[: n + 1]) for n in range(7)]
    assert [row["lr"] for row in found] == said and used == said[:-1] and said[-1] < 1e-7
    stops = 0
    while True:
        asked = iter([False] * 9)
        try:
            folder, again = fit("stopped", work={"stopping": partial(next, asked, True)}, **how)
            break
        except Interrupted:
            stops += 1
    assert stops > 2 and again == found
    assert (folder / "final.safetensors").read_bytes() == (straight / "final.safetensors").read_bytes()
