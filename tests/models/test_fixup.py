"""The paper's network: its size, its modules, its initial values."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transferscope.models.blocks import blocks
from transferscope.models.build import build_network
from transferscope.models.fixup_resnet import fixup_resnet14, fixup_resnet50
from transferscope.models.inits import start
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


SMALL, DEPTHS, WIDTH = "transferscope.models.fixup_resnet:fixup_resnet14", (1, 1, 1, 1), 16
SCALARS = ("bias1a", "bias1b", "bias2a", "bias2b", "bias3a", "scale", "bias3b")


def published(classes: int, depths: tuple[int, ...] = DEPTHS, width: int = WIDTH) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint of the published code: names, and shapes."""
    found = {"conv1.weight": (width, 3, 7, 7), "bias1": (1,)}
    inputs = width
    for stage, depth in enumerate(depths, 1):
        inner = width << (stage - 1)
        for number in range(depth):
            name = f"layer{stage}.{number}"
            found |= {f"{name}.{scalar}": (1,) for scalar in SCALARS}
            found |= {f"{name}.conv1.weight": (inner, inputs, 1, 1), f"{name}.conv2.weight": (inner, inner, 3, 3)}
            found |= {f"{name}.conv3.weight": (4 * inner, inner, 1, 1)}
            if not number:
                found[f"{name}.downsample.weight"] = (4 * inner, inputs, 1, 1)
            inputs = 4 * inner
    return {**found, "bias2": (1,), "fc.weight": (classes, inputs), "fc.bias": (classes,)}


def outputs(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """What the published network answers, step by step as its paper has it, in float64."""
    s = {name: tensor.double() for name, tensor in state.items()}
    x = F.max_pool2d(F.relu(F.conv2d(x.double(), s["conv1.weight"], stride=2, padding=3) + s["bias1"]), 3, 2, 1)
    for stage in range(1, 5):
        for number in range(DEPTHS[stage - 1]):
            of = {name: s[f"layer{stage}.{number}.{name}"] for name in SCALARS}
            conv = [s[f"layer{stage}.{number}.conv{k}.weight"] for k in (1, 2, 3)]
            stride = 2 if stage > 1 and not number else 1
            y = F.relu(F.conv2d(x + of["bias1a"], conv[0]) + of["bias1b"])
            y = F.relu(F.conv2d(y + of["bias2a"], conv[1], stride=stride, padding=1) + of["bias2b"])
            y = F.conv2d(y + of["bias3a"], conv[2]) * of["scale"] + of["bias3b"]
            down = s.get(f"layer{stage}.{number}.downsample.weight")
            x = F.relu(y + (x if down is None else F.conv2d(x + of["bias1a"], down, stride=stride)))
    return F.linear(x.mean((2, 3)) + s["bias2"], s["fc.weight"], s["fc.bias"])


def test_the_published_networks_have_the_published_counts() -> None:
    """345 outputs for DomainNet, 5 for CheXpert, 1,000 for ImageNet: names and shapes of the code's tensors, summed."""
    for classes in (345, 5, 1000):
        listed = sum(torch.Size(shape).numel() for shape in published(classes, (3, 4, 6, 3), 64).values())
        with torch.device("meta"):
            assert listed == sum(p.numel() for p in fixup_resnet50(classes).parameters())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_of_the_published_code_is_taken_whole(prefix: str) -> None:
    """Every scalar of the body among it, though they are a millionth of the parameters; the answers are the same."""
    drawn = torch.Generator().manual_seed(0)
    state = {name: 0.1 * torch.randn(shape, generator=drawn) for name, shape in published(7).items()}
    net = build_network(SMALL, 7, seed=0)
    given = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    loaded = start("pretrained", net, network=SMALL, classes=7, weights=given, seed=0)
    assert (
        loaded is not None
        and loaded.unfilled == ()
        and loaded.tensors_matched == loaded.tensors_total == len(state) - 3
    )
    assert loaded.share == 1.0 and "Fixup's own code" in loaded.renamed
    assert not torch.equal(net.fc.weight, state["fc.weight"]), "the head is new"
    with torch.no_grad():
        for own, name in ((net.fc.weight, "fc.weight"), (net.fc.bias, "fc.bias"), (net.fc.input_bias, "bias2")):
            own.copy_(state[name])
    x = torch.randn(2, 3, 64, 64, generator=drawn)
    assert torch.allclose(net.double()(x.double()), outputs(state, x), rtol=1e-9, atol=1e-12)
