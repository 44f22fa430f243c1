"""One run by two processes: the numbers of one, stopped and taken up, and what happens when one of them is lost."""

import json
import multiprocessing
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from transferscope.engine.environment import worker_environment
from transferscope.engine.processes import starting
from transferscope.engine.task_context import Interrupted, Lost
from transferscope.errors import UserError
from transferscope.tasks import data_parallel, loop
from transferscope.tasks.learner import Learner
from transferscope.tasks.objective import Objective
from transferscope.tasks.process_group import Group, joined
from transferscope.tasks.share_trial import try_shares

# 70 training images: batches of 31, 31 and 8, each cut in two; blended batches are made whole, in updates of 2 and of 1
CUT: dict[str, Any] = {
    "batch_size": 31,
    "fraction": 0.2,
    "epochs": 2,
    "evaluate": "all",
    "mixup": 0.0,
    "clip_grad": 0.5,
    "ema": 0.9,
}
WHOLE: dict[str, Any] = {"fraction": 0.2, "epochs": 1, "evaluate": "all", "accumulate": 2, "mean_over": "images"}
TWO = {"processes": 2}


def after(batches: int, then: Callable[[], None]) -> Callable[..., None]:
    """Progress is told to what calls `then` when so many batches are done."""
    told = []

    def tell(**said: Any) -> None:
        if said["batch"]:
            told.append(said)
            if len(told) == batches:
                then()

    return tell


def written(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in [*folder.glob("*.safetensors"), folder / "run.json"]}


def close(one, other) -> None:
    """Float32 sums in another order, over a few dozen steps."""
    (folder, rows), (plain, expected) = one, other
    for file in plain.glob("*.safetensors"):
        tensors = load_file(file)
        for name, tensor in load_file(folder / file.name).items():
            torch.testing.assert_close(tensor, tensors[name], rtol=1e-4, atol=1e-5)
    for row, other_row in zip(rows, expected, strict=True):
        assert row.keys() == other_row.keys()
        for name, value in other_row.items():
            assert row[name] == (pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value), name


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_where_they_stopped(fit, tmp_path) -> None:
    one, two = fit("one", **CUT), fit("two", work=TWO, **CUT)
    close(two, one)
    said = [json.loads((folder / "run.json").read_text()).get("processes") for folder, _ in (one, two)]
    assert said == [None, 2] and not multiprocessing.active_children()
    stop = threading.Event()
    with pytest.raises(Interrupted):
        fit("stopped", work={**TWO, "stopping": stop.is_set, "tell": after(6, stop.set)}, **CUT)
    assert not multiprocessing.active_children()
    shutil.copytree(tmp_path / "stopped", tmp_path / "alone")
    folder, rows = fit("stopped", work=TWO, **CUT)
    assert rows == two[1] and written(folder) == written(two[0])
    close(fit("alone", **CUT), one)  # taken up by one process


def test_blended_batches_and_updates_of_several(fit) -> None:
    close(fit("two", work=TWO, **WHOLE), fit("one", **WHOLE))


def test_a_process_that_is_killed_is_a_sentence_and_the_save_stays(fit, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)

    def kill() -> None:
        for process in multiprocessing.active_children():
            process.kill()

    with pytest.raises(Lost, match=r"^A process that helped to train .* \(killed, .*, SIGKILL\); run again"):
        fit("killed", work={**TWO, "tell": after(5, kill)}, **CUT)
    assert not multiprocessing.active_children()
    assert (tmp_path / "killed" / "resume.safetensors").exists() and not torch.distributed.is_initialized()


def test_a_process_ends_with_the_one_it_helps(fit, tmp_path, monkeypatch) -> None:
    """However that one ends: the pipe between them is closed."""
    jobs, start = [], data_parallel._started

    def noted(job: Any, *_: Any) -> None:
        jobs.append(replace(job, meeting=tmp_path))
        raise Interrupted

    monkeypatch.setattr(data_parallel, "_started", noted)
    with pytest.raises(Interrupted):
        fit("noted", work=TWO, **CUT)
    helper = start(jobs[0], 1, "cpu")
    assert helper.pipe.recv() == ("",), "it is ready, and waits for the other"
    helper.pipe.close()
    helper.process.join(60)
    assert helper.process.exitcode == 0


