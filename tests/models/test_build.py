"""Networks from references: pure in (ref, classes, seed), with the head that is asked for."""

import random
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from transferscope.errors import UserError
from transferscope.models.build import build_network, head_names, seeded
from transferscope.models.weights import fingerprint_state


def test_building_is_a_pure_function_and_leaves_global_randomness_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fingerprint_state(build_network("timm:resnet18", 5, seed=3).state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert fingerprint_state(build_network("timm:resnet18", 5, seed=3).state_dict()) == first
    assert fingerprint_state(build_network("timm:resnet18", 5, seed=4).state_dict()) != first


def test_seeded_restores_every_generator_even_after_an_exception() -> None:
    torch.manual_seed(0), np.random.seed(0), random.seed(0)  # noqa: NPY002
    expected = (torch.rand(1).item(), np.random.rand(), random.random())  # noqa: NPY002
    torch.manual_seed(0), np.random.seed(0), random.seed(0)  # noqa: NPY002

    def draw_and_fail() -> None:
        with seeded(2**63):
            torch.rand(3), np.random.rand(), random.random()  # noqa: NPY002
            raise KeyError

    with pytest.raises(KeyError):
        draw_and_fail()
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected  # noqa: NPY002


@pytest.mark.parametrize(
    ("ref", "head"),
    [
        ("timm:resnet18", ("fc",)),
        ("timm:convnext_atto", ("head.fc",)),
        ("timm:deit_tiny_distilled_patch16_224", ("head", "head_dist")),
        ("torchvision:mobilenet_v3_small", ("classifier.3",)),
        ("torchvision:squeezenet1_1", ("classifier.1",)),
        ("transferscope.models.fixup_resnet:fixup_resnet14", ("fc",)),
    ],
)
def test_heads_are_found(ref: str, head: tuple[str, ...]) -> None:
    net = build_network(ref, 7, seed=0)
    assert head_names(net, 7) == head
    assert net.training
    for name in head:
        assert next(net.get_submodule(name).parameters()).shape[0] == 7


def test_the_last_fitting_layer_is_the_head_of_an_unknown_network() -> None:
    assert head_names(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), 4) == ("2",)
    with pytest.raises(UserError, match="no head with 3 outputs"):
        head_names(nn.Sequential(nn.Linear(4, 4)), 3)


def test_bad_networks_say_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("transferscope.my_nets")
    module.build = lambda num_classes: nn.Sequential(nn.Linear(3, num_classes))  # type: ignore[attr-defined]
    module.deaf = lambda num_classes: nn.Sequential(nn.Linear(3, 1000))  # type: ignore[attr-defined]
    module.text = lambda num_classes: "resnet"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transferscope.my_nets", module)
    assert build_network("transferscope.my_nets:build", 2, seed=0)[0].out_features == 2  # type: ignore[index]
    for ref, says in [
        ("transferscope.my_nets:biuld", "did you mean 'build'"),
        ("transferscope.my_nets:deaf", "num_classes"),
        ("transferscope.my_nets:text", "not a torch.nn.Module"),
        ("transferscope.no_nets:build", "cannot import"),
        ("timm:resnet81", "did you mean 'resnet"),
        ("torchvision:vgg1", "did you mean 'vgg"),
    ]:
        with pytest.raises(UserError, match=says):
            build_network(ref, 2, seed=0)
