"""What every file of `engine/executors/` promises: the same results, failures, stops and events."""

import threading
from contextlib import suppress

import pytest
from toy import tasks

from transferscope.engine import executors
from transferscope.engine.executors import Executor, Slots
from transferscope.engine.store import Store
from transferscope.errors import UserError

NAMES = executors.names()


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


@pytest.fixture(params=NAMES)
def executor(request) -> Executor:
    return executors.build(request.param, Slots(("cpu", "cpu"), threads=1, cores=2), {})


def test_it_says_how_many_it_works_with(executor: Executor) -> None:
    assert executor.slots.devices and executor.slots.threads == 1


def test_every_step_is_done_once_inputs_first(executor: Executor, store: Store) -> None:
    parts = [tasks.number.step(value=v) for v in range(4)]
    total = tasks.total.step(parts=parts)
    heard: list[tuple[str, str]] = []
    outcomes = executor.run([*parts, total], store, lambda event, what: heard.append((event, what["key"])))
    assert {outcome.status for outcome in outcomes.values()} == {"done"} and len(outcomes) == 5
    assert store.get(total).rows == [{"total": 6.0}]
    begun, ended = ([key for event, key in heard if event == one] for one in ("started", "ended"))
    assert sorted(begun) == sorted(ended) == sorted(outcomes) and begun[-1] == ended[-1] == total.key


def test_a_failure_spares_what_does_not_need_it(executor: Executor, store: Store) -> None:
    bad, good = tasks.fail.step(how="user"), tasks.number.step(value=1)
    lost = tasks.total.step(parts=[bad, good])
    outcomes = executor.run([bad, good, lost], store, lambda *_: None)
    assert [outcomes[step.key].status for step in (bad, good, lost)] == ["failed", "done", "skipped"]
    assert "the sentence for the user" in outcomes[lost.key].error


def test_stop_saves_and_the_next_run_goes_on(executor: Executor, store: Store) -> None:
    long = tasks.count.step(to=100)
    never = tasks.total.step(parts=[long])

    def watch(event, what) -> None:
        if event == "progress":
            executor.stop()

    outcomes = executor.run([long, never], store, watch)
    assert outcomes[long.key].status == outcomes[never.key].status == "interrupted"
    again = executors.build("inline", executor.slots, {})
    assert again.run([long], store, lambda *_: None)[long.key].status == "done"
    assert 0 < store.get(long).rows[0]["began"] < 100


def test_a_step_given_up_elsewhere_is_done_here(executor: Executor, store: Store) -> None:
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

    def watch(event, what) -> None:
        if event == "elsewhere":
            told.set()
        if event == "ended":
            ended.append(what["key"])

    outcomes = executor.run([step, free], store, watch)
    other.join()
    assert ended == [free.key, step.key] and {outcome.status for outcome in outcomes.values()} == {"done"}


def test_an_unknown_executor_is_one_sentence() -> None:
    with pytest.raises(UserError, match="'locale' is not an executor; did you mean 'local'"):
        executors.build("locale", Slots(("cpu",), 1, 1), {})
    with pytest.raises(UserError, match=r"resources\.executor: 'no\.such' cannot be used"):
        executors.build("no.such", Slots(("cpu",), 1, 1), {})