def test_what_another_process_refuses_is_said(fit, monkeypatch) -> None:
    def refuses(*_: Any) -> Any:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=multiprocessing.current_process, daemon=True)
        with starting(worker_environment(1)):
            process.start()
        theirs.send(("no such weights", True))
        return data_parallel._Helper(process, ours)

    monkeypatch.setattr(data_parallel, "_started", refuses)
    with pytest.raises(UserError, match=r"^no such weights$"):
        fit("refused", work=TWO, **CUT)


def test_what_is_computed_once_is_not_spread(fit, monkeypatch) -> None:
    monkeypatch.setattr(data_parallel, "_started", lambda *_: pytest.fail("a process was started"))
    folder, _ = fit("head", work=TWO, **{**CUT, "augment": None, "trainable": "head"})
    said = json.loads((folder / "run.json").read_text())
    assert said["frozen_once"] and "processes" not in said


def test_labels_that_are_known_weigh_alike_in_every_share() -> None:
    """Three of this process's cells are known and one of the other's: the mean is over four."""
    objective = Objective("labels", 2, "auc", gaps=True)
    y = objective.targets(torch.tensor([[1, 0], [-1, 1]], dtype=torch.int8))
    other = {0: torch.tensor(1), 1: torch.tensor([0.5, 0.0], dtype=torch.float64)}  # cells, then its part of the loss
    group = SimpleNamespace(total=lambda mine: mine + other[mine.ndim], share=None)
    learner = SimpleNamespace(group=group, objective=objective)
    share = Group(0, 2).share(4)
    loss = torch.tensor(0.8, dtype=torch.float64)
    found = Learner._summed(learner, loss, None, y, share)
    assert float(found.loss) == pytest.approx(0.8 * 3 / 4) and float(found.told) == pytest.approx(0.8 * 3 / 4 + 0.5)
    assert found.right is None and found.images == 4
    stand_in = Group(0, 2).share(1)
    assert float(Learner._summed(learner, loss, None, y, stand_in).loss) == 0.0


def test_a_parameter_without_a_gradient_keeps_none(tmp_path) -> None:
    """An optimiser would else decay it, and keep a momentum of it."""
    net = nn.Linear(2, 2)
    net.weight.grad = torch.ones(2, 2)
    with joined(tmp_path, 0, 1, "cpu") as group:
        group.collect(net)
        group.spread(net, everything=True)
        again = joined(tmp_path, 0, 1, "cpu")
        with pytest.raises(UserError, match=r"in a group of torch\.distributed already"), again:
            pass
    assert torch.equal(net.weight.grad, torch.ones(2, 2)) and net.bias.grad is None


class OwnMean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) - x.mean((0, 2, 3))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, dropout=0.5, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2)
        return self.attention(x, x, x, need_weights=False)[0].mean(1)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (OwnMean(), "an image other outputs"),
        (Attention(), "draws random numbers"),
        (nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True), OwnMean()), "an image other outputs"),
        (nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten()), "keeps '0.running_mean'"),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()), "an image other outputs"),
    ],
    ids=["a mean of its own", "dropout in attention", "both", "statistics of its own", "no statistics"],
)
def test_what_shares_would_change_is_refused(net: nn.Module, why: str) -> None:
    images = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=f"^resources.gpus_per_run: .*{why}.*train with 1"):
        try_shares(net.train(), images)
    usual = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten()).train()
    before = {name: tensor.clone() for name, tensor in usual.state_dict().items()}
    try_shares(usual, images)
    assert all(torch.equal(tensor, before[name]) for name, tensor in usual.state_dict().items()), "left as found"
