"""A head that is run by itself: against whole passes, and where it would not be what the network does."""

import pytest
import torch
from torch import nn

from transferscope.models.build import build_network
from transferscope.models.outputs import logits_of
from transferscope.tasks import frozen, run_setup


class Net(nn.Module):
    """A body, a head, and what is done before and behind it."""

    def __init__(self, before=lambda self, x: x, behind=lambda self, x: x, head: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = head or nn.Linear(8, 5)
        self.before, self.behind = before, behind

    def forward(self, x):
        return self.behind(self, self.head(self.before(self, self.body(x))))


def part_of(net: nn.Module, drop_in: str = "nothing") -> frozen.FrozenPart:
    found = frozen.frozen_part(net, run_setup.freeze(net, "head", 5, drop_in), torch.randn(4, 3, 32, 32), "float32")
    assert found is not None
    return found


@pytest.mark.parametrize("net", [Net(), "timm:resnet18", "timm:tf_efficientnet_lite0", "timm:convnext_atto"])
def test_it_gives_the_outputs_of_a_whole_pass(net) -> None:
    net = build_network(net, 5, seed=0) if isinstance(net, str) else net
    part, x = part_of(net), torch.randn(3, 3, 32, 32)
    assert part.head is not None and part.sample_bytes < x[0].nbytes
    net.eval()
    with torch.no_grad():
        given = part.head.given(part.head.returned(x))
        torch.testing.assert_close(logits_of(part.head.module(given), 3), net(x))
        assert part.sample_bytes == given[0].nbytes


def test_of_a_head_that_is_only_partly_trained_what_trains_is_run() -> None:
    head = nn.Sequential(nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 5))
    part = part_of(Net(head=head))
    assert part.head is not None and part.head.name == "head.1"


@pytest.mark.parametrize(
    "net",
    [
        Net(before=lambda self, x: nn.functional.dropout(x, 0.3, self.training)),
        Net(behind=lambda self, x: nn.functional.dropout(x, 0.3, self.training)),
        Net(behind=lambda self, x: 2 * x),
        Net(behind=lambda self, x: x.cumsum(0)),
        Net(behind=lambda self, x: self.head(x.new_ones(len(x), 8)) + x),
    ],
)
def test_where_something_else_is_done_passes_are_the_networks_own(net) -> None:
    torch.nn.init.zeros_(net.head.bias)
    assert part_of(net).head is None


def test_a_head_of_zeros_hides_nothing() -> None:
    net = Net(behind=lambda self, x: 2 * x)
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)
    assert part_of(net).head is None


def test_networks_with_two_heads_have_none_to_run() -> None:
    net = build_network("timm:deit_tiny_distilled_patch16_224", 5, seed=0)
    example = torch.randn(2, 3, 224, 224)
    part = frozen.frozen_part(net, run_setup.freeze(net, "head", 5), example, "float32")
    assert part is not None and part.head is None
