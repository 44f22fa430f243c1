"""Pairs of a study, and the intervals, contrasts and verdicts of the analyses that compare them."""

import numpy as np
import polars as pl
import pytest
from smoke import study as smoke

from transferscope.analyses._shared import contrasts, phrases
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.study import Study
from transferscope.study.pairs import pairs

PAPER = {"P-T & P-T", "P-T & P", "P-T & RI-T", "RI-T & RI-T", "RI-T & P"}


@pytest.fixture
def study(tmp_path):
    return lambda **changes: Study.load(smoke.write(tmp_path), changes)


def test_every_pair_the_paper_tabulates_is_there(study):
    found = list(pairs(study(seeds="3"), "shapes"))
    kinds = [pair.kind for pair in found]
    assert set(kinds) == PAPER | {"RI-T & RI"}
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "P-T & P-T": 2,
        "P-T & P": 3,
        "RI-T & RI-T": 2,
        "RI-T & RI": 3,
        "P-T & RI-T": 3,
        "RI-T & P": 3,
    }
    across = next(pair for pair in found if pair.kind == "RI-T & P")
    assert across.b.arm == "pretrained" and across.b.at == "start" and across.a.seed == across.b.seed
    assert across.labels == {"pair": "RI-T & P", "seed": 0, "seed_b": 0}


def test_a_grown_study_keeps_every_pair(study):
    def keys(seeds):
        return {(p.kind, p.a.seed, p.b.seed, p.a.run.key, p.b.run.key) for p in pairs(study(seeds=seeds), "shapes")}

    assert keys("2") < keys("3") < keys("6")


def test_control_arms_and_a_study_without_weights(study):
    kinds = {pair.kind for pair in pairs(study(arms="[random, stats, pretrained]", seeds="2"), "shapes")}
    assert kinds == PAPER | {"RI-T & RI", "stats-T & stats-T", "stats-T & stats", "P-T & stats-T", "stats-T & P"}
    kinds = {pair.kind for pair in pairs(study(arms="[random]", seeds="2"), "shapes")}
    assert kinds == {"RI-T & RI-T", "RI-T & RI"}
    assert {p.kind for p in pairs(study(arms="[random, stats]", seeds="1"), "shapes")} == {
        "RI-T & RI",
        "stats-T & stats",
        "RI-T & stats-T",
    }


def test_intervals_of_chained_pairs_hold_the_truth_as_often_as_they_say():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(1500, 9))
    values = x[:, 1:] + x[:, :-1]  # neighbours correlate by exactly one half, the worst there is
    found = [contrasts.interval(row, chained=True) for row in values]
    held = np.mean([of.low <= 0 <= of.high for of in found])
    naive = np.mean([of.low <= 0 <= of.high for of in map(mean_interval, values)])
    assert 0.94 < held < 0.985 and naive < 0.9
    assert found[0].n == 9


def test_interval_of_one_pair_and_of_unchained_values():
    one = contrasts.interval([3.0], chained=True)
    assert (one.mean, one.low, one.n) == (3.0, None, 2)
    assert contrasts.interval([1.0, 2.0], chained=False) == mean_interval([1.0, 2.0])


def rows(**kinds):
    return pl.DataFrame(
        [{"pair": kind.replace("_", " & "), "seed": s, "value": v} for kind, of in kinds.items() for s, v in of.items()]
    )


def test_contrasts_pair_by_seed():
    table = rows(A_B={0: 1.0, 1: 5.0, 2: 2.0}, C_D={1: 1.0, 2: 4.0, 7: 9.0})
    found = contrasts.contrast(table, "A & B", "C & D", "value")
    assert found.mean == 1.0 and found.n == 2
    assert contrasts.contrast(table, "A & B", "X & Y", "value") is None
    assert contrasts.mean(table, "X & Y", "value") is None


def test_verdicts_need_six_seeds_and_every_effect():
    above, below, unsure = Interval(1, 0.5, 1.5, 6), Interval(-1, -1.5, -0.5, 6), Interval(1, -1, 3, 6)
    assert contrasts.verdict([above, above]) == "supports"
    assert contrasts.verdict([above, unsure]) == "open" and contrasts.verdict([above, None]) == "open"
    assert contrasts.verdict([above, below]) == "contradicts" and contrasts.verdict([]) == "open"
    assert contrasts.verdict([Interval(1, 0.5, 1.5, 5)]) == "open" and contrasts.verdict([None]) == "open"


def test_words():
    assert phrases.listed(["a"]) == "a" and phrases.listed(["a", "b", "c"]) == "a, b and c" and phrases.listed([]) == ""
    assert contrasts.twins("P-T & P-T") and not contrasts.twins("P-T & P")
