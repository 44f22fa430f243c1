"""Differences between studies: paired against a slow reference, unpaired and said so, none on another basis."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from transferscope.analyses._shared import readings
from transferscope.analyses._shared.gains import Scores
from transferscope.comparison.differences import BY_IMAGE, PAIRED, rows
from transferscope.comparison.sides import Held
from transferscope.comparison.targets import Matched
from transferscope.measures.intervals import mean_interval, wilson
from transferscope.measures.seeds_and_images import CAP
from transferscope.measures.student import t_quantile
from transferscope.report.page import PagePart
from transferscope.section import Section


def gain(values: np.ndarray, seeds: tuple[int, ...] | None = None, metric: str = "accuracy", **more: Any) -> Any:
    """The reading of gains (seeds, images) of -1, 0 and 1, in points."""
    scores = Scores(values.mean(1), values.astype(np.float64), (-1.0, 1.0)).times(100)
    return readings.of_scores("gain", "Gain", "The gain", "cells", metric, scores, seeds or range(len(values)), **more)


def drawn(seed: int, seeds: int = 4, images: int = 60, shift: float = 0.0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    chances = np.clip(draw.uniform(0, 0.5, images) + shift, 0, 1)
    return (draw.random((seeds, images)) < chances).astype(int) - (draw.random((seeds, images)) < 0.2).astype(int)


def side(name: str, found: list[Any], level: float = 0.05, missing: tuple[Any, ...] = (), **options: Any) -> Any:
    """As much of a side as differences look at."""
    part = PagePart("transfer", "", Section("Gains", readings=found), pl.DataFrame(), (), "transfer")
    chosen = {"transfer": SimpleNamespace(options=SimpleNamespace(model_dump=lambda mode: options))}
    own = [(part, one) for one in found]
    return SimpleNamespace(name=name, readings=own, chosen=chosen, missing=list(missing), level=level)


def target(count: int, *tests: str, classes: tuple[int, ...] | None = None) -> Matched:
    held = {k: Held("d", test, (classes or (3,) * count)[k], "class", 60) for k, test in enumerate(tests)}
    return Matched(dict.fromkeys(range(count), "cells"), held)


def slow(differences: np.ndarray, level: float) -> tuple[float, float, float]:
    """The interval over seeds and images in plain loops of Python floats, with the floor that Wilson's bound gives."""
    d = [[float(v) for v in row] for row in differences]
    n, images = len(d), len(d[0])
    mean = math.fsum(v for row in d for v in row) / (n * images)
    by_seed = [math.fsum(row) / images - mean for row in d]
    by_image = [math.fsum(row[i] for row in d) / n - mean for i in range(images)]
    s = images * math.fsum(a * a for a in by_seed) / (n - 1)
    i = n * math.fsum(b * b for b in by_image) / (images - 1)
    left = [d[k][j] - mean - by_seed[k] - by_image[j] for k in range(n) for j in range(images)]
    r = math.fsum(x * x for x in left) / ((n - 1) * (images - 1))
    variance = s + max(i - r, 0.0)
    squares = s**2 / (n - 1) + i**2 / (images - 1) + r**2 / ((n - 1) * (images - 1))
    freedom = min(max(variance**2 / squares, n - 1), CAP * (n - 1))
    half = t_quantile((1 + level) / 2, freedom) * math.sqrt(variance / (n * images))
    return mean, half, 200.0 * (wilson(0, images, level).high or 0.0)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_paired_by_seed_and_image_equals_a_slow_reference(level: float):
    first, second = drawn(1, images=400), drawn(2, images=400, shift=0.2)
    (row,) = rows([side("a", gain(first)), side("b", gain(second))], [target(2, "t", "t")])
    (one,) = row.differences
    mean, half, floor = slow(100.0 * (second - first), level)
    found = one.found.at(level)  # type: ignore[union-attr]
    assert one.how == BY_IMAGE and one.found is not None and one.found.images == 400
    assert found.mean == pytest.approx(mean, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((mean - max(half, floor), mean + max(half, floor)), abs=1e-9)


def test_only_seeds_of_both_are_paired_whatever_their_order():
    first, second = drawn(3, seeds=3), drawn(4, seeds=5)
    a, b = gain(first, (4, 0, 2)), gain(second, (0, 1, 2, 3, 4))
    (row,) = rows([side("a", a), side("b", b)], [target(2, "t", "t")])
    expected = 100 * (second[[0, 2, 4]] - first[[1, 2, 0]]).mean()
    assert row.differences[0].found.mean == pytest.approx(expected)  # type: ignore[union-attr]
    assert row.differences[0].found.n == 3  # type: ignore[union-attr]


def test_without_parts_of_images_it_is_the_t_interval_over_seeds():
    a = readings.by_seed("rise", "Train", "The rise", "cells", "points", {0: 1.0, 1: 2.0, 2: 4.0})
    b = readings.by_seed("rise", "Train", "The rise", "cells", "points", {0: 2.0, 1: 4.0, 2: 5.0})
    (row,) = rows([side("a", a), side("b", b)], [target(2, "t", "t")])
    known = mean_interval([1.0, 2.0, 1.0])
    assert row.differences[0].how == PAIRED
    assert (row.differences[0].found.low, row.differences[0].found.high) == pytest.approx((known.low, known.high))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tests", "seeds", "said"),
    [
        (("t", "other"), (0, 1, 2, 3), "test examples"),
        (("t", "t"), (5, 6, 7, 8), "seeds"),
        (("t",), (0, 1, 2, 3), "test"),
    ],
)
def test_what_cannot_be_paired_says_so_and_is_no_narrower_for_it(tests, seeds, said):
    first, second = gain(drawn(1)), gain(drawn(2, shift=0.3), seeds)
    (row,) = rows([side("a", first), side("b", second)], [target(2, *tests)])
    (one,) = row.differences
    assert one.found is not None and one.how.startswith("not paired") and said in one.how
    a, b = first[0].whole, second[0].whole
    low = one.found.mean - math.hypot(b.mean - b.low, a.high - a.mean)
    assert one.found.low == pytest.approx(low)


