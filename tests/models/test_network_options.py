"""Options of a network reach its factory, are part of its text, and are named where they are refused."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from transferscope import models
from transferscope.errors import UserError
from transferscope.models.build import build_network
from transferscope.registry import joined
from transferscope.study import Study

VIT = "timm:vit_tiny_patch16_224"


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with factories of somebody's own."""
    module = types.ModuleType("transferscope.my_nets")

    def wide(num_classes: int, width: int = 4, depth: int = 1) -> nn.Module:
        if width > 100:
            raise MemoryError("too wide")
        return nn.Sequential(*(nn.Linear(width, width) for _ in range(depth)), nn.Linear(width, num_classes))

    def demanding(num_classes: int, width: int) -> nn.Module:
        return wide(num_classes, width)

    module.wide, module.demanding = wide, demanding  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transferscope.my_nets", module)
    return "transferscope.my_nets"


def test_options_reach_the_factory(mine: str) -> None:
    small: Any = build_network(joined(VIT, {"img_size": 32, "depth": 2, "drop_path_rate": 0.2}), 3, seed=0)
    assert small.patch_embed.grid_size == (2, 2) and len(small.blocks) == 2
    assert small.blocks[1].drop_path1.drop_prob == pytest.approx(0.2)
    assert build_network(joined("torchvision:resnet18", {"width_per_group": 64}), 3, seed=0)
    for name in ("wide", "demanding"):
        net: Any = build_network(joined(f"{mine}:{name}", {"width": 8}), 3, seed=0)
        assert net[0].in_features == 8


@pytest.mark.parametrize(
    ("ref", "options", "words"),
    [
        (VIT, {"img_size": 32, "img_sise": 32}, ["network.options.img_sise", "takes no such option"]),
        ("timm:resnet18", {"img_size": 32}, ["network.options.img_size", "timm:resnet18"]),
        (VIT, {"drop_path_rate": 0.1, "img_size": "small"}, ["network.options.img_size", "'small'"]),
        (VIT, {"num_classes": 3}, ["network.options.num_classes", "the study decides it"]),
        (VIT, {"pretrained": True}, ["network.options.pretrained"]),
        ("torchvision:resnet18", {"depth": 3}, ["network.options.depth"]),
        ("torchvision:resnet18", {"weights": "DEFAULT"}, ["network.options.weights"]),
        ("transferscope.my_nets:wide", {"widht": 8}, ["network.options.widht", "did you mean 'width'"]),
        ("transferscope.my_nets:wide", {"depth": 2, "width": 999}, ["network.options.width", "999", "too wide"]),
        ("transferscope.my_nets:wide", {"num_classes": 2}, ["network.options.num_classes"]),
    ],
)
def test_options_that_are_unknown_or_refused_are_named(
    mine: str, ref: str, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UserError) as refused:
        build_network(joined(ref, options), 3, seed=0)
    said = str(refused.value)
    assert "\n" not in said and all(word in said for word in words), said


def study(network: Any, folder: Path, **more: Any) -> Study:
    return Study.parse({"targets": "digits", "network": network, "arms": ["random"], **more}, folder=folder)


def test_options_are_part_of_the_steps_and_none_are_none(tmp_path: Path) -> None:
    keys = {
        name: study(network, tmp_path).run("digits", "random", 0).key
        for name, network in {
            "text": VIT,
            "mapping": {"ref": VIT},
            "empty": {"ref": VIT, "options": {}},
            "null": {"ref": VIT, "options": None},
            "small": {"ref": VIT, "options": {"img_size": 32, "depth": 2}},
            "order": {"ref": VIT, "options": {"depth": 2, "img_size": 32}},
            "other": {"ref": VIT, "options": {"img_size": 64, "depth": 2}},
        }.items()
    }
    assert keys["text"] == keys["mapping"] == keys["empty"] == keys["null"]
    assert keys["small"] == keys["order"] and len({keys["text"], keys["small"], keys["other"]}) == 3


def test_a_study_writes_its_network_as_it_was_given(tmp_path: Path) -> None:
    import yaml

    given = {"ref": VIT, "options": {"img_size": 32}}
    for network in (VIT, given):
        again = yaml.safe_load(study(network, tmp_path).resolved())
        assert again["network"] == network and Study.parse(again).network == study(network, tmp_path).network
    assert models.in_words(joined(VIT, {"a": 1, "b": 2, "c": 3, "d": 4})) == f"{VIT} (a 1, b 2, c 3, ...)"
    assert models.in_words(VIT) == VIT


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"ref": VIT, "option": {}}, "study: network: unknown key 'option'; did you mean 'options'"),
        ({"ref": VIT, "options": [1]}, "study: network: write {ref:"),
        ({"options": {}}, "study: network: write {ref:"),
        ({"ref": VIT, "options": {"num_classes": 2}}, "study: network.options.num_classes: the study decides it"),
        ({"ref": "vit"}, "study: network: 'vit' lacks its scheme"),
        (3, "study: network: input should be a valid string"),
    ],
)
def test_a_network_that_is_written_wrongly_is_one_sentence(network: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        study(network, tmp_path)
    assert str(refused.value).startswith(words), str(refused.value)
