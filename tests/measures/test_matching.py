"""Matching against all permutations, and against copies whose permutation is known."""

import sys
from itertools import permutations

import numpy as np
import pytest

from transferscope.errors import UserError
from transferscope.measures.matching import PermutedAxis, assignment, entries, weight_matching


def test_assignment_is_the_best_of_all_permutations():
    rng = np.random.default_rng(0)
    for n in (1, 2, 5):
        gain = rng.normal(size=(n, n))
        best = max(permutations(range(n)), key=lambda p: sum(gain[i, p[i]] for i in range(n)))
        np.testing.assert_array_equal(assignment(gain), best)
    with pytest.raises(ValueError, match="square matrix of finite"):
        assignment([[1.0, np.nan], [0.0, 1.0]])


def test_without_scipy_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(UserError, match=r"needs the library scipy; run .*pip install 'transferscope\[align\]'"):
        assignment([[1.0]])


def test_entries_keep_the_neighbours_of_a_channel_together():
    np.testing.assert_array_equal(entries(np.array([2, 0, 1]), 2), [4, 5, 0, 1, 2, 3])


# Three layers, 4 inputs and 3 outputs fixed; the second hidden layer's channels feed 2 entries each into the last.
PLACES = (
    PermutedAxis("w1", 0, 0),
    PermutedAxis("b1", 0, 0),
    PermutedAxis("w2", 1, 0),
    PermutedAxis("w2", 0, 1),
    PermutedAxis("w3", 1, 1, 2),
)
SIZES = (6, 5)


def made(rng):
    return {
        "w1": rng.normal(size=(6, 4)),
        "b1": rng.normal(size=6),
        "w2": rng.normal(size=(5, 6)),
        "w3": rng.normal(size=(3, 10)),
        "b3": rng.normal(size=3),
    }


def permuted(w, p, q):
    return {"w1": w["w1"][p], "b1": w["b1"][p], "w2": w["w2"][q][:, p], "w3": w["w3"][:, entries(q, 2)], "b3": w["b3"]}


def inner(a, b):
    return sum(np.vdot(a[t], b[t]) for t in ("w1", "b1", "w2", "w3"))


def test_a_permuted_copy_is_recovered_exactly():
    rng = np.random.default_rng(1)
    for _ in range(20):
        b = made(rng)
        p, q = rng.permutation(6), rng.permutation(5)
        found = weight_matching(permuted(b, p, q), b, PLACES, SIZES, rng=rng)
        np.testing.assert_array_equal(found.permutations[0], p)
        np.testing.assert_array_equal(found.permutations[1], q)
        assert found.objective[-1] == pytest.approx(inner(b, b))


def test_the_objective_never_falls_and_comes_close_to_the_best_of_all():
    rng = np.random.default_rng(2)
    sizes, places = (4, 3), (*PLACES[:-1], PermutedAxis("w3", 1, 1))
    for _ in range(10):
        a, b = (
            {
                "w1": rng.normal(size=(4, 4)),
                "b1": rng.normal(size=4),
                "w2": rng.normal(size=(3, 4)),
                "w3": rng.normal(size=(3, 3)),
            }
            for _ in range(2)
        )

        def moved(p, q, b=b):
            return {"w1": b["w1"][p], "b1": b["b1"][p], "w2": b["w2"][q][:, p], "w3": b["w3"][:, q]}

        found = weight_matching(a, b, places, sizes, rng=rng)
        assert (np.diff(found.objective) > 0).all()
        assert found.objective[-1] == pytest.approx(inner(a, moved(*found.permutations)))
        orders = [(np.array(p), np.array(q)) for p in permutations(range(4)) for q in permutations(range(3))]
        every = [inner(a, moved(p, q)) for p, q in orders]
        assert found.objective[-1] <= max(every) + 1e-9
        assert found.objective[-1] >= np.quantile(every, 0.95)


def test_a_group_on_both_axes_of_a_tensor_never_lowers_the_objective():
    rng = np.random.default_rng(3)
    places = (PermutedAxis("w", 0, 0), PermutedAxis("w", 1, 0))
    for _ in range(10):
        a, b = {"w": rng.normal(size=(6, 6))}, {"w": rng.normal(size=(6, 6))}
        found = weight_matching(a, b, places, (6,), rng=rng)
        p = found.permutations[0]
        assert (np.diff(found.objective) > 0).all()
        assert found.objective[-1] == pytest.approx(np.vdot(a["w"], b["w"][p][:, p]))
