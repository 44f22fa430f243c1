"""Updates: batches accumulated, gradients clipped, weights averaged: against plain arithmetic, and stopped."""

import copy
import json
from collections.abc import Iterator

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from transferscope.tasks.recipe import Training
from transferscope.tasks.update import Update

COUNT = 5  # batches of an epoch


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()


def batches() -> Iterator[Tensor]:
    draw = torch.Generator().manual_seed(1)
    for number in range(COUNT):
        yield torch.randn(2 if number == COUNT - 1 else 6, 3, generator=draw, dtype=torch.float64)


def trained(**recipe: object) -> tuple[nn.Module, Update, list[int]]:
    """One epoch of SGD at rate 0.5; how many updates there were after every batch."""
    net = network()
    update = Update(net, torch.optim.SGD(net.parameters(), 1.0), Training.model_validate(recipe))
    done = [0]
    for number, x in enumerate(batches()):
        done.append(update.take(net(x).square().mean(), 0.5, number, COUNT, done[-1], len(x)))
    return net, update, done[1:]


def same(net: nn.Module, other: nn.Module) -> bool:
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-12, atol=0) for a, b in pairs)  # float64


def by_hand(size: int, most: float | None = None) -> nn.Module:
    """The same with gradients averaged over the images of `size` batches and cut to a norm of `most`, parameter by
    parameter."""
    net = network()
    waiting = list(batches())
    while waiting:
        now, waiting = waiting[:size], waiting[size:]
        found = [torch.autograd.grad(net(x).square().mean(), list(net.parameters())) for x in now]
        lengths = [len(x) / sum(map(len, now)) for x in now]
        means = [sum(g * share for g, share in zip(one, lengths, strict=True)) for one in zip(*found, strict=True)]
        norm = float(sum(g.square().sum() for g in means)) ** 0.5
        share = 1.0 if most is None else min(1.0, most / (norm + 1e-6))  # torch's own guard against 0
        with torch.no_grad():
            for p, g in zip(net.parameters(), means, strict=True):
                p -= 0.5 * share * g
    return net


def test_batches_are_accumulated_and_the_last_update_has_what_is_left() -> None:
    net, _, done = trained(accumulate=2)
    assert done == [0, 1, 1, 2, 3] and same(net, by_hand(2)) and not same(net, by_hand(1))


def test_the_gradient_of_an_update_is_that_of_one_batch_of_all_its_images() -> None:
    """Without batch norm, which sees what is in a batch: four batches and a short one, and all of them at once."""
    nets = [nn.Sequential(network()[0], nn.Tanh(), network()[2]) for _ in range(2)]
    for net, parts in zip(nets, ([*batches()], [torch.cat([*batches()])]), strict=True):
        update = Update(net, torch.optim.SGD(net.parameters(), 1.0), Training(accumulate=COUNT))
        for number, x in enumerate(parts):
            update.take(net(x).square().mean(), 0.5, number, len(parts), 0, len(x))
    assert same(*nets)


def test_gradients_are_clipped_over_the_whole_update() -> None:
    assert same(trained(clip_grad=0.1, accumulate=2)[0], by_hand(2, 0.1)) and not same(by_hand(2, 0.1), by_hand(2))
    assert same(trained(clip_grad=1e9)[0], by_hand(1))


def test_the_average_is_that_of_its_formula_and_holds_running_statistics() -> None:
    net = network()
    update = Update(net, torch.optim.SGD(net.parameters(), 1.0), Training(ema=0.25))
    expected, done = copy.deepcopy(net.state_dict()), 0
    for number, x in enumerate(batches()):
        done = update.take(net(x).square().mean(), 0.5, number, COUNT, done)
        decay = min(0.25, (1 + done) / (10 + done))
        for name, tensor in net.state_dict().items():
            moving = tensor.is_floating_point()
            expected[name] = decay * expected[name] + (1 - decay) * tensor if moving else tensor.clone()
    for name, tensor in expected.items():
        assert torch.allclose(update.averaged[name], tensor, rtol=1e-12), name  # float64
    assert "1.running_mean" in expected and int(expected["1.num_batches_tracked"]) == COUNT
    assert not torch.allclose(expected["0.weight"], net.state_dict()["0.weight"], rtol=1e-3)


HOW = {"epochs": 2, "optimizer": "adamw", "lr": 0.01, "accumulate": 3, "clip_grad": 0.5, "ema": 0.9}


def test_a_run_killed_anywhere_ends_in_the_same_bytes(unbroken) -> None:
    """Among others between the batches of an update."""
    unbroken("_batch", 5, 10, **HOW, sampler="balanced", class_weights="balanced")


def test_the_average_is_kept_and_scored(fit, digits) -> None:
    from transferscope.data import open_squares
    from transferscope.measures.metrics import accuracy, cross_entropy

    folder, rows = fit("averaged", **HOW)
    plain = fit("plain", **{**HOW, "ema": None})
    averaged, final = load_file(folder / "ema.safetensors"), load_file(folder / "final.safetensors")
    assert averaged.keys() == final.keys() and any(not torch.equal(averaged[n], final[n]) for n in final)
    assert (plain[0] / "final.safetensors").read_bytes() == (folder / "final.safetensors").read_bytes()
    assert not (plain[0] / "ema.safetensors").exists() and "ema_val_loss" not in plain[1][-1]
    table = open_squares(digits.path)
    for split in ("val", "test"):
        logits = load_file(folder / "predictions-ema.safetensors")[split].numpy()
        labels = table.labels[table.rows[split]]
        assert rows[-1][f"ema_{split}_metric"] == accuracy(logits, labels)
        assert rows[-1][f"ema_{split}_loss"] == cross_entropy(logits, labels)
    assert rows[0]["ema_val_loss"] is None
    json.dumps(rows, allow_nan=False)


def test_the_rate_is_that_of_an_updates_first_batch(fit, monkeypatch) -> None:
    seen = []
    take = Update.take

    def noted(self, loss, rate, batch, count, *rest):
        seen.append((batch, count, rate))
        return take(self, loss, rate, batch, count, *rest)

    monkeypatch.setattr(Update, "take", noted)
    fit("rates", **{**HOW, "epochs": 1, "schedule": "cosine", "ema": None})
    from transferscope.tasks.schedule import Schedule

    cosine = Schedule("cosine", 0.01, 1, 0.0, (), 0.1)
    assert len(seen) > 6
    for batch, count, rate in seen:
        assert rate == cosine.at(batch // 3 * 3 / count)
