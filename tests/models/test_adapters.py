"""Low-rank adapters: against the peft library, merged, taken off again, and on layers that are called otherwise."""

import copy

import peft
import pytest
import torch
from torch import nn

from transferscope import models
from transferscope.errors import UserError
from transferscope.models import adapters
from transferscope.models.anatomy import adaptable_weights
from transferscope.models.build import build_network, head_names
from transferscope.models.precision import prepare

CLASSES, RANK = 5, 3


class Around(nn.Module):
    """Reads the weight of a layer that it does not call, as BEiT does its projection."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)

    def forward(self, x):
        return nn.functional.linear(x, self.inner.weight, self.inner.bias)


class Standardised(nn.Conv2d):
    """Computes with another weight than the one that it holds."""

    def forward(self, x):
        weight = self.weight / self.weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class Odd(nn.Module):
    """Every kind of layer that an adapter cannot stand beside, one that is never called and two that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Standardised(3, 6, 3)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.around, self.unused = Around(), nn.Linear(6, 6)
        self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6)
        self.other.weight = self.one.weight
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.fc(self.other(self.one(self.around(x))).mean(1))


def vit() -> nn.Module:
    import timm

    how = {"img_size": 32, "patch_size": 16, "depth": 2, "embed_dim": 24, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, **how)


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 12, 3, dilation=2, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, CLASSES),
    )


def plain() -> nn.Module:
    """Without dilation and padding by reflection, which convolutions of peft's adapters lack (0.21)."""
    layers = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, (3, 1), bias=False)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, CLASSES))


