"""The source's head stays where the weights bring one that fits; everything else starts as its arm does."""

import pytest
import torch
from safetensors.torch import save_file
from smoke import nets

from transferscope.errors import UserError
from transferscope.models import inits
from transferscope.models.build import build_network
from transferscope.models.starting_network import sourced

TINY = "smoke.nets:tiny"


@pytest.fixture
def weights(tmp_path):
    """References to weights of 1,000 classes, the same without a head, and wrapped."""
    state = nets.weights(seed=1)
    save_file(state, tmp_path / "whole.safetensors")
    save_file({n: t for n, t in state.items() if not n.startswith("11.")}, tmp_path / "body.safetensors")
    save_file({f"module.{n}": t for n, t in state.items()}, tmp_path / "wrapped.safetensors")
    return lambda name: f"file:{tmp_path / name}.safetensors"


@pytest.mark.parametrize("name", ["whole", "wrapped"])
def test_the_head_of_the_source_is_kept(weights, name: str) -> None:
    found = sourced(TINY, "pretrained", weights(name), 3, seed=0)
    state = nets.weights(seed=1)
    assert found.source_classes == 1000 and found.head == ("11",) and found.loaded and found.loaded.share == 1
    assert all(torch.equal(tensor, state[n]) for n, tensor in found.net.state_dict().items())


def test_weights_without_a_head_and_other_arms_get_a_fresh_one(weights) -> None:
    for name, arm in (("body", "pretrained"), ("whole", "stats"), ("whole", "random")):
        found = sourced(TINY, arm, weights(name), 3, seed=4)
        alike = build_network(TINY, 3, seed=4)
        inits.start(arm, alike, network=TINY, classes=3, weights=weights(name), seed=4)
        assert found.source_classes is None and found.net[-1].out_features == 3
        assert all(torch.equal(t, alike.state_dict()[n]) for n, t in found.net.state_dict().items()), arm


def test_what_does_not_fit_is_refused(weights) -> None:
    with pytest.raises(UserError, match="of the body's parameters"):
        sourced("smoke.nets:wider", "pretrained", weights("whole"), 3, seed=0)
    with pytest.raises(UserError, match="needs pretrained weights"):
        sourced(TINY, "stats", None, 3, seed=0)
