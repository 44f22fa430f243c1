"""The fast loop against the plainest one: the same losses in float32, the same scores in bfloat16 up to noise."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from transferscope.data import open_squares
from transferscope.data.augment import CropAndFlip
from transferscope.data.batches import Batches, Normalisation
from transferscope.models import depthwise, smallmaps
from transferscope.models.build import build_network
from transferscope.tasks.schedule import Schedule

HOW = {"network": "toy.nets:lite", "epochs": 3, "mixup": 0.0, "label_smoothing": 0.0, "lr": 0.02, "head_seed": 0}


def plain(table, epochs: int) -> tuple[list[float], list[float]]:
    """Mean training loss and test loss of every epoch by textbook torch: NCHW, no hastened convolution, no autocast."""
    net = build_network(str(HOW["network"]), 10, seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    schedule = Schedule("cosine", 0.02, epochs, 0.0, (), 0.1)
    how = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    rows, trained, tested = table.rows["train"], [], []
    for epoch in range(1, epochs + 1):
        batches = Batches(
            table,
            rows,
            table.labels,
            size=12,
            batch_size=32,
            seed=0,
            epoch=epoch,
            augment=CropAndFlip((0.5, 1.0), (0.75, 1.33), 0.0, "bilinear"),
            normalisation=how,
        )
        net.train()
        total = 0.0
        for number, (x, labels, _) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = schedule.at(epoch - 1 + number / len(batches))
            loss = F.cross_entropy(net(x.contiguous()), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        trained.append(total / len(rows))
        tested.append(_test_loss(net, table))
    return trained, tested


def _test_loss(net: nn.Module, table) -> float:
    rows = table.rows["test"]
    x = torch.from_numpy(np.array(table.pixels("eval")[rows])).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return float(F.cross_entropy(net.eval()((x - 0.5) / 0.5), torch.from_numpy(table.labels[rows])))


def test_three_epochs_in_float32_have_the_plain_losses(fit, digits) -> None:
    trained, tested = plain(open_squares(digits.path), 3)
    _, rows = fit("fast", **HOW)
    assert [row["running_loss"] for row in rows[1:]] == pytest.approx(trained, rel=2e-4)
    assert [row["test_loss"] for row in rows[1:]] == pytest.approx(tested, rel=1e-3)


def test_the_network_of_this_test_takes_every_fast_path() -> None:
    net = build_network(str(HOW["network"]), 10, seed=0)
    kinds = {type(module) for module in net.modules()}
    depthwise.hasten(net)
    smallmaps.hasten(net)
    fast = {type(module) for module in net.modules()} - kinds
    assert len(fast) >= 2, "a depthwise and a small-map convolution are among its layers"


def test_bfloat16_scores_like_float32(fit) -> None:
    """Four seeds of three epochs: the mean difference is within what seeds differ by."""
    scores = {
        precision: [
            fit(f"{precision}{seed}", **HOW | {"seed": seed}, precision=precision)[1][-1]["test_metric"]
            for seed in range(4)
        ]
        for precision in ("float32", "bfloat16")
    }
    gap = np.subtract(scores["bfloat16"], scores["float32"])
    spread = np.std(scores["float32"], ddof=1)
    assert min(scores["float32"]) > 0.3, "the network learns"
    assert abs(gap.mean()) < max(spread, 0.02)
