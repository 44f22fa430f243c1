"""The score of a valley against brute force, the search against the whole grid, early verdicts against full counts."""

import math

import numpy as np
import pytest

from transferscope.measures.valley import Best, border, draws_verdict, pooled_deviation, score, verdict, within

SIGMA = np.geomspace(0.01, 1, 9)
REACH = np.linspace(0, 2, 11)


def brute(holds, reach, sigma):
    """Over cells that hold as all of less noise in their row do."""
    cells = [(a, s) for a in range(len(reach)) for s in range(len(sigma)) if all(holds[a, : s + 1])]
    found = [(reach[a] / sigma[s]) ** 2 for a, s in cells]
    return min(found, default=math.inf)


def test_score_is_the_least_ratio_of_any_feasible_cell():
    rng = np.random.default_rng(0)
    for _ in range(50):
        feasible = rng.random((11, 9)) < rng.random()
        best = score(feasible, REACH, SIGMA)
        assert best.mu == pytest.approx(brute(feasible, REACH, SIGMA))
        if math.isfinite(best.mu):
            assert feasible[best.row, : best.column + 1].all()
            assert best.mu == (REACH[best.row] / SIGMA[best.column]) ** 2


def test_score_by_hand():
    feasible = np.zeros((3, 2), dtype=bool)
    assert score(feasible, [0, 1, 2], [0.5, 1]) == Best(math.inf, -1, -1)
    feasible[2, 1] = True
    assert score(feasible, [0, 1, 2], [0.5, 1]) == Best(math.inf, -1, -1)  # it fails with less noise: no valley
    feasible[2, 0] = feasible[1, 0] = True
    assert score(feasible, [0, 1, 2], [0.5, 1]) == Best(4.0, 1, 0)  # (1 / .5)^2 and (2 / 1)^2: the smaller noise
    feasible[0, 0] = True
    assert score(feasible, [0, 1, 2], [0.5, 1]) == Best(0.0, 0, 0)
    assert score(np.zeros((2, 1)), [0, 0], [1.0]).mu == 0  # nothing moved


def test_border_finds_the_same_from_few_cells_where_rows_are_monotone():
    rng = np.random.default_rng(1)
    most = 0
    for _ in range(300):
        ends = rng.integers(0, 10, 11)  # feasible up to a column of its own in every row, in no order
        if rng.random() < 0.8:
            ends = np.sort(ends)
        feasible = np.arange(9)[None] < ends[:, None]
        asked = []

        def ask(a, s, feasible=feasible, asked=asked):
            asked.append((a, s))
            return bool(feasible[a, s])

        assert border(REACH, SIGMA, ask) == score(feasible, REACH, SIGMA)
        assert len(set(asked)) == len(asked)
        most = max(most, len(asked))
    assert most < 45  # of 99


def test_border_asks_one_cell_where_the_start_itself_holds():
    asked = []
    assert border(REACH, SIGMA, lambda a, s: not asked.append((a, s))) == Best(0.0, 0, 0)
    assert asked == [(0, 0)]
    assert border([0, 0], SIGMA, lambda a, s: pytest.fail("nothing moved")).mu == 0
    assert border(REACH, SIGMA, lambda a, s: False) == Best(math.inf, -1, -1)


def test_border_takes_a_path_whose_points_do_not_lie_in_order():
    reach = np.array([0.0, 3.0, 1.0, 2.0])
    feasible = np.array([[0, 0], [1, 1], [1, 0], [1, 0]], dtype=bool)
    assert border(reach, [0.5, 1], lambda a, s: bool(feasible[a, s])) == score(feasible, reach, [0.5, 1])


def test_border_gives_up_a_row_with_a_gap_halfway_below_and_takes_the_next_best():
    holds = np.array([[0, 0, 0, 0], [1, 0, 1, 1], [1, 1, 1, 0]], dtype=bool)
    asked, reach, sigma = [], [0, 1.5, 2], [1, 2, 3, 4]
    found = border(reach, sigma, lambda a, s: bool(asked.append((a, s)) or holds[a, s]))
    assert found == score(holds, reach, sigma) == Best((2 / 3) ** 2, 2, 2)
    assert {(1, 1), (1, 3)} <= set(asked) and len(set(asked)) == len(asked)


