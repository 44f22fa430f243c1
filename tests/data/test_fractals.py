"""Fractals: the same pixels everywhere, classes that look alike inside and apart from others, a plain reference."""

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from transferscope.data import build, check_ref, open_listing, open_squares, source_fingerprint
from transferscope.data.sources import fractals
from transferscope.errors import UserError
from transferscope.random_streams import stream

# Made by this code on Linux x86-64, numpy 2. They change only together with `fractals.VERSION`: pretraining on fractals
# is kept in stores by that number.
GOLDEN = {(0, 0): "084f7a8f09b7cbbd", (41, 123): "3585497fa2340859"}


def digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


def test_images_are_those_of_every_machine() -> None:
    assert {at: digest(fractals.image(*at)) for at in GOLDEN} == GOLDEN
    assert fractals.VERSION == 1


def test_another_process_and_another_order_draw_the_same() -> None:
    code = (
        "import hashlib; from transferscope.data.sources import fractals as f; f.image(9, 9);"
        "print(hashlib.sha256(f.image(1, 12).tobytes() + f.image(0, 3).tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    ours = hashlib.sha256(fractals.image(1, 12).tobytes() + fractals.image(0, 3).tobytes()).hexdigest()
    assert other == ours


def test_a_larger_set_holds_the_images_of_a_smaller_one() -> None:
    small, large = open_listing("fractals:3/4"), open_listing("fractals:5/7")
    place = {name: i for i, name in enumerate(large.names)}
    for i in (0, 5, 11):
        assert small.load(i).tobytes() == large.load(place[small.names[i]]).tobytes()
    assert small.classes == large.classes[:3] and np.bincount(small.labels).tolist() == [4, 4, 4]
    assert len(open_listing("fractals:2").names) == 200
    assert pickle.loads(pickle.dumps(small.load))(5).size == (96, 96)


def test_points_are_those_of_random_words_of_maps() -> None:
    """The counts against one point after the other, each by twelve maps in turn."""
    maps = fractals.system(4)
    weight = np.abs(maps[:, 0] * maps[:, 3] - maps[:, 1] * maps[:, 2])
    cut = [0, *(int(sum(weight[: k + 1]) * (256 / sum(weight))) for k in range(len(maps)))]
    of_level = [k for k in range(len(maps)) for _ in range(cut[k], cut[k + 1])]
    found = fractals._counted(maps, stream(3, "test"))
    letters = stream(3, "test").integers(0, len(of_level), (4, fractals.WORDS))

    def applied(word: int, x: float, y: float) -> tuple[float, float]:
        for level in letters[::-1, word]:
            a, b, c, d, e, f = maps[of_level[level]]
            x, y = a * x + b * y + e, c * x + d * y + f
        return x, y

    n = fractals.WORDS
    base = [applied(i, *applied((i - n // 2) % n, 0.0, 0.0)) for i in range(n)]
    points = np.array([applied(i, *base[(i + 1 + j) % n]) for i in range(n) for j in range(fractals.EACH)])
    places = (points - points.min(0)) / np.ptp(points, axis=0) * (96 - 2.001) + 1
    assert found.sum() == len(points) == 6144
    near = np.abs(places - np.round(places)).min(1) < 1e-9  # rounding may put these into the pixel beside
    column, row = places.astype(int).T
    slow = np.zeros_like(found)
    np.add.at(slow, (row, column), 1)
    assert np.abs(found - slow).sum() <= 2 * near.sum()


def test_systems_contract_and_fill() -> None:
    counts = set()
    for label in range(60):
        maps = fractals.system(label)
        counts.add(len(maps))
        strengths = np.linalg.norm(maps[:, :4].reshape(-1, 2, 2), ord=2, axis=(1, 2))
        np.testing.assert_allclose(fractals._strength(maps), strengths, rtol=1e-12)
        assert strengths.max() < 1 and 2 <= len(maps) <= 8
        assert (fractals.image(label, 0) > 0).mean() > 0.1
    assert len(counts) > 4, "systems of many sizes"


def feature(pixels: np.ndarray) -> np.ndarray:
    """Brightness on an 8 x 8 grid, averaged over flips and turns: what the images of a class do not vary in."""
    coarse = pixels.astype(float).reshape(8, 12, 8, 12).mean((1, 3))
    same = [np.rot90(side, k) for side in (coarse, coarse.T) for k in range(4)]
    mean = np.mean(same, axis=0).ravel()
    return (mean - mean.mean()) / mean.std()


def test_an_image_is_nearer_to_its_class_than_to_others() -> None:
    found = np.array([[feature(fractals.image(c, i)) for i in range(10)] for c in range(12)])
    centres = found[:, :5].mean(1)
    gaps = np.linalg.norm(found[:, 5:, None] - centres, axis=-1)
    right = (gaps.argmin(-1) == np.arange(12)[:, None]).mean()
    assert right > 0.4, "five times chance, by the crudest of features"
    assert len({digest(fractals.image(0, i)) for i in range(50)}) == 50, "no image twice"


def test_the_table_is_the_same_for_one_process_and_two(tmp_path) -> None:
    how = {
        "train_size": 48,
        "eval_size": 32,
        "interpolation": "bicubic",
        "crop": 1.0,
        "val": 0.2,
        "test": 0.2,
        "split_seed": 0,
    }
    for cores in (1, 2):
        build(open_listing("fractals:4/80"), tmp_path / str(cores), cores=cores, **how)
    one, two = (open_squares(tmp_path / name).pixels("train") for name in "12")
    assert np.array_equal(one, two) and one.shape == (320, 48, 48, 3) and one.std() > 20


def test_the_fingerprint_tells_sets_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert source_fingerprint("fractals:3") == source_fingerprint("fractals:3/100")
    assert source_fingerprint("fractals:3") != source_fingerprint("fractals:3/99")
    before = source_fingerprint("fractals:3")
    monkeypatch.setattr(fractals, "VERSION", 2)
    assert source_fingerprint("fractals:3") != before


@pytest.mark.parametrize("rest", ["", "x", "3/", "/3", "1", "-3", "3/0", "99999", "3/4/5", "3.5", "²", "3 "])
def test_bad_references_get_one_sentence(rest: str) -> None:
    with pytest.raises(UserError) as caught:
        check_ref(f"fractals:{rest}")
    said = str(caught.value)
    assert f"fractals:{rest}" in said and "\n" not in said and said.endswith(".")
