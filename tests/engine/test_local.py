"""The local executor: order, failures, stopping; dying and hung workers are among the faults."""

import pytest
from toy import tasks

from transferscope.engine.executors import Slots
from transferscope.engine.executors.local import Local
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.store import Store
from transferscope.engine.table import gather
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute

TWO = Slots(("cpu", "cpu"), threads=1, cores=2)
ONE = Slots(("cpu",), threads=1, cores=1)


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def _plan(*steps) -> Plan:
    return Plan.of(Cell("test", {"number": n}, step) for n, step in enumerate(steps))


def test_a_graph_is_done_once_and_then_never_again(store) -> None:
    parts = [tasks.number.step(value=v) for v in range(4)]
    plan = _plan(tasks.total.step(parts=parts), *parts)
    assert len(plan.steps) == 5  # the parts are both cells and inputs: one step each
    outcomes = Local(TWO).run(plan.todo(store), store)
    assert {o.status for o in outcomes.values()} == {"done"}
    assert store.get(plan.cells[0].step).rows == [{"total": 6.0}]
    assert plan.todo(store) == []


def test_a_removed_input_is_not_computed_again_for_a_finished_step(store) -> None:
    part = tasks.number.step(value=1)
    plan = _plan(tasks.total.step(parts=[part]))
    Local(ONE).run(plan.todo(store), store)
    store.remove("number", part.key)
    assert plan.todo(store) == []


def test_a_failure_spares_what_does_not_need_it(store) -> None:
    bad, good = tasks.fail.step(how="user"), tasks.number.step(value=1)
    lost = tasks.total.step(parts=[bad, good])
    lost_too = tasks.total.step(parts=[lost])
    plan = _plan(bad, lost, lost_too, good)
    outcomes = Local(TWO).run(plan.todo(store), store)
    assert outcomes[bad.key].status == "failed"
    assert outcomes[good.key].status == "done"
    assert outcomes[lost.key].status == outcomes[lost_too.key].status == "skipped"
    assert "the sentence for the user" in outcomes[lost_too.key].error
    table = gather(list(plan.cells), store, {k: o.error for k, o in outcomes.items()})
    assert [m.labels["number"] for m in table.missing] == [0, 1, 2]
    assert table.rows.to_dicts() == [{"number": 3, "value": 1.0}]


def test_a_worker_that_dies_fails_its_step_and_is_replaced(store) -> None:
    steps = [tasks.fail.step(how="die"), *(tasks.number.step(value=v) for v in range(3))]
    outcomes = Local(ONE).run(steps, store)
    assert [outcomes[s.key].status for s in steps] == ["failed", "done", "done", "done"]
    assert "memory" in outcomes[steps[0].key].error


def test_the_longest_step_starts_first(store) -> None:
    steps = [tasks.slow.step(cost=c) for c in (1, 3, 2)]
    order: list[str] = []
    Local(ONE).run(steps, store, lambda event, what: order.append(what["key"]) if event == "started" else None)
    assert order == [steps[1].key, steps[2].key, steps[0].key]


def test_workers_get_their_share_of_threads_and_stay_warm(store) -> None:
    step = tasks.threads.step()
    Local(Slots(("cpu",), threads=3, cores=6)).run([step], store)
    row = store.get(step).rows[0]
    assert (row["omp"], row["threads"], row["device"]) == ("3", 3, "cpu")


def test_a_step_in_this_process_leaves_its_threads_as_found(store) -> None:
    import torch

    step = tasks.computes.step()
    execute(step.job, store, Work(store.root, threads=2))
    assert store.get(step).rows == [{"threads": 2}] and torch.get_num_threads() == 1


def test_one_worker_serves_many_steps(store) -> None:
    steps = [tasks.threads.step(), tasks.threads_again.step()]
    Local(ONE).run(steps, store)
    assert store.get(steps[0]).rows[0]["pid"] == store.get(steps[1]).rows[0]["pid"]


def test_waiting_for_another_process_can_be_stopped(store) -> None:
    step = tasks.count.step(to=2)
    executor = Local(ONE)
    with store.writing(step.task, step.key) as scratch:
        outcomes = executor.run([step], store, lambda on, _: executor.stop() if on == "elsewhere" else None)
        (scratch / "step.json").write_text("{}")
    assert outcomes[step.key].status == "interrupted"


def test_a_plan_of_thousands_merges_equal_steps() -> None:
    cells = [Cell("a", {"n": n}, tasks.number.step(value=n % 10)) for n in range(3000)]
    assert len(Plan.of(cells).steps) == 10