def test_draws_decide_as_all_of_them_would_and_end_where_it_is_clear():
    rng = np.random.default_rng(3)
    wrongly = early = 0
    for _ in range(2000):
        rate, deviation = rng.uniform(20, 60), rng.uniform(0, 4)
        draws, limit = 5, 5 * 40
        wrong = np.clip(np.rint(rng.normal(rate, deviation, draws)), 0, 150).astype(int).tolist()
        know = {"draws": draws, "size": 150, "limit": limit}
        seen = next(m for m in range(1, 6) if draws_verdict(wrong[:m], **know, deviation=deviation) is not None)
        wrongly += draws_verdict(wrong[:seen], **know, deviation=deviation) != within(sum(wrong), limit)
        early += seen < draws
        blind = next(m for m in range(1, 6) if draws_verdict(wrong[:m], **know, deviation=None) is not None)
        assert draws_verdict(wrong[:blind], **know, deviation=None) == within(sum(wrong), limit), "exact without it"
        assert seen <= blind
    assert wrongly <= 10 and early > 1000  # z = 3
    assert draws_verdict([41], draws=2, size=150, limit=80, deviation=0.0) is None, "one error at least"
    assert draws_verdict([0], draws=2, size=40, limit=40, deviation=None) is True, "whatever the rest holds"
    assert draws_verdict([150], draws=2, size=150, limit=80, deviation=None) is False


def test_pooled_deviation():
    assert pooled_deviation([]) is None and pooled_deviation([[3], [1, 2]]) is None
    assert pooled_deviation([[1, 3], [10, 10, 13]]) == pytest.approx(math.sqrt((2 + 6) / 3))


@pytest.mark.parametrize("bad", [([0, 1], [0, 1]), ([0, 1], [1, 0.5]), ([-1, 1], [1]), ([], [1])])
def test_axes_are_checked(bad):
    with pytest.raises(ValueError, match=r"valley|noise"):
        border(*bad, lambda a, s: True)


def pieces(error, base, draws, batches, size, rng):
    """Errors of a cell piece by piece, every draw with an error rate of its own around `error`."""
    before = rng.random((batches, size)) < base
    rates = np.clip(rng.normal(error, error / 4, draws), 0, 1)
    wrong = rng.random((draws, batches, size)) < rates[:, None, None]
    return before, wrong


def told(before, wrong, order, limit):
    """The verdict and the pieces it took."""
    draws, size = wrong.shape[0], wrong.shape[2]
    rows = []
    for d, j in order:
        rows.append((wrong[d, j].sum(), before[j].sum(), (wrong[d, j] != before[j]).sum(), size))
        known = verdict(*zip(*rows, strict=True), total=wrong.size, at_start=draws * int(before.sum()), limit=limit)
        if known is not None:
            return known, len(rows)
    raise AssertionError("a whole cell has a verdict")


def test_verdict_agrees_with_the_full_count_and_is_early_where_it_is_clear():
    rng = np.random.default_rng(2)
    draws, batches, size = 8, 10, 100
    order = [((k % draws), (k % draws + k // draws) % batches) for k in range(draws * batches)]
    wrongly = spared = count = 0
    for error in (0.0, 0.005, 0.009, 0.011, 0.02, 0.3, 0.9):
        for _ in range(20):
            before, wrong = pieces(error, 0.0, draws, batches, size, rng)
            limit = draws * before.sum() + 0.01 * wrong.size
            known, took = told(before, wrong, order, limit)
            wrongly += known != within(int(wrong.sum()), limit)
            spared += took <= 12 and error in (0.0, 0.3, 0.9)
            count += error in (0.0, 0.3, 0.9)
    assert wrongly <= 1  # of 140, z = 3
    assert spared == count


def test_verdict_never_trusts_a_few_images_without_a_flip():
    assert verdict([0] * 4, [0] * 4, [0] * 4, [10] * 4, total=100_000, at_start=0, limit=1000) is None
    assert verdict([0] * 99, [0] * 99, [0] * 99, [10] * 99, total=100_000, at_start=0, limit=1000) is True
    one = {"total": 1000, "at_start": 0, "limit": 10}
    assert verdict([90], [0], [90], [100], **one) is False  # over the limit already, whatever follows
    assert verdict([9], [0], [9], [100], **one) is None
    assert verdict([9] * 4, [0] * 4, [9] * 4, [250] * 4, total=1000, at_start=0, limit=36) is True  # the last one in
    assert within(10, 0.1 * 100) and within(3, 0.1 * 30) and not within(4, 3.0)


def test_a_count_at_its_limit_is_within_it_however_large():
    limit = 10 * (3 + 0.29 * 100_000)  # a little less than 290,030
    assert limit < 290_030 and within(290_030, limit) and not within(290_031, limit)
