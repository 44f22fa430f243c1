"""What a network drops in training: residual branches and activations, or one sentence that names the key."""

import pytest
import torch
from torch import nn

from transferscope.errors import UserError
from transferscope.models.build import build_network

NET = "timm:test_resnet"


def dropping(num_classes: int, drop_rate: float = 0.0) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Dropout(drop_rate), nn.Linear(12, num_classes))


def twice(net: nn.Module) -> bool:
    """Whether two passes in training agree, with branches that give something (timm begins them at 0)."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    x = torch.ones(8, 3, 32, 32)
    with torch.no_grad():
        return torch.equal(net(x), net(x))


@pytest.mark.parametrize("key", ["drop_path", "dropout"])
def test_it_drops_and_begins_with_the_same_values(key: str) -> None:
    plain, other = build_network(NET, 5, seed=0), build_network(NET, 5, seed=0, drops={key: 0.5})
    state = other.state_dict()
    assert state.keys() == plain.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in plain.state_dict().items())
    assert twice(plain) and not twice(other) and twice(other.eval())


def test_a_factory_that_takes_it_is_given_it() -> None:
    net = build_network(f"{__name__}:dropping", 5, seed=0, drops={"dropout": 0.25})
    assert net[1].p == 0.25
    with pytest.raises(UserError, match=r"recipe.drop_path: .*dropping' takes no drop_path_rate; remove the key, "):
        build_network(f"{__name__}:dropping", 5, seed=0, drops={"drop_path": 0.25})


@pytest.mark.parametrize("ref", ["timm:vgg11", "torchvision:squeezenet1_1", "toy.nets:tiny"])
def test_what_cannot_drop_paths_is_one_sentence(ref: str) -> None:
    with pytest.raises(UserError, match=f"recipe.drop_path: '{ref}' takes no drop_path_rate"):
        build_network(ref, 5, seed=0, drops={"drop_path": 0.1})
