"""Networks that return their logits in something, and batches that are dicts, give what the plain ones give."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import transferscope as ts
from transferscope.errors import UserError


class Plain(nn.Module):
    """Two convolutions with batch norm and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.more, self.head = nn.Conv2d(8, 8, 3), nn.Linear(8, 3)

    def body(self, x: Tensor) -> Tensor:
        return self.more(self.norm(self.conv(x)).relu()).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        return self.head(self.body(x))


@dataclass
class Out:
    """As libraries return: logits, and more beside."""

    logits: Tensor
    features: Tensor


class Packed(Plain):
    """The same network, its logits in something."""

    def __init__(self, pack: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        features = self.body(x)
        return self.pack(self.head(features), features)


PACKS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "data class": Out,
    "dict": lambda y, h: {"features": h, "logits": y},
    "tuple": lambda y, h: (y, h[:, :, None], None),
    "list": lambda y, h: [h[:, None], y],
}


def two(pack: Callable[[Tensor, Tensor], Any] | None = None) -> list[nn.Module]:
    """Two networks that differ, the same for every way to return."""
    torch.manual_seed(0)
    plain = [Plain(), Plain()]
    for net in plain:
        nn.init.uniform_(net.norm.running_var, 0.5, 2)
    if pack is None:
        return plain
    packed = [Packed(pack) for _ in plain]
    for net, like in zip(packed, plain, strict=True):
        net.load_state_dict(copy.deepcopy(like.state_dict()))
    return packed


def batches(as_dicts: bool) -> list[Any]:
    draw = torch.Generator().manual_seed(1)
    pairs = [(torch.randn(16, 3, 8, 8, generator=draw), torch.arange(16) % 3) for _ in range(2)]
    return [{"pixel_values": x, "labels": y} for x, y in pairs] if as_dicts else pairs


def numbers(nets: list[nn.Module], data: list[Any]) -> dict[str, Any]:
    a, b = nets
    first = ts.predictions(a, data)
    line = ts.path(a, b, data, alphas=3, statistics=data)
    return {
        "logits": first.logits,
        "kappa": ts.mistakes(first, ts.predictions(b, data)).table().to_numpy(),
        "cka": ts.similarity(a, b, data).table().to_numpy(),
        "distance": ts.distance(a, b).l2,
        "line": line.table().select("alpha", "loss").to_numpy(),
        "rewind": ts.rewind(a, b, data, statistics=data).table().select("score", "loss").to_numpy(),
        "criticality": ts.criticality(a, b, data, alphas=2, sigmas=2, draws=1).table().to_numpy(),
    }


@pytest.mark.parametrize("kind", PACKS)
def test_probes_give_what_they_give_for_the_plain_network(kind: str) -> None:
    wanted, found = numbers(two(), batches(False)), numbers(two(PACKS[kind]), batches(True))
    assert wanted.keys() == found.keys()
    for name, value in wanted.items():
        assert repr(np.asarray(found[name]).tolist()) == repr(np.asarray(value).tolist()), name


def test_statistics_that_are_used_without_a_call_are_seen_whatever_is_returned() -> None:
    class Hidden(Packed):
        def body(self, x: Tensor) -> Tensor:
            norm = self.norm
            x = nn.functional.batch_norm(self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias)
            return self.more(x.relu()).relu().mean((2, 3))

    a, b = Hidden(Out), Hidden(Out)
    with pytest.raises(UserError, match="used without a call"):
        ts.path(a, b, batches(False), alphas=3, statistics=batches(False))


def test_which_of_several_are_the_logits_is_for_the_user_to_say() -> None:
    net = Packed(lambda y, h: (h, y))
    with pytest.raises(UserError, match=r"a tuple of 2.*wrap the network"):
        ts.predictions(net, batches(False))
    assert len(ts.similarity(net, net, batches(False)).table()) == 9, "features need no logits"
