"""A trial step says what a network returned or wanted, and a size of images is blamed only where another one works."""

import sys
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.input_shape import Example, picture
from transferscope.models.build import build_network
from transferscope.models.trial_step import trial


class Net(nn.Module):
    """A small network whose outputs pass through `after`."""

    def __init__(self, after: Callable[[Tensor], Any] = lambda y: y, channels: int = 3, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.head, self.after = nn.Linear(8, classes), after

    def forward(self, x: Tensor) -> Any:
        return self.after(self.head(self.body(x).flatten(1)))


class Branching(Net):
    """Its way depends on its input."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x if x.mean() > 0 else -x)


class Picky(Net):
    """Takes images of one size."""

    def forward(self, x: Tensor) -> Any:
        assert x.shape[-1] == 64, "input size must be 64"
        return super().forward(x)


def broken(x: Tensor) -> Any:
    raise KeyError("mask")


@pytest.mark.parametrize("net", [Net(), Branching(), Net(lambda y: y.log_softmax(1)), nn.Sequential(Net())])
def test_good_networks_pass(net: nn.Module) -> None:
    before = {module: module.training for module in net.modules()}
    assert trial(net, "mine", 2, picture(32)) == ""
    assert {module: module.training for module in net.modules()} == before


@pytest.mark.parametrize(
    ("net", "says"),
    [
        (Net(lambda y: SimpleNamespace(output=y, other=2 * y)), r"SimpleNamespace.*net\(x\)\.output"),
        (Net(lambda y: (y, 2 * y)), r"a tuple of 2.*net\(x\)\[0\]"),
        (Net(lambda y: {"a": y, "b": 2 * y}), r"dict with 'a', 'b'.*net\(x\)\['...'\]"),
        (Net(lambda y: None), "NoneType"),
        (Net(lambda y: y.argmax(1)), r"int64 tensor of shape \(4,\)"),
        (Net(channels=1), "wants images of 1 channel .*images here have 3"),
        (Net(channels=5), r"wants images of 5 channels \(its layer 'body.0'\)"),
        (Net(lambda y: y.softmax(1)), "returns probabilities.*before the softmax"),
        (nn.Sequential(Net(), nn.Softmax(1)), "returns probabilities"),
        (nn.Sequential(Net(), nn.Sigmoid()), "returns probabilities"),
        (Net(classes=7), "7 outputs for 2 classes"),
        (Net(lambda y: y / 0), "not finite"),
        (Net(lambda y: y.detach()), "cannot take a step back"),
        (Net(broken), r"'mask'.*fails at 224 and 64 px too"),
    ],
)
def test_other_networks_get_one_sentence(net: nn.Module, says: str) -> None:
    with pytest.raises(UserError, match=says) as refused:
        trial(net, "lab.nets:mine", 2, picture(32))
    assert "lab.nets:mine" in str(refused.value) and "set another image_size" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_size_is_blamed_where_another_one_works() -> None:
    with pytest.raises(UserError, match=r"images of 32 px.*input size must be 64.*another image_size, 64 works"):
        trial(Picky(), "mine", 2, picture(32))
    vit = build_network("timm:vit_tiny_patch16_224", 2, seed=0)
    with pytest.raises(UserError, match="set another image_size, 224 works"):
        trial(vit, "timm:vit_tiny_patch16_224", 2, picture(48))


def test_images_need_not_have_three_channels_nor_be_square() -> None:
    seen = []
    net = Net(lambda y: y, channels=1)
    net.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    assert trial(net, "mine", 2, Example((1, 24, 40))) == ""
    assert set(seen) == {(4, 1, 24, 40)}
    with pytest.raises(UserError, match=r"wants images of 3 channels .*images here have 1\."):
        trial(Net(), "mine", 2, Example((1, 24, 40)))
    with pytest.raises(UserError, match=r"images of 40 x 24 px.*another image_size, 64 works"):
        trial(Picky(), "mine", 2, Example((3, 24, 40)))


def test_outputs_like_probabilities_get_a_word() -> None:
    assert "sigmoid" in trial(Net(lambda y: y.sigmoid()), "mine", 2, picture(32))


def factories() -> types.ModuleType:
    module = types.ModuleType("transferscope.lab_nets")

    def fails(num_classes: int) -> nn.Module:
        raise FileNotFoundError("weights/backbone.pth")

    def extra(num_classes: int, width: int) -> nn.Module:
        return Net()

    vars(module).update(
        other=lambda n_classes: Net(),
        none=lambda: Net(),
        extra=extra,
        fails=fails,
        lazy=lambda num_classes: nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(num_classes)),
        anything=lambda **options: Net(classes=options["num_classes"]),
    )
    return module


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("other", r"takes \(n_classes\), but is called as other\(num_classes=2\)"),
        ("none", r"takes \(\), but is called"),
        ("extra", r"takes \(num_classes: int, width: int.*give every other one a default"),
        ("fails", r"raised FileNotFoundError: weights/backbone\.pth"),
        ("lazy", r"lazy layers \('0\.weight' has no shape yet\)"),
    ],
)
def test_factories_say_what_was_wanted(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setitem(sys.modules, "transferscope.lab_nets", factories())
    with pytest.raises(UserError, match=says):
        build_network(f"transferscope.lab_nets:{name}", 2, seed=0)
    assert isinstance(build_network("transferscope.lab_nets:anything", 2, seed=0), nn.Module)


def test_a_module_of_one_name_is_a_network_too(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_nets.py").write_text(
        "from torch import nn\ndef build(num_classes): return nn.Sequential(nn.Linear(3, num_classes))\n"
    )
    (tmp_path / "my_bad_nets.py").write_text("import torch\nraise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(build_network("my_own_nets:build", 2, seed=0), nn.Module)
    with pytest.raises(UserError, match="importing 'my_bad_nets' raised RuntimeError: no licence"):
        build_network("my_bad_nets:build", 2, seed=0)
    assert torch.is_grad_enabled()
