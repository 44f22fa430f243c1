"""Simulated schedules: their bounds, the best by hand, and a real run of the same steps."""

import json
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from toy import tasks

from transferscope.engine.executors import Slots
from transferscope.engine.executors.local import Local
from transferscope.engine.simulate import longest, simulate
from transferscope.engine.step import Step, walk
from transferscope.engine.store import Store


def study(runs: int, seed: int = 0) -> list[Step]:
    """Steps like those of a study: a table, a search, runs of several lengths, and what compares them."""
    draw = random.Random(seed)
    table = tasks.nap.step(seconds=3.0, after=[])
    trials = [tasks.nap.step(seconds=draw.uniform(5, 10), after=[table]) for _ in range(3)]
    chosen = tasks.nap.step(seconds=0.1, after=trials)
    trained = [tasks.nap.step(seconds=draw.uniform(5, 20), after=[table, chosen]) for _ in range(runs)]
    pairs = [tasks.nap.step(seconds=draw.uniform(1, 4), after=[*both]) for both in pairwise(trained)]
    return walk([*pairs, *trained])


def lengths(steps: list[Step]) -> dict[str, float]:
    return {step.key: step.cost for step in steps}


def test_from_one_to_1024_workers_it_keeps_its_bounds() -> None:
    steps = study(50)
    seconds = lengths(steps)
    before = float("inf")
    for workers in range(1, 1025):
        found = simulate(steps, seconds, workers)
        assert found.makespan >= max(found.critical, found.work / workers) - 1e-9
        assert found.makespan <= found.critical + found.work / workers + 1e-9, "Graham's bound of a greedy schedule"
        assert found.makespan <= before + 1e-9
        assert 0 < found.utilisation <= 1 + 1e-9
        before = found.makespan
    assert found.makespan == pytest.approx(found.critical) and found.is_bound_by_chain
    alone = simulate(steps, seconds, 1)
    assert alone.makespan == pytest.approx(sum(seconds.values())) and alone.utilisation == pytest.approx(1)


def test_schedules_by_hand() -> None:
    first = tasks.nap.step(seconds=2.0, after=[])
    long, short = (tasks.nap.step(seconds=s, after=[first]) for s in (5.0, 3.0))
    other = tasks.nap.step(seconds=2.5, after=[])
    steps = [first, long, short, other]
    assert simulate(steps, lengths(steps), 1).makespan == 12.5
    two = simulate(steps, lengths(steps), 2)  # first and other side by side, then long; short when other is over
    assert two.makespan == 7.0 and two.chain == (first, long) and two.critical == 7.0
    assert simulate(steps, lengths(steps), 2, start=1.0).makespan == 8.0, "a worker takes a second to be there"
    assert simulate([], {}, 3).makespan == 0.0 and longest([], {}) == ()


def test_inputs_that_are_done_are_waited_for_by_nobody() -> None:
    done = tasks.nap.step(seconds=100.0, after=[])
    step = tasks.nap.step(seconds=1.0, after=[done])
    assert simulate([step], {step.key: 1.0}, 4).makespan == 1.0


@pytest.mark.slow
def test_a_real_run_takes_as_long_as_its_simulation(tmp_path: Path) -> None:
    """Within a quarter, by the seconds that its steps took, however busy the machine was meanwhile."""
    table = tasks.nap.step(seconds=0.5, after=[])
    trained = [tasks.nap.step(seconds=0.6 + 0.1 * n, after=[table]) for n in range(10)]
    compared = [tasks.nap.step(seconds=0.4, after=[*both]) for both in pairwise(trained)]
    steps = [table, *trained, *compared]
    store = Store(tmp_path / "store")
    store.prepare()
    heard: list[tuple[str, str, float]] = []

    def watch(event: str, what: Any) -> None:
        heard.append((event, what["key"], time.monotonic()))

    Local(Slots(("cpu", "cpu"), 1, 2)).run(steps, store, watch)
    seconds = {step.key: json.loads((store.get(step).path / "step.json").read_text())["seconds"] for step in steps}
    at = {event + key: when for event, key, when in heard}
    real = max(when for *_, when in heard) - at["started" + table.key]
    start = at["ended" + table.key] - at["started" + table.key] - seconds[table.key]
    assert simulate(steps, seconds, 2, start).makespan == pytest.approx(real, rel=0.25)
