"""The cut into blocks: the expected names, every tensor in exactly one block, execution order."""

import pytest
import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.blocks import Block, blocks, parameters_of
from transferscope.models.build import build_network

EXPECTED = {
    "timm:resnet18": ("conv1", "layer1.0", "layer1.1", "layer2.0", "fc"),
    "timm:tf_efficientnet_lite0": ("conv_stem", "blocks.0.0", "blocks.1.0", "blocks.6.0", "conv_head", "classifier"),
    "timm:vit_tiny_patch16_224": ("patch_embed", "blocks.0", "blocks.11", "norm", "head"),
    "timm:convnext_atto": ("stem", "stages.0.blocks.0", "stages.1.downsample", "stages.3.blocks.1", "head"),
    "torchvision:resnet18": ("conv1", "layer1.0", "layer4.1", "fc"),
    "torchvision:mobilenet_v3_small": ("features.0", "features.1", "features.12", "classifier.0", "classifier.3"),
    "torchvision:vgg11": ("features.0", "features.3", "features.18", "classifier.0", "classifier.6"),
    "transferscope.models.fixup_resnet:fixup_resnet14": ("conv1", "layer1.0", "layer2.0", "layer3.0", "layer4.0", "fc"),
}
COUNT = [10, 19, 15, 17, 10, 15, 11, 6]


@pytest.mark.parametrize(("ref", "count"), list(zip(EXPECTED, COUNT, strict=True)))
def test_every_tensor_is_in_exactly_one_block_and_the_names_are_the_networks_own(ref: str, count: int) -> None:
    net = build_network(ref, 4, seed=0)
    cut = blocks(net)
    names = [*net.state_dict(), *(name for name, _ in net.named_buffers())]
    found = [name for block in cut for name in parameters_of(block, names)]
    assert sorted(found) == sorted(names)
    assert len(cut) == count and all(parameters_of(block, names) for block in cut)
    order = [block.name for block in cut]
    places = [order.index(name) for name in EXPECTED[ref]]
    assert places == sorted(places) and places[0] == 0 and places[-1] == count - 1


@pytest.mark.parametrize("ref", ["timm:resnet18", "timm:vit_tiny_patch16_224", "torchvision:vgg11"])
def test_running_the_network_confirms_the_order_of_definition_and_changes_nothing(ref: str) -> None:
    net = build_network(ref, 4, seed=0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.get_submodule(blocks(net)[0].name).eval()
    flags = [module.training for module in net.modules()]
    assert blocks(net, torch.zeros(1, 3, 224, 224)) == blocks(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert [module.training for module in net.modules()] == flags
    assert not any(module._forward_pre_hooks for module in net.modules())


class Backwards(nn.Module):
    """Defined last to first, with a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(2))
        self.fc = nn.Linear(4, 2)
        self.unused = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.first = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.first(x)))


def test_an_example_puts_blocks_in_execution_order() -> None:
    net = Backwards()
    assert [block.name for block in blocks(net)] == ["fc", "unused", "second", "first"]
    assert blocks(net)[0].prefixes == ("fc", "token")
    assert [block.name for block in blocks(net, torch.zeros(1, 3))] == ["first", "second", "fc", "unused"]


def test_a_norm_joins_the_single_layer_before_it() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3))
    assert blocks(net) == (Block("0", ("0", "1")), Block("3", ("3",)))


def test_layer1_1_does_not_take_layer1_10() -> None:
    net = nn.ModuleDict({"layer1": nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))})
    cut = {block.name: block for block in blocks(net)}
    assert len(cut) == 12
    names = list(net.state_dict())
    assert parameters_of(cut["layer1.1"], names) == ("layer1.1.weight", "layer1.1.bias")
    assert parameters_of(cut["layer1.10"], names) == ("layer1.10.weight", "layer1.10.bias")


class Wrapper(nn.Module):
    """Somebody's shell around a network."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Headed(nn.Module):
    """A backbone, and a head beside it."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.norm, self.head = backbone, nn.LayerNorm(4), nn.Linear(4, 2)


class Block2(nn.Module):
    """Two layers, no list."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)


class Backbone(nn.Module):
    """A stem, and blocks inside an encoder."""

    def __init__(self, *elements: nn.Module) -> None:
        super().__init__()
        self.stem, self.encoder = nn.Linear(4, 4), nn.Module()
        self.encoder.layer = nn.ModuleList(elements)


@pytest.mark.parametrize("ref", ["timm:resnet18", "timm:vit_tiny_patch16_224", "torchvision:mobilenet_v3_small"])
def test_a_wrapped_network_has_the_blocks_of_the_network(ref: str) -> None:
    net = build_network(ref, 4, seed=0)
    for shell, lead in ((Wrapper(net), "net."), (Wrapper(Wrapper(net)), "net.net.")):
        assert blocks(shell) == tuple(
            Block(lead + block.name, tuple(lead + p for p in block.prefixes)) for block in blocks(net)
        )


def test_a_backbone_beside_its_head_is_opened_where_it_has_stages_or_many_layers() -> None:
    def names(net: nn.Module) -> list[str]:
        return [block.name.removeprefix("net.") for block in blocks(net)]

    staged = Headed(Backbone(Block2(), Block2()))
    inside = ["backbone.stem", "backbone.encoder.layer.0", "backbone.encoder.layer.1", "norm", "head"]
    assert names(staged) == names(Wrapper(staged)) == inside
    assert len(names(Headed(Backbone(*(nn.Linear(4, 4) for _ in range(4)))))) == 6, "the norm joins the last of them"
    assert names(Headed(Block2())) == ["backbone", "norm", "head"], "a block of a few layers is no backbone"
    assert names(Wrapper(Block2())) == ["a", "b"], "all there is"


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(UserError, match="no weight layers"):
        blocks(nn.Sequential(nn.ReLU()))
