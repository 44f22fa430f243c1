"""Pairs of a study, and the intervals, contrasts and verdicts of the analyses that compare them."""

import numpy as np
import polars as pl
import pytest
from smoke import study as smoke

from transferscope.analyses._shared import contrasts, phrases
from transferscope.measures.deciding import fixed, sequential
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.section import Section
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
        "P-T & P-T": 3,
        "P-T & P": 3,
        "RI-T & RI-T": 3,
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


def made(values, seeds, **more):
    """Pairs with a value by the seeds of both."""
    return pl.DataFrame([{"seed": i, "seed_b": j, "kappa": v} for (i, j), v in zip(seeds, values, strict=True)])


def test_values_of_pairs_of_one_arm_are_intervals_over_its_runs():
    x = np.array([0.1, 0.5, 0.3, 0.8])
    seeds = [(j, i) for i in range(4) for j in range(i + 1, 4)]
    table = made([(x[i] + x[j]) / 2 for i, j in seeds], seeds)
    found = contrasts.of_pairs(table.rename({"kappa": "plain"}), "plain", together=True)
    own = mean_interval(x)  # leaving out a run of x's mean is the t interval of x
    assert (found.mean, found.low, found.high) == pytest.approx((own.mean, own.low, own.high)) and found.n == 4
    apart = contrasts.of_pairs(table.rename({"kappa": "plain"}), "plain", together=False)
    assert apart.n == 6 and apart.high - apart.low < found.high - found.low


def test_pairs_stay_in_the_range_of_their_value():
    high = made([0.99, 0.95, 0.97], [(1, 0), (2, 0), (2, 1)])
    found = contrasts.of_pairs(high, "kappa", together=True)
    assert found.n == 3 and found.low < found.mean < found.high < 1
    one = contrasts.of_pairs(high[:1], "kappa", together=True)
    assert (one.mean, one.low, one.n) == (0.99, None, 2)


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


def test_verdicts_need_three_seeds_and_every_effect():
    above, below, unsure = (mean_interval(values) for values in ([1, 1.1, 0.9], [-1, -1.1, -0.9], [1, -1, 3]))

    def verdict(*effects, design=fixed(3), seeds=3):
        return contrasts.verdict(effects, design, seeds)

    assert verdict(above, above) == "supports"
    assert verdict(above, unsure) == verdict(above, None) == verdict(None) == verdict() == "open"
    assert verdict(above, below) == "contradicts"
    assert verdict(mean_interval([1, 1.1]), design=fixed(2), seeds=2) == "open"
    assert verdict(mean_interval([1, 1.1]), above) == "open", "a seed was lost"


def test_a_look_of_several_asks_for_more():
    clear, fair = mean_interval([1, 1.01, 0.99]), mean_interval([1, 1.5, 0.8])
    looks = sequential(3, 8)
    assert [contrasts.verdict([one], fixed(3), 3) for one in (clear, fair)] == ["supports"] * 2
    assert [contrasts.verdict([one], looks, 3) for one in (clear, fair)] == ["supports", "open"]


def test_of_many_effects_one_below_is_judged_step_by_step():
    """Four effects: an interval at 95% that lies below 0 is no contradiction, one at 98.75% is."""
    nothing = mean_interval([3, -2, -0.5, 1])
    low = mean_interval([-1, -1.4, -0.6, -0.45])
    assert low.excludes() and not low.at(1 - 0.05 / 4).excludes()
    assert contrasts.verdict([low], fixed(4), 4) == "contradicts"
    assert contrasts.verdict([low, nothing, nothing, nothing], fixed(4), 4) == "open"


def test_an_open_claim_says_how_many_seeds_would_decide_it():
    def needed(*effects, design=fixed(3)):
        found = contrasts.judged("text", effects[0] or effects[1], "points", 1, effects)
        (one,) = contrasts.judge(Section("title", [found]), design, 3).findings
        return one.verdict, one.needed

    clear, some, none = mean_interval([1, 1.01, 0.99]), mean_interval([1, 2.2, 0.1]), mean_interval([1, -1, 0.01])
    assert needed(clear) == ("supports", None)
    verdict, alone = needed(some)
    assert verdict == "open" and 3 < alone < 15 and needed(clear, some) == ("open", alone)
    assert needed(some, none) == ("open", None) and needed(some, None) == ("open", None)
    assert needed(contrasts.moved(some, -1)) == ("open", alone), "against the claim as well"
    assert needed(some, design=sequential(3, 8))[1] >= alone


def test_an_open_claim_says_how_many_of_its_comparisons_are_shown():
    clear, none = mean_interval([1, 1.01, 0.99]), mean_interval([1, -1, 0.01])
    for effects, shown in (
        ((clear, none), (1, 2)),
        ((none, None, clear), (1, 3)),
        ((none,), None),
        ((clear, clear), None),
    ):
        found = contrasts.judged("text", clear, "points", 1, effects)
        (one,) = contrasts.judge(Section("title", [found]), fixed(3), 3).findings
        assert one.shown == shown


def test_intervals_are_asked_again_at_other_levels():
    x = [1.0, 2.0, 4.0]
    found = contrasts.moved(contrasts.interval(x), -100, 5)
    again = found.at(0.5)
    plain = mean_interval(x, 0.5)
    assert (again.low, again.high) == pytest.approx((5 - 100 * plain.high, 5 - 100 * plain.low))
    side = contrasts.one_sided(mean_interval(x)).at(0.95)
    assert side.low == pytest.approx(mean_interval(x, 0.9).low)
    assert Interval(1.0, 0.5, 1.5, 3).at(0.9).low is None


def test_words():
    assert phrases.listed(["a"]) == "a" and phrases.listed(["a", "b", "c"]) == "a, b and c" and phrases.listed([]) == ""
    assert contrasts.twins("P-T & P-T") and not contrasts.twins("P-T & P")
