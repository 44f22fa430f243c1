"""Saved results: named by what they are, not by the file of the code, and read again by later versions."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import transferscope as ts
from transferscope.errors import UserError
from transferscope.probes import result

SAVED = Path(__file__).parent / "saved"  # made by the code of version 0.1.0 on two small residual networks
FIRST = sorted((SAVED / "format-1").glob("*.safetensors"))


def test_every_kind_of_result_has_its_home_and_is_among_the_files() -> None:
    room = Path(result.__file__).parent
    saves = {
        kind.name: ".".join(file.relative_to(room).with_suffix("").parts)
        for file in room.rglob("*.py")
        for kind in ast.parse(file.read_text()).body
        if isinstance(kind, ast.ClassDef) and "result.Saved" in map(ast.unparse, kind.bases)
    }
    assert saves == result.HOMES
    kinds = {type(ts.load(file)).__name__ for file in FIRST}
    assert kinds == set(result.HOMES)
    assert not result.FORMER.keys() & result.HOMES.keys() and set(result.FORMER.values()) <= set(result.HOMES)


@pytest.mark.parametrize("file", FIRST, ids=lambda file: file.stem)
def test_results_of_the_first_format_are_read(file: Path, tmp_path: Path) -> None:
    found = ts.load(file)
    if hasattr(found, "table"):
        assert isinstance(found.table(), pl.DataFrame)
    found.save(tmp_path / "again.safetensors")
    again = ts.load(tmp_path / "again.safetensors")
    assert type(again) is type(found)
    for name in vars(found):
        np.testing.assert_equal(getattr(again, name), getattr(found, name))


def test_a_saved_result_names_no_file_of_the_code(tmp_path: Path) -> None:
    ts.load(FIRST[0]).save(tmp_path / "again.safetensors")
    with safe_open(tmp_path / "again.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["result"])["kind"] in result.HOMES


def _edited(file: Path, where: Path, change) -> Path:
    with safe_open(file, "numpy") as opened:
        said = json.loads(opened.metadata()["result"])
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    change(said)
    save_file(arrays, where, metadata={"result": json.dumps(said)})
    return where


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda said: said.update(kind="Panorama"), "holds a 'Panorama', which this version"),
        (lambda said: said.update(kind="os:system"), "holds a 'system', which this version"),
        (lambda said: said.update(colour="red"), "has 'colour', unlike every 'Distance'"),
        (lambda said: said.pop("blocks"), "lacks 'blocks', unlike every 'Distance'"),
    ],
)
def test_what_this_version_cannot_read_is_one_sentence(change, sentence: str, tmp_path: Path) -> None:
    file = _edited(SAVED / "format-1" / "distance.safetensors", tmp_path / "d.safetensors", change)
    with pytest.raises(UserError, match=sentence):
        ts.load(file)


def test_another_file_is_one_sentence(tmp_path: Path) -> None:
    save_file({"x": np.zeros(3)}, tmp_path / "weights.safetensors")
    shutil.copy(__file__, tmp_path / "text.safetensors")
    for name in ("weights.safetensors", "text.safetensors", "absent.safetensors"):
        with pytest.raises(UserError, match="is not a result saved by a probe"):
            ts.load(tmp_path / name)
