"""Libraries that only some need: one sentence where one is absent, and one where it is there but broken."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from transferscope import extras
from transferscope.data import hub, tokens
from transferscope.data.pictures import numbers
from transferscope.data.sources import hdf5, imagenet
from transferscope.engine.executors import Slots, _ray_cluster, slurm
from transferscope.errors import UserError
from transferscope.exports import trackers
from transferscope.measures import matching


def _submitit(place: Path) -> object:
    return slurm.Slurm(Slots(("cpu",), 1, 1))._executor(place)


WHO: dict[str, tuple[str, str, str, Callable[[Path], object]]] = {
    "datasets": ("datasets", "hf", "'hf:", lambda place: hub.opened(str(place), "", "")),
    "h5py": ("h5py", "hdf5", "'", lambda place: hdf5.check(str(place / "x.h5"))),
    "tokenizers": ("tokenizers", "hf", "input: text ", lambda place: tokens.reader(place / "tokenizer.json")),
    "scipy": ("scipy", "align", "matching ", lambda _: matching.assignment([[1.0]])),
    "devkit": ("scipy", "imagenet", "'", imagenet._devkit),
    "wandb": ("wandb", "wandb", "export: 'wandb' ", lambda _: trackers.load("wandb")),
    "ray": ("ray", "ray", "resources.executor: 'ray' ", lambda _: _ray_cluster.ray()),
    "slurm": ("submitit", "slurm", "resources.executor: 'slurm' ", _submitit),
    "tifffile": ("tifffile", "tiff", "a TIFF ", lambda _: numbers.of_tiff(b"II*\0")),
    "pydicom": ("pydicom", "dicom", "a DICOM file ", lambda _: numbers.of_dicom(b"")),
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder where libraries are found first, with the files that are looked at before one is imported."""
    for file in (imagenet.TRUTH, imagenet.META, "x.h5"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def _forget(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one == library or one.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("who", WHO)
def test_a_library_that_is_broken_is_one_sentence(who, place, monkeypatch):
    library, extra, opening, use = WHO[who]
    _forget(library, monkeypatch)
    folder = place / library
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AttributeError('module has no attribute')\n", encoding="utf-8")
    with pytest.raises((UserError, OSError)) as caught:
        use(place)
    said = str(caught.value)
    assert said.startswith(opening) and f"--force-reinstall 'transferscope[{extra}]'" in said
    assert f"the library {library}, which is installed but cannot be imported (AttributeError: module" in said


@pytest.mark.parametrize("who", WHO)
def test_a_library_that_is_absent_is_one_sentence(who, place, monkeypatch):
    library, extra, opening, use = WHO[who]
    _forget(library, monkeypatch)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises((UserError, OSError)) as caught:
        use(place)
    wanted = f"needs the library {library}; run python -m pip install 'transferscope[{extra}]'"
    assert str(caught.value).startswith(opening) and wanted in str(caught.value)


def test_a_library_is_looked_for_without_being_imported(place):
    (place / "half_a_library").mkdir()
    (place / "half_a_library" / "__init__.py").write_text("raise ValueError\n", encoding="utf-8")
    extras.need("half_a_library.part", "hf", "the test")
    assert "half_a_library" not in sys.modules
