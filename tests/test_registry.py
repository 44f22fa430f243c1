"""Sources, networks, weights, analyses and executors are found in one way, and what will not import is one sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from transferscope import analyses, data, registry
from transferscope.engine import executors
from transferscope.engine.executors import Slots
from transferscope.errors import UserError
from transferscope.models.networks import make_network
from transferscope.models.pretrained import weights_state

PACKAGES = {
    "transferscope.data.sources": "bbcnews chexpert cifar10 cifar100 csv digits domainnet elpv folder fractals hdf5 hf "
    "imagenet npz openmoji parquet text torchvision webdataset",
    "transferscope.models.networks": "open_clip package timm torchvision transformers",
    "transferscope.models.pretrained": "file package timm transformers",
    "transferscope.engine.executors": "inline local ray slurm",
    "transferscope.fetch": "domainnet",
}
ASKED: dict[str, Callable[[str], object]] = {
    "source": lambda name: data.open_listing(f"{name}:x"),
    "network": lambda name: make_network(f"{name}:x", 2),
    "weights": lambda name: weights_state(f"{name}:x", "timm:resnet18"),
    "analysis": analyses.load,
    "executor": lambda name: executors.build(name, Slots(("cpu",), 1, 1), {}),
}
TEXTS = {
    "raises": "raise RuntimeError('no licence\\nhere')",
    "lacks": "import nobody_has_this_module",
    "is_cut_short": "def listing(",
}


@pytest.mark.parametrize(("package", "names"), PACKAGES.items())
def test_files_are_names(package: str, names: str) -> None:
    assert registry.names(package) == tuple(names.split())
    for name, line in registry.lines(package).items():
        assert name in line.lower() or package.endswith("executors")
        assert len(line) > 15


def test_folders_are_names_too_and_underscores_are_not() -> None:
    found = registry.lines("transferscope.analyses")
    assert {"tuning", "transfer"} <= set(found) and "_shared" not in found
    assert found["tuning"].startswith("Tuning: ")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("asked", ASKED)
def test_what_will_not_import_is_one_sentence(
    asked: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = f"lab_{asked}_{text}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "mine.py").write_text(TEXTS[text])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=rf"'{package}\.mine") as caught:
        ASKED[asked](f"{package}.mine")
    said = str(caught.value)
    assert "\n" not in said and said.endswith(".")
    words = {"raises": "RuntimeError: no licence", "lacks": "nobody_has_this_module", "is_cut_short": "SyntaxError"}
    assert words[text] in said


def test_a_module_without_the_function_is_said() -> None:
    with pytest.raises(UserError, match=r"'json\.decoder' cannot be used.*executor"):
        ASKED["executor"]("json.decoder")


def test_naming_imports_nothing() -> None:
    code = (
        "import sys; from transferscope import registry; [registry.lines(p) for p in sys.argv[1:]];"
        "assert not {name for name in sys.modules if name.endswith(('.tuning', '.digits', '.local', '.timm'))}"
    )
    subprocess.run([sys.executable, "-c", code, "transferscope.analyses", *PACKAGES], check=True)
