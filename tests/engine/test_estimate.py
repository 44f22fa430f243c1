"""Estimates by what was done: the most similar first, and nothing from units of another time."""

import json
from pathlib import Path

import pytest
from toy import tasks

from transferscope.engine.artifact import SAID
from transferscope.engine.estimate import Estimate, Past
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def done(store: Store, step: Step, **said: object) -> None:
    """The step done, and other things said of it; None leaves one out."""
    assert execute(step.job, store, Work(store.root)).status == "done"
    file = store.path(step.task, step.key) / SAID
    told = json.loads(file.read_text()) | {"digest": None, "files": None} | said
    file.write_text(json.dumps({name: value for name, value in told.items() if value is not None}))


def test_seconds_go_by_cost(store: Store) -> None:
    done(store, tasks.slow.step(cost=2.0), seconds=10.0)
    found = Past(store).of(tasks.slow.step(cost=6.0))
    assert found.seconds == pytest.approx(30) and found.bytes > 0
    assert Past(store).of(tasks.number.step(value=1)) == Estimate(None, None)


def test_results_of_earlier_versions_tell_their_bytes_only(store: Store) -> None:
    done(store, tasks.slow.step(cost=2.0), passes=None, cost=8.0, seconds=10.0)
    found = Past(store).of(tasks.slow.step(cost=6.0))
    assert found.seconds is None and found.bytes > 0


def test_the_pace_of_a_network_is_that_of_all_steps_that_name_it(store: Store) -> None:
    for cost, seconds, network in ((2.0, 10.0, "a"), (6.0, 14.0, "a"), (1.0, 100.0, "b")):
        done(store, tasks.slow.step(cost=cost), seconds=seconds, params={"network": network})
    past = Past(store)
    assert [past.seconds_per_cost(network) for network in "abc"] == [pytest.approx(24 / 8), 100, None]


def test_steps_that_are_alike_are_judged_alike_and_others_apart(store: Store) -> None:
    for cost, seconds, network in ((1.0, 2.0, "a"), (1.0, 4.0, "a"), (1.0, 30.0, "b")):
        done(store, tasks.slow.step(cost=cost + seconds / 1e6), seconds=seconds, params={"network": network})
    past, like = Past(store), tasks.slow.step(cost=6.0)

    def of(network: str, cost: float) -> float:
        told = Step("slow", 1, like.call, {"network": network}, cost=cost)
        return past.of(told).seconds or 0.0

    assert [of("a", 1), of("a", 2), of("b", 1), of("a", 1)] == pytest.approx([3, 6, 30, 3], rel=1e-3)
