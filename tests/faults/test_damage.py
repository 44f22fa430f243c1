"""What is read from the store is what was written there, or it is named, absent and computed anew."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from toy import tasks

from transferscope.engine import integrity
from transferscope.engine.artifact import SAID, Artifact
from transferscope.engine.executors import Slots
from transferscope.engine.executors.inline import Inline
from transferscope.engine.integrity import Damaged
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.table import gather, tally
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.memo import Memo


@pytest.fixture
def step(store: Store) -> Step:
    step = tasks.number.step(value=3)
    assert execute(step.job, store, Work(store.root)).status == "done"
    return step


def flip(path: Path) -> None:
    """One bit of the last byte but one, with the times of the file as they were."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rows(folder: Path) -> None:
    file = folder / "rows.json"
    file.write_text(file.read_text().replace("3.0", "4.0"))


DAMAGE = {
    "a flipped bit": lambda folder: flip(folder / "value.txt"),
    "a file cut short": lambda folder: (folder / "value.txt").write_text("3"),
    "a file that is gone": lambda folder: (folder / "value.txt").unlink(),
    "an edited row": rows,
    "a step.json cut short": lambda folder: (folder / SAID).write_text((folder / SAID).read_text()[:90]),
    "a step.json of another shape": lambda folder: (folder / SAID).write_text("[]"),
    "an edited parameter": lambda folder: (folder / SAID).write_text(
        (folder / SAID).read_text().replace('"value": 3', '"value": 4')
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_named_and_computed_anew(store: Store, step: Step, what: str) -> None:
    folder = store.get(step).path
    good = {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in integrity.FREE}
    DAMAGE[what](folder)
    assert store.get(step).inspect() and store.has(step)  # looking changes nothing
    with pytest.raises(Damaged, match=f"number {step.key} is damaged .* run again"):
        store.get(step).whole()
    assert not store.has(step)
    assert execute(step.job, store, Work(store.root)).status == "done"
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in integrity.FREE} == good
    assert store.get(step).inspect() is None


@pytest.mark.parametrize("what", ["an edited row", "a step.json cut short", "a file cut short"])
def test_a_run_begins_with_a_quick_look(store: Store, step: Step, what: str) -> None:
    DAMAGE[what](store.get(step).path)
    (said,) = store.damaged([step])
    assert step.key in said and "computed anew" in said and not store.has(step)


def test_a_table_never_holds_an_edited_row(store: Store, step: Step) -> None:
    rows(store.get(step).path)
    table = gather([Cell("a", {"n": 1}, step)], store)
    assert table.rows.is_empty() and "rows.json has" in table.missing[0].reason
    assert "not computed yet" in gather([Cell("a", {"n": 1}, step)], store).missing[0].reason


COUNTED = {
    **{what: DAMAGE[what] for what in ("an edited row", "a step.json cut short", "an edited parameter")},
    "rows that are gone": lambda folder: (folder / "rows.json").unlink(),
}


@pytest.mark.parametrize("what", COUNTED)
def test_what_is_counted_is_what_a_table_would_hold(store: Store, step: Step, what: str) -> None:
    other = tasks.number.step(value=5)
    assert execute(other.job, store, Work(store.root)).status == "done"
    cells = [Cell("a", {"n": n}, one) for n, one in enumerate((step, other, tasks.number.step(value=7)))]
    whole = tally(cells, store, {cells[2].step.key: "it failed"})
    assert whole.done == 2 and whole.missing == gather(cells, store, {cells[2].step.key: "it failed"}).missing
    COUNTED[what](store.get(step).path)
    found = tally(cells, store)
    assert found.done == 1 and [one.labels for one in found.missing] == [{"n": 0}, {"n": 2}]
    assert f"number {step.key} is damaged" in found.missing[0].reason and not store.has(step)


def test_rows_of_before_digests_are_counted_where_they_can_be_read(store: Store, step: Step) -> None:
    file = store.get(step).path / SAID
    said = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in said.items() if name not in ("files", "digest")}))
    cells = [Cell("a", {"n": 1}, step)]
    assert tally(cells, store).done == 1
    (file.parent / "rows.json").write_text("[{")
    assert "rows.json cannot be read" in tally(cells, store).missing[0].reason


def test_a_step_does_not_read_a_damaged_input(store: Store, step: Step) -> None:
    rows(store.get(step).path)
    total = tasks.total.step(parts=[step])
    plan = Plan.of([Cell("a", {}, total)])
    outcomes = Inline(Slots(("cpu",), 1, 1)).run(plan.todo(store), store)
    assert outcomes[total.key].status == "failed" and f"number {step.key} is damaged" in outcomes[total.key].error
    todo = plan.todo(store)
    assert [one.key for one in todo] == [step.key, total.key]
    assert {o.status for o in Inline(Slots(("cpu",), 1, 1)).run(todo, store).values()} == {"done"}
    assert store.get(total).rows == [{"total": 3.0}]


def test_results_of_before_digests_are_read_as_they_are(store: Store, step: Step) -> None:
    file = store.get(step).path / SAID
    said = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in said.items() if name not in ("files", "digest")}))
    rows(file.parent)
    assert store.get(step).rows == [{"value": 4.0}] and not store.get(step).verifiable
    assert store.get(step).inspect() is None and store.damaged([step]) == []


def test_others_may_read_what_one_writes(store: Store) -> None:
    before = os.umask(0o022)
    try:
        with store.writing("task", "key") as scratch:
            assert scratch is not None
            (scratch / SAID).write_text('{"params": {}}')
            (scratch / "weights").write_bytes(b"w")
            (scratch / "weights").chmod(0o600)  # as safetensors writes them
    finally:
        os.umask(before)
    folder = Artifact(store.path("task", "key")).path
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


@pytest.mark.slow
def test_a_flipped_bit_in_every_kind_of_stored_file_is_found(copied: Path) -> None:
    """One result of every task and layout of files; logs, which no number comes from, are free."""
    draw = np.random.default_rng(0)
    store, tried = Store(copied / "store"), set()
    for task, key in store.entries():
        folder = store.path(task, key)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            kind = (task, file.relative_to(folder).as_posix())
            if kind in tried or file.name in integrity.FREE - {SAID}:
                continue
            tried.add(kind)
            whole = file.read_bytes()
            spoilt = bytearray(whole)
            spoilt[draw.integers(len(whole))] ^= 1 << int(draw.integers(8))
            file.write_bytes(spoilt)
            assert store.artifact(task, key).inspect(), f"{kind} is not held against anything"
            file.write_bytes(whole)
            assert store.artifact(task, key).inspect() is None
    assert {name for _, name in tried} >= {SAID, "rows.json", "table.json", "labels.safetensors", "final.safetensors"}


def test_any_byte_of_a_memo_may_be_wrong(tmp_path: Path) -> None:
    draw, memo = np.random.default_rng(1), Memo(tmp_path / "memo.json")
    memo.put({f"key {n}": [n, "é"] for n in range(20)})
    whole = (tmp_path / "memo.json").read_bytes()
    for _ in range(200):
        spoilt = bytearray(whole)
        spoilt[draw.integers(len(whole))] ^= 1 << int(draw.integers(8))
        (tmp_path / "memo.json").write_bytes(spoilt)
        assert isinstance(memo.read(), dict)
        memo.put({"more": 1})
        assert memo.read()["more"] == 1
