"""Block names at planning time: those of the cut itself, remembered, and without torch once they are known."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from smoke.command import environment

from transferscope.errors import UserError
from transferscope.models import anatomy
from transferscope.models.blocks import blocks
from transferscope.models.build import build_network
from transferscope.models.networks import transformers

OF_ANOTHER = f"transformers:{transformers.EXAMPLE}"


@pytest.mark.parametrize("ref", ["smoke.nets:tiny", "timm:resnet18", "torchvision:squeezenet1_1"])
def test_names_are_those_of_the_cut_whatever_the_number_of_classes(ref: str) -> None:
    assert anatomy.block_names(ref) == tuple(b.name for b in blocks(build_network(ref, 3, seed=1)))


def test_body_is_what_is_not_head_alone() -> None:
    assert anatomy.body_names("smoke.nets:tiny") == ("0", "3", "6")
    assert anatomy.block_names("smoke.nets:tiny") == ("0", "3", "6", "11")
    names = anatomy.block_names("timm:resnet18")
    assert anatomy.body_names("timm:resnet18") == names[:-1] and names[-1] == "fc"


def test_a_block_that_holds_more_than_the_head_is_body() -> None:
    """ConvNeXt keeps a norm with pretrained weights beside its classifier."""
    names = anatomy.block_names("timm:convnext_atto")
    assert any(name.startswith("head") for name in anatomy.body_names("timm:convnext_atto")), names


def test_the_answer_is_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").touch()
    file = tmp_path / "own" / "anatomy_net.py"
    text = (
        "from torch import nn\ndef net(num_classes): "
        "return nn.Sequential(nn.Conv2d(3, 4, 1), EXTRA nn.Flatten(), nn.Linear(4, num_classes))\n"
    )
    file.write_text(text.replace("EXTRA", ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    calls = []
    cut = anatomy._cut
    monkeypatch.setattr(anatomy, "_cut", lambda ref: calls.append(ref) or cut(ref))
    ref = "own.anatomy_net:net"
    first = anatomy.block_names(ref, tmp_path / "memo")
    assert anatomy.block_names(ref, tmp_path / "memo") == first == ("0", "2")
    assert len(calls) == 1 and anatomy.body_names(ref, tmp_path / "memo") == ("0",)
    file.write_text(text.replace("EXTRA", "nn.Conv2d(4, 4, 1),"))
    os.utime(file, ns=(1, 1))
    sys.modules.pop("own.anatomy_net")
    assert anatomy.block_names(ref, tmp_path / "memo") == ("0", "1", "3")


def test_networks_of_another_library_are_cut_anew_when_it_changes(monkeypatch, tmp_path: Path) -> None:
    calls: list[str] = []
    monkeypatch.setattr(anatomy, "_cut", lambda ref: calls.append(ref) or [["a"], [], None])
    versions = {"transformers": "5.0"}
    known = anatomy.metadata.version
    monkeypatch.setattr(anatomy.metadata, "version", lambda name: versions.get(name) or known(name))
    refs = (OF_ANOTHER, "timm:resnet18")
    for release, asked in (("5.0", 2), ("5.0", 2), ("5.1", 3)):
        versions["transformers"] = release
        assert [anatomy.block_names(ref, tmp_path) for ref in refs] == [("a",), ("a",)]
        assert len(calls) == asked
    assert calls[-1] == OF_ANOTHER


def test_a_remembered_answer_loads_no_torch(tmp_path: Path) -> None:
    anatomy.block_names("smoke.nets:tiny", tmp_path)
    line = (
        "import sys; from pathlib import Path; from transferscope.models.anatomy import block_names; "
        "print(len(block_names('smoke.nets:tiny', Path(sys.argv[1]))), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", line, tmp_path], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4", "False"]


def test_a_network_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no function 'tyni'"):
        anatomy.block_names("smoke.nets:tyni", tmp_path)
