"""Splits that lack a class: said at check and on the page, and the run comes to its end all the same."""

import csv
import json
from pathlib import Path

import pytest
from smoke import images

STUDY = """\
targets: {shapes: csv:shapes.csv}
network: smoke.nets:tiny
arms: [random]
seeds: 1
image_size: 32
recipe: {epochs: 3, batch_size: 8, lr: 0.05, augment: null, precision: float32}
analyses: [transfer]
resources: {executor: inline}
"""


@pytest.fixture
def look(tmp_path: Path, call):
    """`look(verb, {"val": "ab", ...})` writes a table with 6 val and test images of each of these classes."""

    def write(verb: str, given: dict[str, str], classes: str = "ab", **changes: str):
        images.write(tmp_path / "images", each=24, classes=tuple(classes))
        lines = ["path,label,split"]
        for name in classes:
            for number, file in enumerate(sorted((tmp_path / "images" / name).iterdir())):
                split = "val" if number < 6 else "test" if number < 12 else "train"
                if split == "train" or name in given[split]:
                    lines.append(f"{file.relative_to(tmp_path)},{name},{split}")
        (tmp_path / "shapes.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (tmp_path / "study.yaml").write_text(STUDY, encoding="utf-8")
        changed = [word for key, value in changes.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]
        return call(verb, *changed, cwd=tmp_path)

    return write


def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def epochs(folder: Path) -> tuple[list[dict[str, str]], int]:
    """The rows of the only training run, and its best epoch."""
    rows = list(csv.DictReader((folder / "tables" / "transfer.csv").open()))
    (run,) = (folder / "store" / "train").glob("*/run.json")
    return rows, json.loads(run.read_text())["best_epoch"]


def test_a_test_split_of_one_class(tmp_path: Path, look) -> None:
    said = "The test split holds one class only, &#39;a&#39;: an AUC cannot be computed on it"
    assert "The test split holds one class only, 'a'" in look("check", {"val": "ab", "test": "a"}).out
    done = look("run", {"val": "ab", "test": "a"})
    assert done.code == 0, done.err
    assert said in page(tmp_path)
    assert all(row["test_metric"] == "" and row["test_loss"] for row in epochs(tmp_path)[0])


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_a_val_split_of_one_class_chooses_nothing(tmp_path: Path, look, classes: str) -> None:
    """The last epoch is the best, also of three classes, where an accuracy on one of them can be had."""
    done = look("run", {"val": "a", "test": classes}, classes)
    assert done.code == 0, done.err
    assert "no best epoch can be chosen on it" in page(tmp_path)
    assert epochs(tmp_path)[1] == 3


def test_a_val_split_of_one_class_finds_no_learning_rate(look) -> None:
    for verb in ("check", "run"):
        said = look(verb, {"val": "a", "test": "ab"}, recipe__lr="[0.1, 0.05]")
        assert said.code == 3 and "recipe.lr of the arm 'random' cannot be searched on it" in said.out


def test_a_class_that_val_lacks_is_named(look) -> None:
    said = look("check", {"val": "ab", "test": "abc"}, "abc")
    assert said.code == 0 and "The val split has no image of 'c'" in said.out
