"""lr at given steps."""

import pytest

from transferscope.tasks.schedule import Schedule


def test_multistep_drops_at_the_shares_of_the_epochs() -> None:
    schedule = Schedule("multistep", 0.1, 10, 0.0, (0.3, 0.6, 0.9), 0.1)
    lrs = [schedule.at(epoch) for epoch in range(10)]
    assert lrs == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001] * 3 + [0.0001])


def test_the_papers_schedule() -> None:
    schedule = Schedule("multistep", 0.0125, 100, 0.0, (0.3, 0.6, 0.9), 0.1)
    assert schedule.at(29.99) == pytest.approx(0.0125)
    assert [schedule.at(e) for e in (30, 60, 90)] == pytest.approx([0.00125, 0.000125, 0.0000125])


def test_cosine_falls_from_lr_to_nothing() -> None:
    schedule = Schedule("cosine", 0.2, 10, 0.0, (), 0.1)
    assert schedule.at(0) == pytest.approx(0.2)
    assert schedule.at(5) == pytest.approx(0.1)
    assert schedule.at(10) == pytest.approx(0.0, abs=1e-12)


def test_warmup_rises_linearly_and_meets_the_schedule() -> None:
    schedule = Schedule("cosine", 0.2, 10, 2.0, (), 0.1)
    assert schedule.at(0) == pytest.approx(0.02)
    assert schedule.at(1) == pytest.approx(0.1)
    assert schedule.at(2) == pytest.approx(0.2)
    assert Schedule("constant", 0.2, 10, 0.0, (), 0.1).at(7.3) == 0.2
