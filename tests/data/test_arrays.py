"""Arrays: scaled by the training examples alone, altered by seed, epoch and row, moved in blocks; bad files refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from contract.sources import signals

from transferscope import data
from transferscope.data import arrays
from transferscope.errors import UserError


def build(folder: Path, ref: str, scale: str = "standard") -> arrays.Arrays:
    folder.mkdir()
    listing = data.open_listing(ref)
    shape = listing.load(0).shape
    arrays.build(listing, folder, shape=shape, scale=scale, split=(0.2, 0.2, 0), tell=lambda **_: None)
    return arrays.open_arrays(folder)


@pytest.mark.parametrize("shape", [(5,), (3, 8), (2, 4, 6)])
def test_values_are_scaled_by_every_channel_of_the_training_examples(tmp_path: Path, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    x = (1e4 + 3 * draw.standard_normal((600, *shape))).astype(np.float64)
    x[:, 1] = 7.0  # a channel of one value is divided by 1
    np.savez(tmp_path / "some.npz", x=x, y=np.arange(600) % 2)
    table = build(tmp_path / "table", f"npz:{tmp_path / 'some.npz'}")
    train = np.asarray(table.values)[table.rows["train"]].astype(np.float64)
    axes = (0, *range(2, x.ndim))
    mean, std = train.mean(axes), train.std(axes)
    std[1] = 1.0
    assert np.allclose(table.mean, mean, rtol=1e-12) and np.allclose(table.std, std, rtol=1e-9)  # float64
    along = (slice(None), *(None,) * (len(shape) - 1))
    expected = (train - mean[along]) / std[along]
    found = arrays.scaled(table, table.rows["train"])
    assert found.dtype == np.float32 and np.abs(found - expected).max() < 2e-3  # float32 at 10,000
    assert arrays.scaled(build(tmp_path / "plain", f"npz:{tmp_path / 'some.npz'}", "none"), np.arange(3)) == (
        pytest.approx(x[:3].astype(np.float32))
    )


def test_what_training_does_follows_from_seed_epoch_and_row() -> None:
    values = np.linspace(-1, 1, 2 * 48, dtype=np.float32).reshape(2, 48)
    how = arrays.Altered(jitter=0.1, crop=0.5)
    once = how(values, 3, seed=0, epoch=1)
    assert once.shape == values.shape and once.dtype == np.float32
    assert np.array_equal(once, how(values, 3, seed=0, epoch=1)) and not np.array_equal(once, values)
    for other in ({"seed": 1, "epoch": 1}, {"seed": 0, "epoch": 2}):
        assert not np.array_equal(once, how(values, 3, **other))
    assert not np.array_equal(once, how(values, 4, seed=0, epoch=1))
    assert np.array_equal(arrays.Altered()(values, 3, seed=0, epoch=1), values)
    noise = np.stack([arrays.Altered(jitter=0.1)(values, row, seed=0, epoch=1) - values for row in range(200)])
    assert noise.std() == pytest.approx(0.1, rel=0.02) and abs(noise.mean()) < 0.003


def test_a_window_is_stretched_linearly() -> None:
    """A window of a straight line is a straight line between two of its points, at least as far apart as was asked."""
    line = np.arange(48, dtype=np.float32)[None]
    shares = []
    for row in range(100):
        (cut,) = arrays.Altered(crop=0.6)(line, row, seed=0, epoch=1)
        assert np.allclose(np.diff(cut), cut[1] - cut[0], atol=1e-4) and cut.min() >= 0 and cut.max() <= 47  # float32
        shares.append((cut[-1] - cut[0]) / 47)
    assert min(shares) >= 0.599 and max(shares) > 0.95 and min(shares) < 0.65


@pytest.mark.parametrize("block", [1, 4, 12, "channels"])
def test_blocks_move_and_keep_their_values(block: int | str) -> None:
    values = np.arange(3 * 2 * 48, dtype=np.float32).reshape(3, 2, 48)
    rows = np.array([5, 6, 7])
    found = arrays.moved(values, rows, block, seed=0)
    assert not np.array_equal(found, values) and np.array_equal(found, arrays.moved(values, rows, block, seed=0))
    assert np.array_equal(np.sort(found.reshape(3, -1)), np.sort(values.reshape(3, -1)))
    if block != "channels":
        cut = found.reshape(3, 2, -1, int(block))
        assert (np.diff(cut, axis=-1) == 1).all(), "a block stays whole"
        assert all(np.array_equal(np.sort(of), np.sort(was)) for of, was in zip(found[0], values[0], strict=True))
    assert np.array_equal(np.argsort(found[0], None), np.argsort(found[1], None)), "one way for all"
    each = arrays.moved(values, rows, block, seed=0, per_example=True)
    assert not np.array_equal(np.argsort(each[0], None), np.argsort(each[1], None))
    assert np.array_equal(each[1:2], arrays.moved(values[1:2], rows[1:2], block, seed=0, per_example=True))
    with pytest.raises(UserError, match="Blocks of 7 values do not divide 48; sizes that do: 1, 2, 3"):
        arrays.moved(values, rows, 7, seed=0)


def test_a_file_says_groups_and_splits(tmp_path: Path) -> None:
    more = {"group": np.array([f"p{i // 4}" for i in range(60)]), "split": np.array(["train", "val", "test"] * 20)}
    listing = data.open_listing(f"npz:{signals(tmp_path / 'a.npz', **more)}")
    assert listing.groups is not None and listing.groups[:5] == ("p0",) * 4 + ("p1",)
    assert listing.splits is not None and listing.splits[:3] == ("train", "val", "test")
    assert listing.classes == ("fast", "slow") and listing.holds == "arrays"
    several = np.eye(3, dtype=np.uint8)[np.arange(60) % 3]
    np.savez(tmp_path / "b.npz", x=np.zeros((60, 4)), y=several)
    assert data.open_listing(f"npz:{tmp_path / 'b.npz'}").multilabel


def spoilt(**parts: np.ndarray) -> dict[str, np.ndarray]:
    return {"x": np.zeros((60, 4)) + np.arange(4), "y": np.arange(60) % 2, **parts}


BAD = {
    "no x": ({"a": np.zeros(3)}, "has no 'x' (it has a)"),
    "words": (spoilt(x=np.array([["a"]] * 60)), "x is <U1 of shape (60, 1); give numbers"),
    "one number an example": (spoilt(x=np.zeros(60)), "x is float64 of shape (60,)"),
    "complex": (spoilt(x=np.zeros((60, 2), complex)), "x is complex128"),
    "too few y": (spoilt(y=np.arange(59) % 2), "y has 59 entries, x has 60"),
    "numbers to predict": (spoilt(y=np.linspace(0, 1, 60)), "y is float64 of shape (60,); give one class an example"),
    "objects": (spoilt(x=np.array([[{}]] * 60, dtype=object)), "it holds pickled objects, which are never opened"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    parts, sentence = BAD[name]
    np.savez(tmp_path / "bad.npz", **parts)
    with pytest.raises(UserError) as error:
        data.open_listing(f"npz:{tmp_path / 'bad.npz'}")
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("x,y")
    (tmp_path / "whole.npz").write_bytes(signals(tmp_path / "a.npz").read_bytes()[:-200])
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "pickled.npz").write_bytes(pickle.dumps({"x": 1}))
    for name in ("text", "whole", "pickled"):
        with pytest.raises(UserError, match="is no archive of numpy arrays"):
            data.check_ref(f"npz:{tmp_path / name}.npz")
    for name, words in {"folder": "is no file", "nothing": "does not exist"}.items():
        with pytest.raises(UserError, match=words):
            data.check_ref(f"npz:{tmp_path / name}.npz")


@pytest.mark.parametrize(("value", "said"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e300, "1e\\+300")])
def test_a_value_that_is_no_number_is_named_with_its_place(tmp_path: Path, value: float, said: str) -> None:
    x = np.zeros((60, 2, 3))
    x[31, 1, 2] = value
    np.savez(tmp_path / "bad.npz", **spoilt(x=x))
    with pytest.raises(UserError, match=rf"'31' of '.*bad.npz' holds {said} at \[1, 2\]: fill it in"):
        build(tmp_path / "table", f"npz:{tmp_path / 'bad.npz'}")
