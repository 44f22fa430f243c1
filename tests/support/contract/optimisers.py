"""The contract of an optimiser: it learns, goes by the rate of the moment, and resumes in the same bytes."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from contract.opening import called, check_first_line, check_light
from transferscope.tasks import optimisers, resume

PACKAGE = "transferscope.tasks.optimisers"
OFFERED: Mapping[str, Any] = {
    "lr": 0.01,
    "momentum": 0.9,
    "nesterov": False,
    "betas": None,
    "eps": None,
    "weight_decay": 1e-3,
}


def check_optimiser(module: ModuleType, folder: Path) -> None:
    """The whole contract; `folder` is an empty one."""
    check_form(module)
    check_groups(module)
    check_rate(module)
    check_learning(module)
    check_resuming(module, folder)


def check_form(module: ModuleType) -> None:
    check_first_line(module)
    check_light(module)
    first, *rest = inspect.signature(module.build).parameters.values()
    assert inspect.getdoc(module.build) and first.name == "parameters" and "lr" in [p.name for p in rest]
    for parameter in rest:
        known = parameter.name in optimisers.OFFERED or parameter.default is not parameter.empty
        assert known and parameter.kind is parameter.KEYWORD_ONLY, f"'{parameter.name}' is no field of the recipe"


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    net[0].bias.requires_grad_(False)  # one that does not train
    return net.to(memory_format=torch.channels_last)


def built(module: ModuleType | str, net: nn.Module) -> torch.optim.Optimizer:
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    return optimisers.build(module if isinstance(module, str) else called(module, PACKAGE), trained, OFFERED)


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, numbers: range, rate: float | None = None) -> list[float]:
    """The losses of steps on noise with a rule in it, at a rate that changes as by a schedule, or at `rate`."""
    losses = []
    for number in numbers:
        draw = torch.Generator().manual_seed(number)
        x = torch.randn(32, 3, 8, 8, generator=draw)
        y = x.mean((2, 3)).argmax(1)
        for group in optimizer.param_groups:
            group["lr"] = OFFERED["lr"] * (1 - number / 100) if rate is None else rate
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def check_groups(module: ModuleType | str) -> None:
    """Every parameter that trains is in one group, and no other is."""
    net = network()
    held = [id(p) for group in built(module, net).param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters() if p.requires_grad)


def check_rate(module: ModuleType | str) -> None:
    """At rate 0 no weight moves, neither at once nor after steps."""
    net = network()
    optimizer = built(module, net)
    for numbers in (range(2), range(2, 4)):
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        steps(net, optimizer, numbers, rate=0.0)
        assert all(torch.equal(p, before[name]) for name, p in net.named_parameters()), "the schedule ends at rate 0"
        steps(net, optimizer, numbers)
        assert any(not torch.equal(p, before[name]) for name, p in net.named_parameters())


def check_learning(module: ModuleType | str) -> None:
    net = network()
    losses = steps(net, built(module, net), range(60))
    assert sum(losses[-10:]) < sum(losses[:10]), "the loss falls"


def check_resuming(module: ModuleType | str, folder: Path) -> None:
    """Stopped after any step and taken up by a new network and optimiser, it goes on as if it had not been."""
    straight = network()
    steps(straight, built(module, straight), range(7))
    net = network()
    steps(net, optimizer := built(module, net), range(1))
    for number in range(1, 7):
        resume.save(folder, net, optimizer, resume.Progress(batch=number))
        net = network()
        optimizer = built(module, net)
        assert resume.load(folder, net, optimizer) == resume.Progress(batch=number)
        steps(net, optimizer, range(number, number + 1))
    for key, tensor in straight.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[key]), f"{key}: keep what changes in optimizer.state[parameter]"
