"""Splits: stratified, seeded, groups whole, every class trained on."""

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from transferscope.data.split import assign_splits, sample
from transferscope.errors import UserError

FIVE = np.repeat(np.arange(5), 40)


def test_shares_are_exact_for_every_class() -> None:
    out = assign_splits(FIVE, None, None, 0.1, 0.25, 0)
    for label in range(5):
        words, counts = np.unique(out[label == FIVE], return_counts=True)
        assert dict(zip(words, counts, strict=True)) == {"train": 26, "val": 4, "test": 10}


def test_seed_decides_and_only_the_seed() -> None:
    one = assign_splits(FIVE, None, None, 0.2, 0.2, 1)
    assert (one == assign_splits(FIVE, None, None, 0.2, 0.2, 1)).all()
    assert (one != assign_splits(FIVE, None, None, 0.2, 0.2, 2)).any()


def test_golden() -> None:
    # Frozen when the stream was chosen: another result would silently change every user's test set.
    out = assign_splits(np.repeat([0, 1], 6), None, None, 0.2, 0.2, 0)
    assert "".join(word[:2] for word in out) == "trtrvatrtetrtetrtrtrvatr"


@pytest.mark.parametrize(
    ("n", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (6, 2, 2))]
)
def test_tiny_classes(n: int, expected: tuple[int, int, int]) -> None:
    labels = np.array([0] * n + [1] * 20)
    out = assign_splits(labels, None, None, 0.2, 0.2, 0)[:n]
    assert tuple((out == word).sum() for word in ("train", "val", "test")) == expected


def test_given_splits_are_kept_and_the_missing_one_is_carved_from_train() -> None:
    given = ["train"] * 160 + ["test"] * 40
    labels = np.tile(np.arange(5), 40)
    out = assign_splits(labels, None, given, 0.1, 0.5, 0)
    assert (out[160:] == "test").all() and (out[:160] != "test").all()
    assert (out == "val").sum() == 15  # round(0.1 * 32) of each class
    whole = ["train"] * 150 + ["val"] * 10 + ["test"] * 40
    assert assign_splits(labels, None, whole, 0.1, 0.5, 0).tolist() == whole


def test_undecided_images_follow_their_group() -> None:
    given = ["test", "", "", "val", *["train"] * 8]
    groups = ["p", "p", "q", "q", *[""] * 8]
    out = assign_splits(np.tile([0, 1], 6), groups, given, 0.1, 0.1, 0)
    assert out.tolist() == ["test", "test", "val", "val", *["train"] * 8]


def test_group_in_two_given_splits_is_refused() -> None:
    with pytest.raises(UserError, match="Group 'p7' lies in both 'train' and 'test'"):
        assign_splits(np.array([0, 1]), ["p7", "p7"], ["train", "test"], 0, 0, 0)


def test_class_missing_from_train_is_named() -> None:
    with pytest.raises(UserError, match="'dog' has no image in the train split"):
        assign_splits(np.array([0, 0, 1]), None, ["train", "train", "test"], 0, 0, 0, ("cat", "dog"))


@pytest.mark.parametrize(("val", "test"), [(-0.1, 0.2), (0.5, 0.5), (0.9, 0.2), (float("nan"), 0.1)])
def test_impossible_shares(val: float, test: float) -> None:
    with pytest.raises(UserError, match="shares"):
        assign_splits(FIVE, None, None, val, test, 0)


def test_too_few_groups() -> None:
    with pytest.raises(UserError, match="Too few images or groups to fill"):
        assign_splits(np.array([0, 1] * 10), ["a"] * 10 + ["b"] * 10, None, 0.2, 0.2, 0)


def test_three_equal_groups_fill_three_splits() -> None:
    groups = [group for group in "abc" for _ in range(10)]
    out = assign_splits(np.array([0, 1] * 15), groups, None, 0.15, 0.15, 0)
    assert sorted(set(out)) == ["test", "train", "val"]


@settings(max_examples=60, deadline=None)
@examples(st.integers(0, 2**32), st.integers(6, 40), st.booleans())
def test_laws_of_groups(seed: int, n_groups: int, multilabel: bool) -> None:
    rng = np.random.default_rng(seed)
    n = n_groups * 6
    groups = [f"g{g}" for g in rng.integers(0, n_groups, n)]
    labels = rng.integers(0, 2, (n, 4)).astype(np.uint8) if multilabel else rng.integers(0, 3, n)
    out = assign_splits(labels, groups, None, 0.2, 0.2, seed)
    for group in set(groups):
        assert len({word for word, of in zip(out, groups, strict=True) if of == group}) == 1
    assert {"train", "val", "test"} == set(out)
    train = labels[out == "train"]
    assert train.any(axis=0).all() if multilabel else len(set(train)) == len(set(labels))


@pytest.mark.parametrize("grouped", [False, True])
def test_multilabel_is_stratified(grouped: bool) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((600, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]).astype(np.uint8)
    groups = [f"g{i // 3}" for i in range(600)] if grouped else None
    out = assign_splits(labels, groups, None, 0.2, 0.2, 0)
    for word, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert abs((out == word).mean() - share) < 0.03
        of_each = labels[out == word].sum(axis=0) / labels.sum(axis=0)
        assert np.abs(of_each - share).max() < 0.12


@examples(st.lists(st.integers(0, 6), min_size=1, max_size=120), st.integers(1, 130), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_sample_has_the_shares_of_the_whole(drawn: list[int], count: int, seed: int) -> None:
    labels = np.array(drawn)
    rows = np.arange(len(labels))
    found = sample(labels, rows, count, seed=seed)
    assert (np.diff(found) > 0).all() and set(found) <= set(rows)
    assert len(found) == min(count, len(rows))
    if count < len(rows):
        share = count / len(rows)
        for label in set(drawn):
            assert abs((labels[found] == label).sum() - share * (labels == label).sum()) < 2


def test_a_sample_of_many_classes_is_no_larger_and_not_skewed() -> None:
    """500 classes with long tails, fewer than images asked for."""
    labels = np.repeat(np.arange(500), np.maximum(3, (4000 / np.arange(1, 501)).astype(int)))
    found = sample(labels, np.arange(len(labels)), 256, seed=0)
    assert len(found) == 256
    assert (labels[found] < 10).mean() == pytest.approx((labels < 10).mean(), abs=0.05)


def test_a_rare_answer_is_filled_up() -> None:
    labels = (np.arange(20_000) % 50 == 0).astype(np.int64)  # 2%
    found = sample(labels, np.arange(20_000), 256, seed=0, least=32)
    assert labels[found].sum() == 32 and 256 <= len(found) <= 288
    few = (np.arange(20_000) < 7).astype(np.int64)
    assert few[sample(few, np.arange(20_000), 256, seed=0, least=32)].sum() == 7, "all that there are"


def test_a_sample_of_several_labels_has_both_answers_of_each() -> None:
    draw = np.random.default_rng(0)
    labels = (draw.random((500, 4)) < [0.5, 0.05, 0.95, 0.0]).astype(np.int64)
    rows = np.arange(0, 500, 2)
    found = sample(labels, rows, 60, seed=0, least=7)
    assert 60 <= len(found) <= 60 + 14 and not (found % 2).any()
    for k in range(4):
        for answer in (0, 1):
            assert (labels[found, k] == answer).sum() >= min(7, (labels[rows, k] == answer).sum())
    assert (found == sample(labels, rows, 60, seed=0, least=7)).all()
    assert set(found) != set(sample(labels, rows, 60, seed=1, least=7))
