"""A study that extends another file is the study that both say, with the same keys of steps."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from smoke import images

from transferscope import analyses
from transferscope.errors import UserError
from transferscope.study import Study
from transferscope.study.extends import merged, moved

WHOLE = """
name: whole
targets: {shapes: {ref: 'folder:base/images', window: full}, more: 'folder:base/images'}
network: toy.nets:tiny
pretrained: file:base/w.safetensors
image_size: 16
seeds: 4
recipe: {lr: {random: 0.1, pretrained: 0.3}, epochs: 3, milestones: [0.5], precision: float32}
analyses: {transfer: {}, choose: {candidates: ['toy.nets:tiny | file:base/w.safetensors']}}
resources: {store: base/results, slots: 1}
"""
BASE = """
targets: {shapes: 'folder:images', more: 'folder:images'}
network: toy.nets:tiny
pretrained: file:w.safetensors
image_size: 16
seeds: [0, 1]
recipe: {lr: {random: 0.1, pretrained: 0.2}, epochs: 2, milestones: [0.3, 0.6]}
analyses: {transfer: {}, choose: {candidates: ['toy.nets:tiny | file:w.safetensors']}}
resources: {store: results}
"""
OWN = """
extends: base/common.yaml
name: whole
targets: {shapes: {ref: 'folder:base/images', window: full}}
seeds: 4
recipe: {lr: {pretrained: 0.3}, epochs: 3, milestones: [0.5], precision: float32}
resources: {slots: 1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images.write(tmp_path / "base" / "images", each=4)
    save_file({"x": torch.zeros(1)}, tmp_path / "base" / "w.safetensors")
    (tmp_path / "base" / "common.yaml").write_text(BASE)
    (tmp_path / "study.yaml").write_text(OWN)
    (tmp_path / "whole.yaml").write_text(WHOLE)
    return tmp_path


def keys(study: Study) -> set[str]:
    runs = {study.run(target, "random", seed).key for target in study.targets for seed in study.seeds}
    return runs | {study.data(target).key for target in study.targets}


def test_it_is_the_study_that_both_files_say(folder: Path) -> None:
    found, whole = Study.load(folder / "study.yaml"), Study.load(folder / "whole.yaml")
    assert keys(found) == keys(whole)
    assert found.store_folder.resolve() == whole.store_folder.resolve()
    assert found.recipe == whole.recipe and found.seeds == whole.seeds == (0, 1, 2, 3)
    assert found.network == whole.network and set(analyses.chosen(found)) == set(analyses.chosen(whole))
    place = str(folder / "base")
    assert found.pretrained is not None and found.pretrained.weights == f"file:{place}/w.safetensors"
    assert found.analyses["choose"]["candidates"] == [f"toy.nets:tiny | file:{place}/w.safetensors"]
    said = yaml.safe_load(found.resolved())
    assert "extends" not in said and said["recipe"]["milestones"] == [0.5]
    assert said["recipe"]["lr"] == {"random": 0.1, "pretrained": 0.3}


def test_beside_it_paths_stay_as_they_are_and_set_comes_last(folder: Path) -> None:
    (folder / "base" / "study.yaml").write_text("extends: common.yaml\nanalyses: [transfer]\n")
    found = Study.load(folder / "base" / "study.yaml", {"recipe.epochs": "7", "recipe.lr.random": "0.5"})
    assert found.targets["more"].ref == "folder:images" and found.analyses == {"transfer": {}}
    assert found.recipe.epochs == 7 and found.recipe.lr == {"random": 0.5, "pretrained": 0.2}
    (folder / "base" / "deep.yaml").write_text("extends: study.yaml\nseeds: 5\n")
    assert len(Study.load(folder / "base" / "deep.yaml").seeds) == 5, "and so on"


def test_lists_of_targets_keep_their_names(folder: Path) -> None:
    (folder / "base" / "common.yaml").write_text(BASE.replace("{shapes: 'folder:images', more: 'folder:images'}",
                                                              "['folder:images']"))  # fmt: skip
    (folder / "study.yaml").write_text("extends: base/common.yaml\n")
    found = Study.load(folder / "study.yaml").targets
    assert list(found) == ["folder:images"] and found["folder:images"].ref == f"folder:{folder / 'base' / 'images'}"


def test_a_tokenizer_beside_the_other_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "words").mkdir()
    said = {"input": {"text": {"tokenizer": "words", "max_length": 8}}}
    assert moved(said, tmp_path)["input"]["text"] == {"tokenizer": str(tmp_path / "words"), "max_length": 8}
    named = {"input": {"text": {"tokenizer": "package:minilm-l6"}}}
    assert moved(named, tmp_path) == named


def test_merging() -> None:
    other = {"a": {"b": 1, "c": [1, 2]}, "d": 3, "e": {"f": 1}}
    own = {"a": {"c": [3]}, "d": None, "e": None, "g": {}}
    assert merged(other, own) == {"a": {"b": 1, "c": [3]}, "d": None, "e": None, "g": {}}
    assert other["a"] == {"b": 1, "c": [1, 2]}


@pytest.mark.parametrize(
    ("own", "other", "sentence"),
    [
        ("extends: lost.yaml", "", "study.yaml: extends: there is no study file"),
        ("extends: [common.yaml]", "", "extends: give the path of one other study file"),
        ("extends: study.yaml", "", "extends this file in turn"),
        ("extends: base/common.yaml", "extends: ../study.yaml", "common.yaml: extends: "),
        ("extends: base/common.yaml", "- a list", "common.yaml: a study is a mapping of keys"),
        ("extends: base/common.yaml", "a: [", "common.yaml line 1: not valid YAML"),
        (
            "extends: base/common.yaml",
            BASE + "recipes: {}",
            "common.yaml): unknown key 'recipes'; did you mean 'recipe'?",
        ),
        ("extend: base/common.yaml", "", "unknown key 'extend'; did you mean 'extends'?"),
    ],
)
def test_what_cannot_be_extended_is_one_sentence(folder: Path, own: str, other: str, sentence: str) -> None:
    (folder / "study.yaml").write_text(own)
    (folder / "base" / "common.yaml").write_text(other)
    with pytest.raises(UserError, match=r"^[^\n]*[.?]$") as caught:
        Study.load(folder / "study.yaml")
    assert sentence in str(caught.value)


def test_extends_is_for_files(folder: Path) -> None:
    with pytest.raises(UserError, match="only a study file says what it extends"):
        Study.load(folder / "whole.yaml", {"extends": "base/common.yaml"})
