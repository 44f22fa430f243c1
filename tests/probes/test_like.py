"""Every probe of weights takes networks and state dicts alike; `like` lends its form, nothing else."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import transferscope as ts
from transferscope.errors import UserError

DRAW = torch.Generator().manual_seed(0)
X, Y = torch.randn(24, 3, 6, 6, generator=DRAW), torch.randint(0, 3, (24,), generator=DRAW)
BATCHES = [(X[:12], Y[:12]), (X[12:], Y[12:])]
LITTLE: dict[str, Any] = {"alphas": 2, "sigmas": 2, "draws": 2}


class Marked(nn.Module):
    """A layer whose buffer is part of what it computes, and is reset by nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mark", torch.rand(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mark


def network(seed: int, probe: str = "") -> nn.Module:
    torch.manual_seed(seed)
    mark = nn.ReLU() if probe == "align" else Marked()  # whose channels an alignment could not tell
    body = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), mark, nn.Flatten(1)
    net = nn.Sequential(*body, nn.Linear(12, 3))
    net.train()(X + seed)
    return net


PROBES: dict[str, tuple[int, Callable[..., Any]]] = {  # with how many sets of weights each is asked
    "align": (2, lambda a, b, like: ts.align(a, b, like=like)),
    "average": (3, lambda a, b, c, like: ts.average([a, b, c], BATCHES, like=like)),
    "average, greedy": (
        2,
        lambda a, b, like: ts.average([a, b], kind="greedy", held_out=BATCHES, like=like),
    ),
    "average, unseen": (2, lambda a, b, like: ts.average([a, b], statistics=BATCHES, like=like)),
    "basin": (2, lambda a, b, like: ts.basin(a, b, BATCHES, samples=3, draws=2, like=like)),
    "criticality": (2, lambda a, b, like: ts.criticality(a, b, BATCHES, **LITTLE, like=like)),
    "criticality, as found": (
        2,
        lambda a, b, like: ts.criticality(a, b, BATCHES, **LITTLE, batch_norm="as found", like=like),
    ),
    "distance": (2, lambda a, b, like: ts.distance(a, b, like=like)),
    "layerwise_barrier": (2, lambda a, b, like: ts.layerwise_barrier(a, b, BATCHES, alphas=3, like=like)),
    "line_barrier": (2, lambda a, b, like: ts.line_barrier(a, b, BATCHES, tolerance=0.1, like=like)),
    "path": (2, lambda a, b, like: ts.path(a, b, BATCHES, alphas=3, like=like)),
    "path, head of b": (2, lambda a, b, like: ts.path(a, b, BATCHES, alphas=3, head="b", like=like)),
    "plane": (3, lambda a, b, c, like: ts.plane(a, b, c, BATCHES, steps=3, like=like)),
    "rewind": (
        3,
        lambda a, b, c, like: ts.rewind(
            a, b, BATCHES, checkpoints={"late": c, "net": b}, redraw=True, cumulative="both", like=like
        ),
    ),
    "rewind, as found": (
        3,
        lambda a, b, c, like: ts.rewind(a, b, BATCHES, redraw=c, batch_norm="as found", like=like),
    ),
    "spectrum": (2, lambda a, b, like: ts.spectrum(a, b, operator=X[:2], like=like)),
    "wise_ft": (2, lambda a, b, like: ts.wise_ft(a, b, BATCHES, alphas=3, like=like)),
}


def held(net: nn.Module) -> list[tuple[str, int, Tensor]]:
    return [(name, tensor.data_ptr(), tensor.clone()) for name, tensor in net.state_dict().items()]


def same(a: Any, b: Any, word: str) -> None:
    for field in dataclasses.fields(a):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if isinstance(one, dict):
            assert list(one) == list(other), (word, field.name)
            for key in one:
                np.testing.assert_array_equal(one[key], other[key], err_msg=f"{word}: {field.name}")
        elif isinstance(one, np.ndarray | float):
            np.testing.assert_array_equal(one, other, err_msg=f"{word}: {field.name}")
        else:
            assert one == other, (word, field.name)


