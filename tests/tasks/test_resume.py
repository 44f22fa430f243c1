"""A run stopped at a batch and taken up again by a new network and optimiser goes on as if it had never stopped."""

import copy
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from transferscope.tasks import resume

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "plain sgd": lambda p: torch.optim.SGD(p, 0.05),
    "adam": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "adamw foreach": lambda p: torch.optim.AdamW(p, 0.01, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, centered=True, momentum=0.5),
    "nadam": lambda p: torch.optim.NAdam(p, 0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "rprop": lambda p: torch.optim.Rprop(p, 0.01),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    net[0].bias.requires_grad_(False)  # one that does not train
    return net.to(memory_format=torch.channels_last)


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
    for number in numbers:
        draw = torch.Generator().manual_seed(number)
        x, y = torch.randn(8, 3, 8, 8, generator=draw), torch.randint(3, (8,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()


def trained(net: nn.Module) -> list[nn.Parameter]:
    return [p for p in net.parameters() if p.requires_grad]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_stopped_and_resumed_ends_in_the_same_bytes(name: str, tmp_path) -> None:
    straight = network()
    steps(straight, OPTIMISERS[name](trained(straight)), range(7))

    net = network()
    optimizer = OPTIMISERS[name](trained(net))
    steps(net, optimizer, range(3))
    resume.save(tmp_path, net, optimizer, resume.Progress(epoch=1, batch=3))
    taken_up = network()
    fresh = OPTIMISERS[name](trained(taken_up))
    assert resume.load(tmp_path, taken_up, fresh) == resume.Progress(epoch=1, batch=3)
    steps(taken_up, fresh, range(3, 7))
    for key, tensor in straight.state_dict().items():
        assert torch.equal(tensor, taken_up.state_dict()[key]), key


def test_rates_set_since_are_not_those_of_the_save(tmp_path) -> None:
    net = network()
    optimizer = OPTIMISERS["adamw"](trained(net))
    steps(net, optimizer, range(2))
    resume.save(tmp_path, net, optimizer, resume.Progress())
    other = torch.optim.AdamW(trained(net), 0.5)
    resume.load(tmp_path, net, other)
    assert other.param_groups[0]["lr"] == 0.5  # the schedule sets it, epoch by epoch


def test_a_save_of_the_first_format_goes_on(tmp_path) -> None:
    net = network()
    optimizer = OPTIMISERS["sgd"](trained(net))
    steps(net, optimizer, range(3))
    resume.save(tmp_path, net, optimizer, resume.Progress(batch=3))
    with safe_open(tmp_path / resume.FILE, "pt") as file:
        progress = file.metadata()["progress"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    old = {name.replace("momentum_buffer.", "momentum."): tensor for name, tensor in tensors.items()}
    assert json.loads(progress)["batch"] == 3 and old.keys() != tensors.keys()
    save_file(old, tmp_path / resume.FILE, metadata={"progress": progress})
    again = copy.deepcopy(network())
    fresh = OPTIMISERS["sgd"](trained(again))
    resume.load(tmp_path, again, fresh)
    steps(net, optimizer, range(3, 5))
    steps(again, fresh, range(3, 5))
    assert torch.equal(net[4].weight, again[4].weight)
