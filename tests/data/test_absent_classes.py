"""What a split lacks, said in a sentence a split."""

import numpy as np
import pytest

from transferscope.data.absent_classes import decides, lacking

ROWS = {"train": np.arange(4), "val": np.arange(4, 6), "test": np.arange(6, 8)}


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 1, 0, 1, 0, 1, 0, 1], []),
        ([0, 1, 0, 1, 0, 0, 0, 1], ["val split holds one class only, 'a': no best epoch"]),
        ([0, 1, 0, 1, 0, 1, 1, 1], ["test split holds one class only, 'b': an AUC cannot be computed"]),
        (
            [0, 1, 2, 1, 0, 1, 2, 2],
            ["val split has no image of 'c'", "test split holds one class only, 'c': an accuracy"],
        ),
    ],
)
def test_classes(labels: list[int], words: list[str]) -> None:
    classes = "abc"[: max(labels) + 1]
    found = lacking(np.array(labels), ROWS, tuple(classes))
    assert len(found) == len(words) and all(word in said for word, said in zip(words, found, strict=True)), found


def test_labels_of_several() -> None:
    labels = np.zeros((8, 3), dtype=np.uint8)
    labels[:4] = np.eye(4, 3)
    labels[4] = [1, 1, 0]
    labels[5] = [0, 1, 0]
    found = lacking(labels, ROWS, ("a", "b", "c"))
    assert found == [
        "In the val split no image carries 'c' and every image carries 'b': its AUC is the mean of the other 1 of 3 "
        "labels.",
        "In the test split no image carries 'a', 'b', 'c': no AUC can be computed on it, and scores of it are empty.",
    ]
    assert lacking(labels, {**ROWS, "val": np.arange(0), "test": np.arange(4)}, ("a", "b", "c")) == []


def test_many_names_are_not_read_out() -> None:
    labels = np.concatenate([np.arange(20), np.zeros(2, int), np.ones(2, int), np.zeros(2, int)])
    rows = {"train": np.arange(20), "val": np.arange(20, 24), "test": np.arange(24, 26)}
    (val, _) = lacking(labels, rows, tuple(f"class {i}" for i in range(20)))
    assert "'class 7' and 12 more (18 of 20 classes)" in val


@pytest.mark.parametrize(
    ("labels", "can"),
    [([0, 1], True), ([2, 2], False), ([[0, 1], [0, 1]], False), ([[0, 1], [0, 0]], True), (np.zeros((0, 2)), False)],
)
def test_what_can_be_chosen_on(labels: list[int], can: bool) -> None:
    assert decides(np.array(labels)) == can
