"""What `check` says of a network that is trained otherwise than its published recipes have it, and of its patches."""

from typing import Any

import pytest
from torch import nn

from transferscope.models.build import build_network
from transferscope.models.usual_settings import optimiser, patch_side, remarks, usual_side
from transferscope.registry import joined

VIT = joined("timm:vit_tiny_patch16_224", {"depth": 1})
NETS: dict[str, tuple[str, int | None, int | None]] = {
    "timm:resnet18": ("sgd", 224, None),
    VIT: ("adamw", 224, 16),
    joined("timm:vit_tiny_patch16_224", {"depth": 1, "img_size": 32, "patch_size": 8}): ("adamw", 224, 8),
    "timm:convnext_atto": ("adamw", 288, None),
    "timm:swin_tiny_patch4_window7_224": ("adamw", 224, 4),
    "torchvision:vit_b_16": ("adamw", None, 16),
    "torchvision:resnet18": ("sgd", None, None),
    "transferscope.models.fixup_resnet:fixup_resnet14": ("sgd", None, None),
}


@pytest.mark.parametrize("ref", NETS)
def test_habits_of_networks(ref: str) -> None:
    net = build_network(ref, 3, seed=0)
    usual = usual_side(net)
    assert (optimiser(net), patch_side(net)) == (NETS[ref][0], NETS[ref][2])
    assert (usual is None) == (NETS[ref][1] is None) and (usual is None or usual >= 224)


def test_a_network_with_batch_norm_beside_layer_norm_takes_either() -> None:
    assert optimiser(nn.Sequential(nn.LayerNorm(3), nn.BatchNorm1d(3))) == "sgd"


def test_remarks_are_made_where_kinds_differ_and_not_else() -> None:
    vit: Any = build_network(VIT, 3, seed=0)
    (both, small) = remarks(vit, "sgd", 32)
    assert "recipe.optimizer is sgd" in both and "adamw" in both and "\n" not in both
    assert "made for images of 224 px and gets 32 px" in small and "patches of 16 px leave 2 x 2" in small
    assert len(remarks(vit, "adamw", 32)) == 1 and remarks(vit, "adamw", 64) == remarks(vit, "my_lab.opt", None) == []
    assert remarks(build_network("timm:resnet18", 3, seed=0), "sgd", 64) == []
