"""Labels of other kinds: numbers and grades in tables, cells that nobody filled in, and how they are split and kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferscope import answers, data
from transferscope.data.absent_classes import decides, lacking
from transferscope.data.split import assign_splits, nested_fraction, sample
from transferscope.data.table import Table, divided, write
from transferscope.errors import UserError


@pytest.fixture
def table(tmp_path: Path):
    """``table("path,age", rows)`` writes a table of as many small images, and gives the path of its folder."""

    def make(head: str, rows: list[str], **options) -> data.Listing:
        for index in range(len(rows)):
            Image.new("RGB", (8, 8), (index % 256, 90, 30)).save(tmp_path / f"{index:03d}.png")
        lines = [head, *(f"{index:03d}.png,{row}" for index, row in enumerate(rows))]
        (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
        return data.open_listing(data.Target(ref=f"csv:{tmp_path / 't.csv'}", **options).reference)

    return make


def test_one_column_of_numbers_and_several(table):
    rows = [f"{20 + i / 3},{i % 7}" for i in range(30)]
    one = table("path,age,stage", rows, task="regression", columns={"label": "age"})
    assert one.kind == "numbers" and one.classes == ("age",) and one.labels.dtype == np.float64
    assert one.labels[:, 0] == pytest.approx([20 + i / 3 for i in range(30)])
    both = table("path,age,stage", rows, task="regression", columns={"label": ["age", "stage"]})
    assert both.classes == ("age", "stage") and both.labels.shape == (30, 2)


@pytest.mark.parametrize(
    ("cell", "options", "sentence"),
    [
        ("", {"task": "regression"}, "Line 4 of"),
        ("old", {"task": "regression"}, "has 'old' in column 'label', and task: regression reads numbers"),
        ("inf", {"task": "regression"}, "has 'inf' in column 'label'"),
        ("1.5", {}, "or predict them with task: regression"),
        ("1.5", {"task": "ordinal"}, "or predict them with task: regression"),
    ],
)
def test_cells_that_are_no_numbers_and_numbers_that_are_no_classes(table, cell, options, sentence):
    rows = [f"{i * 1.25}" for i in range(30)]
    rows[2] = cell
    with pytest.raises(UserError) as refused:
        table("path,label", rows, **options)
    assert sentence in str(refused.value)


def test_a_constant_number_is_refused(table):
    with pytest.raises(UserError, match="all examples have one value of 'label'; there is nothing to learn"):
        table("path,label", ["3"] * 20, task="regression")


def test_grades_come_in_the_order_of_their_numbers(table):
    found = table("path,label", [f"{grade}" for grade in (10, 2, 0, 2, 10, 1) * 5], task="ordinal")
    assert found.classes == ("0", "1", "2", "10") and found.kind == "grade"
    assert found.labels.tolist() == [3, 2, 0, 2, 3, 1] * 5
    assert any("Classes are grades, from 0 to 10; no example has 3" in note for note in found.notes)
    with pytest.raises(UserError, match=r"task: ordinal is for whole numbers, and .* has the class 'mild'"):
        table("path,label", ["0", "1", "mild"] * 9, task="ordinal")


def test_blank_and_uncertain_cells_count_as_they_are_told(table):
    rows = ["1,0", ",1", "-1,1", "0,0", "1,-1", "0,1"] * 5
    usual = table("path,a,b", rows)
    assert usual.labels.dtype == np.uint8 and usual.labels[:6].tolist() == [
        [1, 0],
        [0, 1],
        [0, 1],
        [0, 0],
        [1, 0],
        [0, 1],
    ]
    told = table("path,a,b", rows, uncertain={"a": 1})
    assert told.labels[:6, 0].tolist() == [1, 0, 1, 0, 1, 0]
    blank = table("path,a,b", rows, blank="ignore")
    assert blank.labels.dtype == np.int8 and blank.labels[:6].tolist() == [
        [1, 0],
        [-1, 1],
        [0, 1],
        [0, 0],
        [1, 0],
        [0, 1],
    ]
    both = table("path,a,b", rows, blank="ignore", uncertain="ignore")
    assert both.labels[:6].tolist() == [[1, 0], [-1, 1], [-1, 1], [0, 0], [1, -1], [0, 1]]
    assert any("15 labels are not known and left out" in note for note in both.notes)
    mixed = table("path,a,b", rows, uncertain={"b": "ignore", "a": 1})
    assert mixed.labels[:6].tolist() == [[1, 0], [0, 1], [1, 1], [0, 0], [1, -1], [0, 1]]


def test_fingerprints_tell_readings_apart_and_the_usual_one_is_as_ever(table, tmp_path: Path):
    table("path,a,b", ["1,0", ",1", "-1,1", "0,0"] * 6)
    ref = f"csv:{tmp_path / 't.csv'}"

    def digest(**options) -> str:
        return data.source_fingerprint(data.Target(ref=ref, **options).reference)

    plain = digest()
    assert plain == data.source_fingerprint(ref)
    others = [{"blank": "ignore"}, {"uncertain": "ignore"}, {"metric": "average_precision"}, {"uncertain": 1}]
    assert len({plain, *(digest(**one) for one in others)}) == 5


def test_a_source_of_classes_gives_no_numbers():
    with pytest.raises(UserError, match="task: the source 'digits' of 'digits' gives classes, no numbers to predict"):
        data.open_listing(data.Target(ref="digits", task="regression").reference)


def test_splits_of_numbers_are_stratified_by_rank():
    labels = np.random.default_rng(0).normal(size=(200, 1))
    words = assign_splits(labels, None, None, 0.15, 0.2, 0, ("age",))
    tenths = answers.strata(labels)
    assert [int(((words == "test") & (tenths == t)).sum()) for t in range(10)] == [4] * 10
    assert [int(((words == "val") & (tenths == t)).sum()) for t in range(10)] == [3] * 10
    rows = np.flatnonzero(words == "train")
    few, more = (nested_fraction(labels, rows, share, seed=1) for share in (0.2, 0.5))
    assert set(few) <= set(more) and len(set(answers.strata(labels[rows])[np.isin(rows, few)])) == 10
    assert len(sample(labels, rows, 30, seed=0)) == 30
    groups = [f"{i // 4}" for i in range(200)]
    grouped = assign_splits(labels, groups, None, 0.15, 0.2, 0, ("age",))
    assert all(len(set(grouped[4 * g : 4 * g + 4])) == 1 for g in range(50)) and (grouped == "test").sum() == 40


def test_numbers_are_kept_standardised_by_the_training_examples(table, tmp_path: Path):
    listing = table("path,label", [f"{i * 2.5 + 7}" for i in range(40)], task="regression", metric="spearman")
    content = {"kind": "none", **divided(listing, np.arange(40), (0.15, 0.2, 0))}
    (folder := tmp_path / "kept").mkdir()
    write(folder, listing.labels, content)
    kept = Table.open(folder)
    train = kept.labels[kept.rows["train"]].astype(np.float64)
    assert train.mean() == pytest.approx(0, abs=1e-6) and train.std() == pytest.approx(1, abs=1e-6)
    assert kept.in_units(kept.labels) == pytest.approx(listing.labels, rel=1e-6)
    assert (kept.judged, kept.kind, kept.task) == ("spearman", "numbers", "regression")
    said = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    assert said["centre"] == pytest.approx([listing.labels[kept.rows["train"]].mean()])
    assert [row["images"] for row in kept.census()] == [len(kept.rows[s]) for s in ("train", "val", "test")]


def test_what_a_split_lacks_of_numbers_and_of_labels_with_gaps():
    numbers = np.array([[1.0, 2.0], [1.0, 3.0], [4.0, 4.0]])
    rows = {"val": np.array([0, 1]), "test": np.array([0])}
    said = lacking(numbers, rows, ("a", "b"))
    assert said[0] == "In the val split all examples have one value of 'a': scores are of the other numbers."
    assert "no R² can be computed on it" in said[1]
    assert decides(numbers[:2]) and not decides(numbers[:1])
    gaps = np.array([[1, -1], [-1, -1], [1, 0], [0, 1]], dtype=np.int8)
    assert not decides(gaps[:2]) and decides(gaps)
    assert "every image carries 'a'" in lacking(gaps, {"val": np.array([0, 2]), "test": np.arange(4)}, ("a", "b"))[0]
