"""Results in a bucket: whole or absent for everyone, whoever dies on the way, and fetched as they were written."""

import json
import multiprocessing
import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest
from toy import tasks

from transferscope.engine import leases, remote
from transferscope.engine.artifact import SAID
from transferscope.engine.executors import Slots
from transferscope.engine.executors.inline import Inline
from transferscope.engine.integrity import Damaged
from transferscope.engine.leases import Leases
from transferscope.engine.plan import Plan
from transferscope.engine.store import Busy, Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError


@pytest.fixture
def place(tmp_path, monkeypatch) -> str:
    """The address of an empty store in the memory of this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return f"memory://tests/{uuid4().hex}"


@pytest.fixture
def store(place) -> Store:
    store = Store.at(place)
    store.prepare()
    return store


def other_machine(store: Store, folder: Path) -> Store:
    """The same bucket from a machine that has nothing of it."""
    assert store.remote is not None
    seen = Store(folder, remote.Remote(store.remote.url, folder))
    seen.prepare()
    return seen


def do(step, store: Store):
    return execute(step.job, store, Work(store.root))


def names(store: Store) -> list[str]:
    assert store.remote is not None
    return [*store.remote.bucket.names("")]


def test_a_result_is_there_for_another_machine_which_fetches_what_it_reads(store, tmp_path) -> None:
    first = tasks.number.step(value=3)
    last = tasks.total.step(parts=[first])
    assert [do(step, store).status for step in (first, last)] == ["done", "done"]
    other = other_machine(store, tmp_path / "other")
    assert other.has(last) and not list(other.root.glob("[!.]*"))
    assert other.get(last).rows == [{"total": 3.0}]
    assert do(last, other).status == "cached"
    assert not (other.root / "number").exists(), "nobody asked for its input"
    assert other.get(first).file("value.txt").read_text() == "3.0"
    assert other.get(first).whole() == other.root / "number" / first.key
    assert {file.name: file.read_bytes() for file in other.get(first).path.iterdir()} == {
        file.name: file.read_bytes() for file in store.get(first).path.iterdir()
    }
    assert sorted(other.entries()) == sorted([("number", first.key), ("total", last.key)])


def test_small_files_of_many_results_come_at_once(store, tmp_path) -> None:
    steps = [tasks.number.step(value=value) for value in range(5)]
    assert {do(step, store).status for step in steps} == {"done"}
    other = other_machine(store, tmp_path / "other")
    other.bring((step.task, step.key) for step in [*steps, tasks.number.step(value=9)])
    assert [other.get(step).rows[0]["value"] for step in steps] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert {path.name for path in other.root.glob("number/*/*")} == {"step.json", "rows.json"}
    assert sizes(other, steps) == [store.get(step).bytes for step in steps]


def sizes(store: Store, steps) -> list[int]:
    return [store.get(step).bytes for step in steps]


@pytest.mark.parametrize("lost", ["the upload", "the announcement"])
def test_a_worker_that_dies_on_the_way_up_leaves_nothing_that_counts(store, tmp_path, monkeypatch, lost) -> None:
    step, bucket = tasks.twofold.step(value=3), store.remote.bucket

    def dies(*_) -> None:
        raise UserError("the network is gone")

    def half(files) -> None:
        whole(dict(list(files.items())[:2]))
        dies()

    with monkeypatch.context() as patched:
        whole = bucket.put
        patched.setattr(bucket, "put", half if lost == "the upload" else whole)
        patched.setattr(bucket, "create", dies)
        outcome = do(step, store)
    assert outcome.status == "failed" and outcome.error == "the network is gone"
    assert len([name for name in names(store) if name.startswith("results/")]) >= 2
    assert not store.has(step) and Plan.of([]).todo(store) == [] and list(store.entries()) == []
    other = other_machine(store, tmp_path / "other")
    assert do(step, other).status == "done", "another machine does it again"
    assert other.get(step).inspect() is None
    assert do(step, store).status == "cached" and store.get(step).inspect() is None
    left = store.sweep(set(), delete=False)
    assert store.sweep(set(), delete=True) == left, "nothing where both attempts took as long and are the same"
    assert store.sweep(set(), delete=True) == 0 and other.get(step).inspect() is None
    assert len({name.split("/")[3] for name in names(store) if name.startswith("results/")}) == 1


def test_what_was_computed_and_could_not_be_uploaded_is_uploaded_by_the_next_run(store, monkeypatch) -> None:
    step = tasks.count.step(to=1)
    with monkeypatch.context() as patched:
        patched.setattr(store.remote.bucket, "put", lambda _: (_ for _ in ()).throw(UserError("the network is gone")))
        assert do(step, store).status == "failed"
    written = (store.path(step.task, step.key) / SAID).read_bytes()
    assert do(step, store).status == "cached" and store.has(step)
    assert (store.path(step.task, step.key) / SAID).read_bytes() == written


def test_of_two_that_did_the_same_step_the_first_to_announce_it_counts(store, tmp_path) -> None:
    step, other = tasks.number.step(value=3), other_machine(store, tmp_path / "other")
    assert do(step, store).status == "done"
    announced = (store.path(step.task, step.key) / SAID).read_bytes()
    folder = other.path(step.task, step.key)
    shutil.copytree(store.path(step.task, step.key), folder)
    (folder / SAID).write_text(json.dumps({**json.loads(announced), "seconds": 9.0}), encoding="utf-8")
    assert not other.remote.publish(step.task, step.key, folder)
    shutil.rmtree(folder)
    assert (other.get(step).whole() / SAID).read_bytes() == announced
    assert len({name.split("/")[3] for name in names(store) if name.startswith("results/")}) == 1


def test_a_step_is_done_by_one_at_a_time(store, tmp_path) -> None:
    step, other = tasks.number.step(value=3), other_machine(store, tmp_path / "other")
    with store.writing(step.task, step.key) as scratch:
        assert other.busy(step)
        with pytest.raises(Busy), other.writing(step.task, step.key):
            pass
        assert do(step, other).status == "busy"
        (scratch / SAID).write_text("{}")
    assert not [name for name in names(store) if name.startswith("locks/")]


def test_a_lease_that_nobody_renews_is_void(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(leases, "_machine", lambda: ["another"])
    monkeypatch.setattr(leases, "LOOKS", 0.0)
    store.remote.bucket.write("locks/number-1/0", json.dumps(leases._self()).encode())
    monkeypatch.undo()
    mine = Leases(store.remote.bucket)
    assert mine.held("number-1") and not mine.held("number-2")
    monkeypatch.setattr(leases, "LOOKS", 0.0)
    monkeypatch.setattr(leases, "VOID", 0.1)
    time.sleep(0.15)
    assert not mine.held("number-1") and names(store) == []


def test_a_lease_that_is_renewed_stays(store, monkeypatch) -> None:
    monkeypatch.setattr(leases, "LOOKS", 0.0)
    monkeypatch.setattr(leases, "RENEWED", 0.05)
    monkeypatch.setattr(leases, "VOID", 0.6)
    mine, yours = Leases(store.remote.bucket), Leases(store.remote.bucket)
    with mine.holding("number-1") as first:
        assert first
        limit = time.monotonic() + 1.2
        while time.monotonic() < limit:
            assert yours.held("number-1")
            time.sleep(0.1)
        with yours.holding("number-1") as second:
            assert not second
    assert not yours.held("number-1")


def test_a_lease_of_a_process_that_is_no_more_is_void_at_once(store) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=time.sleep, args=(60,))
    process.start()
    said = {**leases._self(), "process": process.pid}
    said["began"] = leases.psutil.Process(process.pid).create_time()
    store.remote.bucket.write("locks/number-1/0", json.dumps(said).encode())
    assert Leases(store.remote.bucket).held("number-1")
    process.kill()
    process.join()
    assert not Leases(store.remote.bucket).held("number-1")


def test_what_is_damaged_here_is_fetched_again(store) -> None:
    step = tasks.number.step(value=3)
    do(step, store)
    (store.path(step.task, step.key) / "value.txt").write_text("4.0")
    assert store.get(step).file("value.txt").read_text() == "3.0"
    (store.path(step.task, step.key) / "rows.json").write_text("[]")
    assert store.damaged([step]) == [] and store.get(step).rows == [{"value": 3.0}]


def test_what_is_damaged_in_the_bucket_is_set_aside_and_computed_anew(store, tmp_path) -> None:
    step = tasks.number.step(value=3)
    do(step, store)
    (name,) = [name for name in names(store) if name.endswith("value.txt")]
    store.remote.bucket.write(name, b"4.0")
    other = other_machine(store, tmp_path / "other")
    assert "value.txt has changed" in str(other.get(step).inspect())
    with pytest.raises(Damaged, match=r"value\.txt has changed"):
        other.get(step).whole()
    assert not other.has(step) and f"damaged/number-{step.key}.json" in names(store)
    assert do(step, other).status == "done" and other.get(step).inspect() is None


def test_results_are_deleted_for_all(store, tmp_path) -> None:
    step = tasks.number.step(value=3)
    do(step, store)
    size = store.bytes(step.task, step.key)
    assert store.held()[f"number-{step.key}"].size == size > 0
    assert store.age(step.task, step.key, time.time() + 60) >= 59
    other = other_machine(store, tmp_path / "other")
    assert other.remove(step.task, step.key) == size and names(store) == []
    store.look()
    assert not store.has(step)


def test_memos_are_those_of_all_machines(store, tmp_path) -> None:
    other = other_machine(store, tmp_path / "other")
    store.memo("failures.json").put({"a": "one"})
    other.memo("failures.json").put({"b": "two"})
    assert store.memo("failures.json").read() == {"a": "one", "b": "two"}


def test_a_plan_is_done_from_the_first_step_to_the_last_and_never_again(store, tmp_path) -> None:
    steps = [tasks.number.step(value=value) for value in range(3)]
    plan = [*steps, tasks.total.step(parts=steps)]
    slots = Slots(("cpu",), threads=1, cores=1)
    done = Inline(slots).run(plan, store)
    assert {one.status for one in done.values()} == {"done"}
    again = Inline(slots).run(plan, other_machine(store, tmp_path / "other"))
    assert {one.status for one in again.values()} == {"cached"}