def made(factory, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = factory().double().eval()
        for p in net.parameters():  # none begins at 0, as a norm's bias and the head of a vision transformer do
            p.data += 0.1 * torch.randn_like(p)
    return net


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def learnt(net: nn.Module, rank: int = RANK) -> adapters.Adapters:
    """Adapters whose B is no longer 0."""
    found = adapters.attach(net, rank, CLASSES, example=images(1), seed=0)
    draw = torch.Generator().manual_seed(2)
    for place in found.places:
        b = place.factors[1]
        b.data = 0.1 * torch.randn(b.shape, generator=draw, dtype=b.dtype)
    return found


@pytest.mark.parametrize("factory", [vit, plain], ids=lambda factory: factory.__name__)
def test_outputs_gradients_and_merged_weights_are_those_of_peft(factory) -> None:
    ours, theirs = made(factory), made(factory)
    found = learnt(ours)
    layers = [place.name.removesuffix(".weight") for place in found.places]
    how = peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules="|".join(name.replace(".", r"\.") for name in layers)
    )
    theirs = peft.inject_adapter_in_model(how, theirs).double().eval()
    pairs = []
    for place, layer in zip(found.places, layers, strict=True):
        module = theirs.get_submodule(layer)
        theirs_here = module.lora_A["default"].weight, module.lora_B["default"].weight
        for mine, its in zip(place.factors, theirs_here, strict=True):
            its.data = mine.detach().clone().view_as(its)
            pairs.append((mine, its))
    mine, its = ours(images()), theirs(images())
    assert not torch.allclose(mine, made(factory)(images()), rtol=1e-3)
    torch.testing.assert_close(mine, its, rtol=1e-10, atol=1e-12)  # float64
    mine.square().sum().backward()
    its.square().sum().backward()
    for a, b in pairs:
        torch.testing.assert_close(a.grad.view_as(b.grad), b.grad, rtol=1e-8, atol=1e-10)
    state = found.state()
    for layer in layers:
        module = theirs.get_submodule(layer)
        module.merge()
        torch.testing.assert_close(state[f"{layer}.weight"], module.base_layer.weight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factory", [vit, convolutions, Odd], ids=lambda factory: factory.__name__)
def test_merged_weights_are_the_network_and_nothing_is_left(factory) -> None:
    net, other = made(factory), made(factory)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    adapters.attach(net, RANK, CLASSES, example=images(1), seed=0).remove()
    found = learnt(net)
    adapted = net(images())
    assert not torch.allclose(adapted, other(images()), rtol=1e-3)
    with found.merged():
        torch.testing.assert_close(net(images()), adapted, rtol=1e-10, atol=1e-12)  # float64
    other.load_state_dict(found.state())
    torch.testing.assert_close(other(images()), adapted, rtol=1e-10, atol=1e-12)
    adapted.sum().backward()
    factors = [p for place in found.places for p in place.factors]
    assert all(p.grad is not None and bool(p.grad.any()) for p in factors)
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    heads = {f"{head}.{kind}" for head in head_names(net, CLASSES) for kind in ("weight", "bias")}
    assert trained == heads | {place.name + end for place in found.places for end in adapters.ENDS}
    found.remove()
    assert [*net.state_dict()] == [*before] and all(torch.equal(net.state_dict()[n], t) for n, t in before.items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_an_adapted_network_begins_as_itself_and_its_rank_is_at_most_the_weights() -> None:
    net = made(convolutions)
    before = net(images())
    found = adapters.attach(net, 10, CLASSES, example=images(1), seed=0)
    assert torch.equal(net(images()), before)
    assert [tuple(a.shape) for place in found.places for a in place.factors] == [(8, 27), (8, 8), (10, 72), (12, 10)]
    a = found.places[0].factors[0].detach()
    assert a.abs().max() <= 27**-0.5 and a.std() == pytest.approx(27**-0.5 / 3**0.5, rel=0.15)  # of 216 draws
    again, other = (
        adapters.attach(made(convolutions), 10, CLASSES, example=images(1), seed=seed).places[0].factors[0]
        for seed in (0, 1)
    )
    assert torch.equal(a, again) and not torch.equal(a, other)


def test_what_is_called_otherwise_is_adapted_and_what_is_shared_or_unused_is_not() -> None:
    net = made(Odd)
    found = adapters.attach(net, RANK, CLASSES, example=images(1), seed=0)
    assert {place.name: (type(place.caller).__name__, place.beside) for place in found.places} == {
        "stem.weight": ("Standardised", False),
        "attention.in_proj_weight": ("MultiheadAttention", False),
        "attention.out_proj.weight": ("MultiheadAttention", False),
        "around.inner.weight": ("Around", False),
    }


def test_a_pass_that_fails_leaves_the_weights_in_place() -> None:
    net = made(Odd)
    found, weight = learnt(net), net.stem.weight
    with pytest.raises(RuntimeError):
        net(torch.zeros(1, 5, 32, 32, dtype=torch.float64))
    assert net.stem.weight is weight and found.places[0].weight is weight


@pytest.mark.parametrize("ref", ["timm:test_vit", "timm:test_efficientnet", "toy.nets:lite"])
def test_hastened_networks_are_adapted_alike(ref) -> None:
    """Convolutions that take faster ways on small maps: the same as without them."""
    net = build_network(ref, CLASSES, seed=0).eval()
    found = learnt(prepare(copy.deepcopy(net), "cpu").double())
    net.double().load_state_dict(found.state())
    x = images(2) if ref != "timm:test_vit" else torch.randn(2, 3, 160, 160, dtype=torch.float64)
    torch.testing.assert_close(found.net(x), net(x), rtol=1e-9, atol=1e-11)


def test_a_network_without_a_layer_for_it_is_one_sentence() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, CLASSES))
    with pytest.raises(UserError, match="LoRA has no layer to stand on, for Sequential has neither a linear"):
        adapters.attach(net.double(), RANK, CLASSES, example=images(1), seed=0)
    for wrong in ("lora:0", "lora:", "lora:x"):
        with pytest.raises(UserError, match="should be lora:R with a rank R of 1 or more"):
            adapters.rank_of(wrong)
    assert adapters.rank_of("lora:4") == 4 and adapters.rank_of("top:4") is adapters.rank_of("all") is None


def test_what_can_be_adapted_is_remembered(tmp_path) -> None:
    names = adaptable_weights("toy.nets:lite", tmp_path)
    assert names == ("0.weight", "6.weight", "9.weight", "12.weight") == adaptable_weights("toy.nets:lite", tmp_path)


@pytest.mark.parametrize("kind", ["vit", "convnext", "swin", "resnet"])
def test_networks_of_transformers_take_adapters(kind, tmp_path) -> None:
    import hugging

    ref = models.settled(f"transformers:{hugging.write(tmp_path, kind)}", tmp_path)
    net, other = (build_network(ref, CLASSES, seed=0).double().eval() for _ in range(2))
    found = learnt(net)
    with torch.no_grad():
        adapted = net(images()).logits
        other.load_state_dict(found.state())
        torch.testing.assert_close(other(images()).logits, adapted, rtol=1e-9, atol=1e-11)
    assert all(place.beside for place in found.places)
