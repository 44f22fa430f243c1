"""When a claim may be decided: the three designs, their levels and their words."""

import numpy as np
import pytest

from transferscope.measures.deciding import fixed, seeds_needed, sequential
from transferscope.measures.intervals import mean_interval
from transferscope.measures.repeated_looks import constant_level, false_verdicts


def test_seeds_fixed_in_advance_decide_once_at_five_percent():
    design = fixed(6)
    assert design.level(6) == 0.05 and design.errs == pytest.approx(0.05)
    assert [n for n in range(1, 9) if design.decides(n)] == [6]
    assert design.words == "The 6 seeds were fixed in advance: claims are judged once, at the 5% level."


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(n):
    design = fixed(n)
    assert not design.decides(n) and design.errs == 0 and design.level(n) == 0.05
    assert "no claim is decided" in design.words and (f"{n} seed" + "s" * (n > 1) + " ") in design.words
    assert design.raised(6) == fixed(6), "what decided nothing was no look"


def test_values_missing_for_some_seeds_decide_while_there_are_three():
    assert fixed(6).decides(3, seeds=6) and not fixed(6).decides(2, seeds=6) and not fixed(6).decides(5)


def test_seeds_one_at_a_time_share_the_error():
    design = sequential(3, 8)
    assert design.level(3) == design.level(8) == constant_level(tuple(range(3, 9))) == pytest.approx(0.0143, abs=1e-4)
    assert [n for n in range(1, 11) if design.decides(n)] == [3, 4, 5, 6, 7, 8]
    assert design.errs == pytest.approx(0.05, abs=1e-4)
    assert "3 to 8" in design.words and "1.4%" in design.words and "5% of claims" in design.words


def test_many_seeds_fixed_in_advance_are_judged_like_few():
    assert fixed(300).level(300) == fixed(300).errs == 0.05 and fixed(300).decides(300)


def test_looks_at_two_seeds_do_not_cost_anything():
    assert sequential(2, 8) == sequential(3, 8)


def test_a_further_look_is_judged_as_if_planned_and_says_what_it_costs():
    design = fixed(3).raised(6)
    assert design.level(3) == 0.05 and design.level(6) == pytest.approx(0.0272, abs=1e-4)
    assert design.errs == false_verdicts([3, 6], [0.05, design.level(6)]) > 0.06
    assert design.decides(3) and design.decides(6) and not design.decides(5)
    assert "by hand after looking at 3" in design.words and "7%" in design.words
    after = sequential(3, 8).raised(12)
    assert after.level(8) == sequential(3, 8).level(8) > after.level(12)


@pytest.mark.parametrize(("first", "last"), [(2, 3), (2, 30), (29, 30), (3, 30), (5, 17)])
def test_any_looks_up_to_thirty_have_a_level(first, last):
    looks = range(first, last + 1)
    p = constant_level(tuple(looks))
    assert 0.05 / len(looks) < p < 0.05
    assert false_verdicts(looks, [p] * len(looks)) == pytest.approx(0.05, rel=1e-4)


def test_nonsense_is_refused():
    for call in (
        lambda: fixed(0),
        lambda: sequential(3, 3),
        lambda: sequential(1, 5),
        lambda: sequential(3, 31),
        lambda: fixed(6).raised(6),
        lambda: fixed(6).raised(101),
    ):
        with pytest.raises(ValueError):
            call()


def test_the_seeds_an_effect_needs_are_those_at_which_its_interval_leaves_0():
    """Made of values of exactly the scatter and the mean that the first three seeds seem to have."""
    x = np.array([1.0, 3.0, 2.0])
    found = mean_interval(0.9 * x)
    needed = seeds_needed(found, fixed(3))

    def decided(n: int) -> bool:
        values = np.linspace(-1, 1, n)
        values = found.mean + values / values.std(ddof=1) * (0.9 * x).std(ddof=1)
        level = fixed(3).level(3) if n == 3 else fixed(3).raised(n).level(n)
        return mean_interval(values, 1 - level).excludes()

    assert needed is not None and decided(needed) and not any(decided(n) for n in range(3, needed))
    planned = seeds_needed(found, sequential(3, 8))
    assert planned is not None and planned >= needed - 1


def test_what_is_decided_needs_no_more_and_what_is_nothing_is_not_guessed():
    assert seeds_needed(mean_interval([5.0, 5.1, 4.9]), fixed(3)) == 3
    assert seeds_needed(mean_interval([1.0, -1.0, 0.01]), fixed(3)) is None
    assert seeds_needed(mean_interval([1.0]), fixed(1)) is None
    assert seeds_needed(mean_interval([1.0, 1.2]), fixed(2)) == 3
