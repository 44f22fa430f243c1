"""Results are complete or absent, whoever writes and whoever dies."""

import json
import multiprocessing
import os
from contextlib import suppress
from pathlib import Path

import pytest
from toy import tasks

from transferscope.engine.artifact import SAID
from transferscope.engine.environment import compiled_folder
from transferscope.engine.store import Busy, Store
from transferscope.engine.task_context import Interrupted, Work
from transferscope.engine.worker import execute
from transferscope.errors import UserError


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def _do(step, store: Store):
    return execute(step.job, store, Work(store.root))


def test_a_result_can_be_read_back(store) -> None:
    step = tasks.number.step(value=3)
    assert not store.has(step)
    assert _do(step, store).status == "done"
    artifact = store.get(step)
    assert artifact.rows == [{"value": 3.0}]
    assert artifact.said["params"] == {"value": 3, "scale": 1.0}
    assert artifact.said["versions"]["transferscope"]
    assert (artifact.path / "value.txt").read_text() == "3.0"
    assert _do(step, store).status == "cached"


def test_reading_an_absent_result_is_a_key_error(store) -> None:
    with pytest.raises(KeyError):
        store.get(tasks.number.step(value=3))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [("user", "the sentence for the user"), ("bug", "RuntimeError: an unexpected error"), ("disk", "the disk is full")],
)
def test_a_failure_leaves_nothing_and_is_not_cached(store, how, sentence) -> None:
    step = tasks.fail.step(how=how)
    for _ in range(2):
        outcome = _do(step, store)
        assert outcome.status == "failed"
        assert sentence in outcome.error
        assert not store.has(step)
        assert not store.scratch("fail", step.key).exists()


def test_what_was_lost_is_told_in_a_sentence(store) -> None:
    outcome = _do(tasks.fail.step(how="lost"), store)
    assert (outcome.status, outcome.error) == ("failed", "a process was lost")


def test_an_interrupted_block_keeps_its_scratch_only_when_it_resumes(store) -> None:
    for resumes in (True, False):
        with suppress(Interrupted), store.writing("task", f"key{resumes}", resumes=resumes) as scratch:
            (scratch / "half").write_text("half")
            raise Interrupted
        assert (store.scratch("task", f"key{resumes}") / "half").exists() is resumes


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), MemoryError(), RuntimeError("a bug")])
def test_what_is_no_fault_of_the_user_keeps_the_last_save(store, error) -> None:
    with suppress(type(error)), store.writing("task", "key", resumes=True) as scratch:
        (scratch / "save").write_text("epoch 3")
        raise error
    with store.writing("task", "key", resumes=True) as scratch:
        assert (scratch / "save").read_text() == "epoch 3"
        (scratch / SAID).write_text("{}")


def test_what_the_user_must_mend_begins_afresh(store) -> None:
    with suppress(UserError), store.writing("task", "key", resumes=True) as scratch:
        (scratch / "save").write_text("epoch 3")
        raise UserError("the rate is too high")
    assert not (store.scratch("task", "key") / "save").exists()


def test_a_full_disk_is_told_whatever_library_meets_it(store) -> None:
    outcome = _do(tasks.fail.step(how="library"), store)
    assert outcome.status == "failed" and "the disk is full" in outcome.error


def test_compiled_code_lies_where_nobody_else_can_write(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compiled_folder()
    assert folder.is_relative_to(tmp_path / "transferscope" / "compiled") and folder == compiled_folder()
    assert {one.stat().st_mode & 0o777 for one in (folder, folder.parent)} == {0o700}
    folder.chmod(0o777)
    assert compiled_folder().stat().st_mode & 0o777 == 0o700
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert compiled_folder() != folder and compiled_folder().stat().st_mode & 0o777 == 0o700


def test_a_folder_without_step_json_is_no_result(store) -> None:
    step = tasks.number.step(value=3)
    _do(step, store)
    (store.path(step.task, step.key) / SAID).unlink()
    assert not store.has(step)
    assert _do(step, store).status == "done"
    assert store.has(step)


def _write(root: str, key: str, started, go, results) -> None:
    store = Store(Path(root))
    try:
        with store.writing("task", key) as scratch:
            if scratch is None:
                results.put("found")
                return
            started.set()
            go.wait(120)
            (scratch / "rows.json").write_text("[]")
            (scratch / SAID).write_text("{}")
            results.put("wrote")
    except Busy:
        results.put("busy")


def test_two_writers_of_one_step_do_the_work_once(store) -> None:
    context = multiprocessing.get_context("fork")
    started, go, results = context.Event(), context.Event(), context.Queue()
    first, second, third = (
        context.Process(target=_write, args=(str(store.root), "k", started, go, results)) for _ in range(3)
    )
    first.start()
    assert started.wait(120)
    second.start()
    assert results.get(timeout=120) == "busy"
    go.set()
    assert results.get(timeout=120) == "wrote"
    first.join()
    third.start()
    assert results.get(timeout=120) == "found"
    for process in (second, third):
        process.join()
    assert (store.path("task", "k") / SAID).exists()


def test_a_killed_writer_leaves_no_result_and_no_lock(store) -> None:
    context = multiprocessing.get_context("fork")
    started, go, results = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=_write, args=(str(store.root), "k", started, go, results))
    process.start()
    assert started.wait(120)
    process.kill()
    process.join()
    assert not (store.path("task", "k") / SAID).exists()
    with store.writing("task", "k") as scratch:  # does not wait for the dead
        assert scratch is not None
        (scratch / SAID).write_text("{}")
    assert (store.path("task", "k") / SAID).exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(UserError, match="cannot be written: a file stands where a folder is needed"):
        Store(tmp_path / "file").prepare()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_one_sentence(tmp_path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="permission denied"):
        Store(tmp_path / "store").prepare()


def test_entries_remove_and_sweep(store) -> None:
    steps = [tasks.number.step(value=v) for v in range(3)]
    for step in steps:
        _do(step, store)
    (store.root / "notes.txt").write_text("a file")
    (store.root / "number" / "half").mkdir()  # without its step.json
    assert list(store.entries()) == sorted(("number", s.key) for s in steps)
    assert store.remove("number", steps[0].key) > 0
    assert not store.has(steps[0])
    for name in ("kept", "left"):
        folder = store.scratch("task", name)
        folder.mkdir()
        (folder / "half").write_text("0123456789")
    assert store.sweep({"task-kept"}, delete=False) == 10
    assert store.scratch("task", "left").exists()
    assert store.sweep({"task-kept"}, delete=True) == 10
    assert not store.scratch("task", "left").exists()
    assert store.scratch("task", "kept").exists()


def test_rows_are_one_a_line(store) -> None:
    step = tasks.number.step(value=1)
    _do(step, store)
    text = (store.get(step).path / "rows.json").read_text()
    assert text == '[\n{"value": 1.0}\n]\n'
    assert json.loads(text) == store.get(step).rows