@pytest.mark.parametrize("probe", PROBES)
def test_state_dicts_are_what_networks_are(probe):
    count, ask = PROBES[probe]
    nets = [network(i, probe) for i in range(count)]
    states = [{name: tensor.clone() for name, tensor in net.state_dict().items()} for net in nets]
    like = network(9, probe).requires_grad_(False)
    before, wanted = held(like), ask(*nets, None)
    same(ask(*states, like), wanted, probe)
    for (name, place, value), (_, now, tensor) in zip(before, held(like), strict=True):
        assert place == now and torch.equal(value, tensor), f"{probe} changed '{name}' of like"
    assert all(m.training for m in like.modules()) and not any(p.requires_grad for p in like.parameters())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in like.modules())
    for net, state in zip(nets, states, strict=True):
        assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("probe", PROBES)
def test_one_network_among_state_dicts_lends_its_form(probe):
    count, ask = PROBES[probe]
    nets = [network(i, probe) for i in range(count)]
    for place in range(count):
        mixed = [net if i == place else net.state_dict() for i, net in enumerate(nets)]
        same(ask(*mixed, None), ask(*nets, None), f"{probe}, network {place}")


@pytest.mark.parametrize("probe", PROBES)
def test_without_any_network_there_is_one_sentence(probe):
    count, ask = PROBES[probe]
    states = [network(i).state_dict() for i in range(count)]
    word = probe.partition(",")[0]
    with pytest.raises(UserError, match=rf"^{word}: .* are state dicts; give like=NETWORK, a network of their form\.$"):
        ask(*states, None)
    with pytest.raises(UserError, match=rf"^{word}: like is a \w+Dict, not a network"):
        ask(*states, states[0])
    with pytest.raises(UserError, match=rf"^{word}: .* is a bytes, not a network"):
        ask(b"a.pt", *states[1:], network(0))
    with pytest.raises(UserError, match=rf"^{word}: .*: no file 'a.pt'; "):
        ask("a.pt", *states[1:], network(0))


def test_all_are_named_that_have_no_network():
    states = [network(i).state_dict() for i in range(5)]
    for call, words in [
        (lambda: ts.path(*states[:2], BATCHES), "path: a and b are state dicts;"),
        (lambda: ts.plane(*states[:3], BATCHES), "plane: a, b and c are state dicts;"),
        (lambda: ts.average(states), "average: network 1 to network 5 are state dicts;"),
        (lambda: ts.average(states[0]), "average: a sequence of at least two networks is needed"),
    ]:
        with pytest.raises(UserError, match=words):
            call()


def naming(tensor: str, probe: str) -> str:
    """What every probe says of a tensor of another shape, or one that a network lacks."""
    shape = r"(?:\[[\d, ]+\]|missing)"
    remedy = r"give networks of one architecture, with heads of one width(?: \(head=.*\))?\.$"
    return rf"^{probe.partition(',')[0]}: '{tensor}' is {shape} in [^;]+ and {shape} in [^;]+; {remedy}"


@pytest.mark.parametrize("probe", [probe for probe in PROBES if probe != "spectrum"])  # which compares what is shared
def test_another_architecture_is_one_sentence_that_names_the_tensor(probe):
    count, ask = PROBES[probe]
    nets = [network(i, probe) for i in range(count)]
    wider = nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 3, 3), *nets[0][4:]
    )
    longer = nn.Sequential(*network(0, probe)[:3], nn.Identity(), *network(0, probe)[3:])
    for other, tensor in ((wider, r"0\.weight"), (longer, r"\d\.\w+")):
        for last in (other, other.state_dict()):
            with pytest.raises(UserError, match=naming(tensor, probe)):
                ask(*nets[:-1], last, None)
        with pytest.raises(UserError, match=naming(tensor, probe)):
            ask(*[net.state_dict() for net in nets], other)


@pytest.mark.parametrize("probe", ["criticality", "layerwise_barrier", "rewind"])
def test_a_form_with_another_head_is_one_sentence(probe):
    other = nn.Sequential(*network(3)[:-1], nn.Linear(12, 5))
    with pytest.raises(UserError, match=naming(r"6\.weight", probe)):
        PROBES[probe][1](*[network(i).state_dict() for i in range(PROBES[probe][0])], other)
