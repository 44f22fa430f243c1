"""The arms: which values a run starts from, and the laws between them."""

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.blocks import blocks, parameters_of
from transferscope.models.build import build_network
from transferscope.models.inits import start

REF = "timm:resnet18"


@cache
def source() -> dict[str, Tensor]:
    """A stand-in for pretrained weights: another seed, other running statistics, a head of another width."""
    state = build_network(REF, 11, seed=99).state_dict()
    return {
        n: t + 0.5 if t.is_floating_point() and t.ndim == 1 else t + 3 if t.ndim == 0 else t for n, t in state.items()
    }


@cache
def arm(name: str, seed: int = 0, head_seed: int | None = None) -> dict[str, Tensor]:
    net = build_network(REF, 4, seed=seed)
    loaded = start(name, net, network=REF, classes=4, weights=source(), seed=seed, head_seed=head_seed)
    assert (loaded is None) == (name == "random")
    assert loaded is None or loaded.share == 1
    return net.state_dict()


def body(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_random_is_the_fresh_network_and_pretrained_the_source() -> None:
    assert same(arm("random"), build_network(REF, 4, seed=0).state_dict())
    assert same(body(arm("pretrained")), body(source()))
    assert not same(body(arm("random")), body(arm("pretrained")))


def test_transfusing_nothing_is_random_and_everything_is_pretrained() -> None:
    assert same(arm("transfuse:0"), arm("random"))
    assert same(arm("transfuse:0+stats"), arm("stats"))
    count = len(blocks(build_network(REF, 4, seed=0)))
    for everything in ("transfuse:all", f"transfuse:{count}", "transfuse:fc", "transfuse:all+stats"):
        assert same(arm(everything), arm("pretrained"))


@pytest.mark.parametrize("above", ["random", "stats"])
def test_transfuse_changes_exactly_the_blocks_asked_for(above: str) -> None:
    tail = "+stats" if above == "stats" else ""
    mixed = arm("transfuse:3" + tail)
    assert same(mixed, arm("transfuse:layer1.1" + tail))
    for place, block in enumerate(blocks(build_network(REF, 4, seed=0))):
        for name in parameters_of(block, mixed):
            expected = arm("pretrained" if place < 3 else above)
            assert torch.equal(mixed[name], expected[name]), name


def test_stats_keeps_mean_and_variance_and_nothing_else() -> None:
    drawn = arm("stats")
    for name, parameter in build_network(REF, 4, seed=0).named_parameters():
        if name.startswith("fc."):
            continue
        was, now, n = source()[name].double(), drawn[name].double(), parameter.numel()
        spread = was.std(correction=0)
        assert abs(now.mean() - was.mean()) <= 5 * spread / n**0.5 + 1e-7, name
        if spread > 0:
            assert abs(now.std(correction=0) / spread - 1) <= 5 / (2 * n) ** 0.5, name
            assert abs(torch.corrcoef(torch.stack([now.flatten(), was.flatten()]))[0, 1]) < 5 / n**0.5, name
    assert not same(drawn, arm("stats", seed=1))


def test_permuted_keeps_exactly_the_values_of_each_tensor() -> None:
    drawn = arm("permuted")
    for name in ("conv1.weight", "layer2.0.conv1.weight", "layer4.1.conv2.weight"):
        assert torch.equal(drawn[name].flatten().sort().values, source()[name].flatten().sort().values)
        assert not torch.equal(drawn[name], source()[name])


@pytest.mark.parametrize("name", ["stats", "permuted"])
def test_running_statistics_of_drawn_arms_are_fresh(name: str) -> None:
    drawn = arm(name)
    for key, tensor in drawn.items():
        if key.endswith("running_var"):
            assert torch.equal(tensor, torch.ones_like(tensor))
        if key.endswith("running_mean"):
            assert torch.equal(tensor, torch.zeros_like(tensor))


def test_the_head_depends_on_its_own_seed_only() -> None:
    heads = [arm(a, seed, head_seed=7)["fc.weight"] for a in ("random", "pretrained", "stats") for seed in (0, 1)]
    assert all(torch.equal(head, heads[0]) for head in heads)
    assert torch.equal(heads[0], build_network(REF, 4, seed=7).state_dict()["fc.weight"])
    assert not torch.equal(arm("pretrained", 0)["fc.weight"], arm("pretrained", 1)["fc.weight"])
    assert same(body(arm("random", 0, head_seed=7)), body(arm("random", 0)))
    assert torch.equal(arm("random", 0)["fc.weight"], arm("pretrained", 0)["fc.weight"])


def test_weights_that_change_nothing_are_refused() -> None:
    net = build_network(REF, 4, seed=0)
    with pytest.raises(UserError, match="equal the random initial values"):
        start("pretrained", net, network=REF, classes=4, weights=build_network(REF, 4, seed=0).state_dict(), seed=0)


def test_impossible_arms_are_refused() -> None:
    def run(name: str, weights: dict[str, Tensor] | None) -> None:
        start(name, build_network(REF, 4, seed=0), network=REF, classes=4, weights=weights, seed=0)

    with pytest.raises(UserError, match="needs pretrained weights"):
        run("pretrained", None)
    with pytest.raises(UserError, match="10 blocks"):
        run("transfuse:11", source())
    with pytest.raises(UserError, match=r"did you mean 'layer1\.1'"):
        run("transfuse:layer1.11", source())


def test_a_network_keeps_no_memory_of_the_source() -> None:
    net: nn.Module = build_network(REF, 4, seed=0)
    start("pretrained", net, network=REF, classes=4, weights=source(), seed=0)
    before = source()["conv1.weight"].clone()
    with torch.no_grad():
        net.get_parameter("conv1.weight").zero_()
    assert torch.equal(source()["conv1.weight"], before)
