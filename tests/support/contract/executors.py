"""The contract of an executor: the same results, failures, stops and events, wherever the steps are done."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from toy import tasks

from transferscope.engine import executors
from transferscope.engine.executors import Executor, Slots
from transferscope.engine.store import Store

OPTIONS: dict[str, dict[str, Any]] = {
    "slurm": {"slots": 1, "slurm": {"cluster": "local", "workers": 2, "timeout_min": 10}},  # without a cluster
    "ray": {"device": "cpu"},
}


def build(name: str) -> Executor:
    """The executor that a study calls `name`, with two slots."""
    return executors.build(name, Slots(("cpu", "cpu"), threads=1, cores=2), OPTIONS.get(name, {}))


def store_in(folder: Path) -> Store:
    store = Store(folder)
    store.prepare()
    return store


def check_executor(name: str, folder: Path) -> None:
    """The whole contract of the executor that a study calls `name`; `folder` is an empty one."""
    for number, check in enumerate(CHECKS):
        check(name, store_in(folder / str(number)))


def check_slots(name: str, store: Store) -> None:
    """It says how many it works with."""
    executor = build(name)
    assert executor.slots.devices and executor.slots.threads == 1


def check_order(name: str, store: Store) -> None:
    """Every step is done once, inputs first, and told of when it starts and ends."""
    parts = [tasks.number.step(value=v) for v in range(4)]
    total = tasks.total.step(parts=parts)
    heard: list[tuple[str, str]] = []
    outcomes = build(name).run([*parts, total], store, lambda event, what: heard.append((event, what["key"])))
    assert {outcome.status for outcome in outcomes.values()} == {"done"} and len(outcomes) == 5
    assert store.get(total).rows == [{"total": 6.0}]
    begun, ended = ([key for event, key in heard if event == one] for one in ("started", "ended"))
    assert sorted(begun) == sorted(ended) == sorted(outcomes) and begun[-1] == ended[-1] == total.key


def check_failure(name: str, store: Store) -> None:
    """A failure spares what does not need it."""
    bad, good = tasks.fail.step(how="user"), tasks.number.step(value=1)
    lost = tasks.total.step(parts=[bad, good])
    outcomes = build(name).run([bad, good, lost], store, lambda *_: None)
    assert [outcomes[step.key].status for step in (bad, good, lost)] == ["failed", "done", "skipped"]
    assert "the sentence for the user" in (outcomes[lost.key].error or "")


def check_stop(name: str, store: Store) -> None:
    """A stop saves, and the next run goes on."""
    executor, long = build(name), tasks.count.step(to=200)
    never = tasks.total.step(parts=[long])

    def watch(event: str, what: object) -> None:
        if event == "progress":
            executor.stop()

    outcomes = executor.run([long, never], store, watch)
    assert outcomes[long.key].status == outcomes[never.key].status == "interrupted"
    again = executors.build("inline", executor.slots, {})
    assert again.run([long], store, lambda *_: None)[long.key].status == "done"
    assert 0 < store.get(long).rows[0]["began"] < 200


def check_sharing(name: str, store: Store) -> None:
    """A step that another process does is passed over, and is done here when that one gives it up."""
    step, free = tasks.count.step(to=2), tasks.number.step(value=1)
    held, told = threading.Event(), threading.Event()

    def give_up() -> None:
        with suppress(RuntimeError), store.writing(step.task, step.key):
            held.set()
            told.wait(30)
            raise RuntimeError

    other = threading.Thread(target=give_up)
    other.start()
    held.wait()
    ended: list[str] = []

    def watch(event: str, what: dict[str, str]) -> None:
        if event == "elsewhere":
            told.set()
        if event == "ended":
            ended.append(what["key"])

    outcomes = build(name).run([step, free], store, watch)
    other.join()
    assert ended == [free.key, step.key] and {outcome.status for outcome in outcomes.values()} == {"done"}


CHECKS = (check_slots, check_order, check_failure, check_stop, check_sharing)