def test_pairs_of_runs_leave_out_a_seed_of_both_studies():
    frame = pl.DataFrame({"seed": [0, 0, 1], "seed_b": [1, 2, 2], "cka": [0.5, 0.6, 0.7]})
    lower = frame.with_columns(pl.col("cka") - pl.Series([0.1, 0.2, 0.3]))
    a, b = (
        readings.of_pairs("P-T & P-T", "Features", "CKA", "cells", "in CKA", of, "cka", together=True)
        for of in (frame, lower)
    )
    (row,) = rows([side("a", a), side("b", b)], [target(2, "t", "t")])
    found = row.differences[0].found
    assert found is not None and found.mean == pytest.approx(-0.2) and found.n == 3
    deleted = np.array([-0.3, -0.2, -0.1])  # without run 0, 1, 2 one pair is left
    half = t_quantile(0.975, 2) * math.sqrt(2 / 3 * ((deleted - deleted.mean()) ** 2).sum())
    assert (found.low, found.high) == pytest.approx((-0.2 - half, -0.2 + half))


@pytest.mark.parametrize(
    ("second", "known", "words"),
    [
        (side("b", gain(drawn(2), metric="auc"), images=512), target(2, "t", "t"), "metrics differ (accuracy and AUC)"),
        (
            side("b", gain(drawn(2)), images=512),
            target(2, "t", "u", classes=(3, 10)),
            "differ (3 classes and 10 classes)",
        ),
        (
            side("b", gain(drawn(2)), images=24),
            target(2, "t", "t"),
            "options of the analysis differ (images 512",
        ),
        (side("b", []), target(2, "t", "t"), "b has no number for it"),
        (side("b", [], missing=(("transfer", 2, "why"),)), target(2, "t", "t"), "b lacks results for it"),
        (side("b", gain(drawn(2)), images=512), target(1, "t"), "b has no such target"),
    ],
)
def test_no_difference_where_the_basis_differs(second, known, words):
    if len(known.names) == 1:
        second.readings = []
    (row,) = rows([side("a", gain(drawn(1)), images=512), second], [known])
    (one,) = row.differences
    assert one.found is None and words in one.why
    assert row.findings(["a", "b"])[0].effect is None


def test_options_that_only_choose_cells_are_no_basis():
    a, b = side("a", gain(drawn(1)), blocks=[1, 8]), side("b", gain(drawn(2)), blocks=[8])
    (row,) = rows([a, b], [target(2, "t", "t")])
    assert row.differences[0].found is not None


def test_more_than_two_are_judged_together_and_at_the_strictest_level():
    base = drawn(1, images=3000)
    near = base.copy()
    near[:, :90] = 1  # a difference that one comparison alone may show
    found = [side("a", gain(base)), side("b", gain(near)), side("c", gain(drawn(9, images=3000)))]
    places = [target(3, "t", "t", "t")]
    alone = rows(found[:2], [target(2, "t", "t")])[0].differences[0]
    (row,) = rows(found, places)
    assert row.differences[0].found.mean == alone.found.mean  # type: ignore[union-attr]
    assert row.differences[0].judged.high - row.differences[0].judged.low >= alone.judged.high - alone.judged.low  # type: ignore
    strict = [side("a", gain(base), level=0.01), side("b", gain(near))]
    (other,) = rows(strict, [target(2, "t", "t")])[0].differences
    assert other.judged.high - other.judged.low > alone.judged.high - alone.judged.low  # type: ignore
    assert other.found.high == alone.found.high, "what is printed stays at 95%"  # type: ignore[union-attr]


def test_two_seeds_decide_nothing_and_a_sentence_is_no_stronger_than_its_interval():
    base = np.zeros((2, 400), dtype=int)
    (row,) = rows([side("a", gain(base)), side("b", gain(base + 1))], [target(2, "t", "t")])
    assert row.differences[0].light == "unsure"
    assert "is not shown to differ" in row.findings(["a", "b"])[0].text
    three = np.zeros((3, 400), dtype=int)
    (row,) = rows([side("a", gain(three)), side("b", gain(three + 1))], [target(2, "t", "t")])
    assert "is higher than" in row.findings(["a", "b"])[0].text
