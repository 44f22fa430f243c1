"""Networks between networks and changed ones are judged by the metric that their batches bring, image by image."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import transferscope as ts
from transferscope import answers
from transferscope.errors import UserError
from transferscope.measures import judged
from transferscope.measures.barrier import frankle
from transferscope.probes.inputs.given import Batch
from transferscope.probes.walks.path import LinearPath

oracle = pytest.importorskip("sklearn.metrics")
N, SCALE = 240, (3.0, 50.0)


def net(seed: int, outputs: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs)).eval()


def fitted(seed: int, outputs: int, x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    found = net(seed, outputs)
    step = torch.optim.Adam(found.parameters(), 0.02)
    loss = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    for _ in range(60):
        step.zero_grad()
        loss(found(x), y).backward()
        step.step()
    return found.requires_grad_(False)


def case(metric: str) -> tuple[nn.Module, nn.Module, list[Batch], torch.Tensor, np.ndarray]:
    """Two fitted networks and the batches of their target: two numbers, two classes, or three of unequal size."""
    of = answers.METRICS[metric].of
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, 6, generator=draw)
    if "numbers" in of:
        y = torch.stack([x[:, 0] + x[:, 1] ** 2, x[:, 2]], 1) + 0.3 * torch.randn(N, 2, generator=draw)
        y = (y - y.mean(0)) / y.std(0)
    elif metric == "average_precision":
        y = (x[:, 0] * x[:, 1] + 0.5 * torch.randn(N, generator=draw) > 0.4).long()
    else:
        y = torch.bucketize(x[:, 0] * x[:, 1] + 0.3 * torch.randn(N, generator=draw), torch.tensor([-0.5, 1.0]))
    outputs = 2 if y.ndim == 2 or metric == "average_precision" else 3
    scale = SCALE if answers.METRICS[metric].error else None
    batches = [Batch(x[i : i + 60], y[i : i + 60], None, False, metric, scale) for i in range(0, N, 60)]
    a, b = (fitted(seed, outputs, x, y) for seed in (1, 2))
    return a, b, batches, x, y.numpy()


def expected(out: np.ndarray, y: np.ndarray, metric: str) -> float:
    """By scikit-learn, of an error negative."""
    said, rank = out.argmax(1), out[:, -1] - out[:, 0]
    found = {
        "mae": lambda: -oracle.mean_absolute_error(y * SCALE, out * SCALE),
        "rmse": lambda: -oracle.root_mean_squared_error(y * SCALE, out * SCALE),
        "spearman": lambda: judged.score(out, y, "spearman"),
        "balanced_accuracy": lambda: oracle.balanced_accuracy_score(y, said),
        "macro_f1": lambda: oracle.f1_score(y, said, average="macro"),
        "kappa": lambda: oracle.cohen_kappa_score(y, said, weights="quadratic"),
        "average_precision": lambda: oracle.average_precision_score(y, rank),
    }
    return float(found[metric]())


METRICS = ["mae", "rmse", "spearman", "balanced_accuracy", "macro_f1", "kappa", "average_precision"]


def between(a: nn.Module, b: nn.Module, alpha: float) -> nn.Module:
    found = copy.deepcopy(a)
    ends = a.state_dict(), b.state_dict()
    found.load_state_dict({name: (1 - alpha) * ends[0][name] + alpha * ends[1][name] for name in ends[0]})
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_lines_planes_averages_and_rewinding_go_by_the_metric_of_the_batches(metric: str) -> None:
    a, b, batches, x, y = case(metric)
    best = answers.METRICS[metric].best

    def score(one: nn.Module) -> float:
        return expected(one(x).numpy().astype(np.float64), y, metric)

    found = ts.path(a, b, batches, alphas=5)
    slow = [score(between(a, b, alpha)) for alpha in found.alphas.tolist()]
    assert found.metric == metric and found.score[0] == pytest.approx(slow, rel=1e-4, abs=1e-5)
    assert found.error[0] == pytest.approx(best - np.array(slow), rel=1e-4, abs=1e-5)
    height = found.barrier(kind="frankle")
    whole = 1.0 if not answers.METRICS[metric].error else float(np.mean(SCALE))
    assert height.mean == pytest.approx(frankle(found.alphas, found.error[0]), abs=0.04 * whole), "on other images"
    assert height.low <= height.mean <= height.high
    adaptive = ts.path(a, b, batches, tolerance=0.2)
    assert len(adaptive.alphas) < 60 and adaptive.grid_error < 1, "a share of what the metric ranges over"

    mean = ts.average([a, b], batches)
    assert mean.metric == metric and mean.average[0] == pytest.approx(score(between(a, b, 0.5)), rel=1e-4, abs=1e-5)
    gain = mean.gain("mean")
    lost = mean.errors["data"]
    assert gain.mean == pytest.approx((lost[:2].mean() - lost[2].mean()), rel=1e-6) and gain.low < gain.mean < gain.high

    back = ts.rewind(a, net(1, 2 if y.ndim == 2 or metric == "average_precision" else 3), batches).table()
    assert set(back["metric"]) == {metric} and back["score"][0] == pytest.approx(slow[0], rel=1e-4, abs=1e-5)
    assert (back.filter(how="rewind")["drop"] > 0).all(), "an untrained block is worse"

    flat = ts.plane(a, b, net(5, found_outputs(a)), batches, steps=2)
    assert flat.metric_name == metric and flat.at[:2] == pytest.approx([slow[0], slow[-1]], rel=1e-4, abs=1e-5)
    ring = ts.basin(a, b, batches, samples=3, draws=2, per_weight=[0.01])
    assert ring.at == pytest.approx(best - np.array([slow[0], slow[-1]]), rel=1e-4, abs=1e-5)


def found_outputs(one: nn.Module) -> int:
    return int(one[-1].out_features)


def test_of_few_images_at_a_time_a_metric_must_be_their_mean() -> None:
    a, b, batches, *_ = case("mae")
    whole = ts.path(a, b, batches, alphas=33)
    quick = ts.line_barrier(a, b, batches, tolerance=0.02)
    assert quick.low <= max(0.0, float(whole_height(whole))) <= quick.high
    a, b, batches, *_ = case("macro_f1")
    with pytest.raises(UserError, match="macro_f1 is no mean over images, of which this looks at a few at a time"):
        ts.line_barrier(a, b, batches)


def whole_height(found: LinearPath) -> float:
    curve = found.error[0]
    return float((curve - (1 - found.alphas) * curve[0] - found.alphas * curve[-1]).max())


def test_batches_without_a_metric_are_judged_as_they_were() -> None:
    a, b, batches, *_ = case("macro_f1")
    plain = ts.path(a, b, [(one.x, one.labels) for one in batches], alphas=3)
    assert plain.metric == "accuracy" and plain.score[0] == pytest.approx(1 - plain.error[0])
