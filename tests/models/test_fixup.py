"""The paper's network: its size, its modules, its initial values."""

import torch

from transferscope.models.blocks import blocks
from transferscope.models.build import build_network
from transferscope.models.fixup_resnet import fixup_resnet14, fixup_resnet50
from transferscope.models.norm import has_batch_norm

REF = "transferscope.models.fixup_resnet:fixup_resnet50"


def test_parameters_are_as_many_as_the_paper_has() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in fixup_resnet50(classes).parameters()) for classes in (345, 5)]
    assert counts == [24_161_931, 23_465_271]


def test_the_cut_is_the_papers_eighteen_modules() -> None:
    net = build_network(REF, 5, seed=0)
    names = [block.name for block in blocks(net)]
    depths = (3, 4, 6, 3)
    assert names == ["conv1", *(f"layer{s + 1}.{i}" for s in range(4) for i in range(depths[s])), "fc"]
    assert not has_batch_norm(net)


def test_initial_values_follow_fixup() -> None:
    net = build_network(REF, 5, seed=0)
    weight = net.get_parameter("layer3.2.conv2.weight")
    assert abs(weight.std().item() / ((2 / (256 * 9)) ** 0.5 * 16**-0.25) - 1) < 0.01
    assert net.get_parameter("layer3.2.conv3.weight").abs().max() == 0
    assert net.get_parameter("fc.weight").abs().max() > 0


def test_it_runs_and_every_parameter_is_reached() -> None:
    torch.manual_seed(0)
    net = fixup_resnet14(5)
    for _ in range(2):  # the zero convolutions hide what is before them from the first step
        out = net(torch.randn(2, 3, 64, 64))
        assert out.shape == (2, 5)
        net.zero_grad()
        out.square().sum().backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.01 * p.grad
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
