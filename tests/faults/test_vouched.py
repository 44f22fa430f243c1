"""Who only counts results does not read those again that were found whole; whatever became of a file, it is read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import tasks

from transferscope.engine import vouched
from transferscope.engine.artifact import Artifact
from transferscope.engine.integrity import Damaged
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute

read: list[str] = []


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Artifact.check_rows

    def counted(artifact: Artifact) -> None:
        read.append(artifact.path.name)
        whole(artifact)

    read.clear()
    monkeypatch.setattr(Artifact, "check_rows", counted)
    monkeypatch.setattr(vouched, "SETTLED", 0.0)


@pytest.fixture
def results(store: Store) -> list[Artifact]:
    steps = [tasks.number.step(value=value) for value in (3, 5)]
    for step in steps:
        assert execute(step.job, store, Work(store.root)).status == "done"
    return [store.get(step) for step in steps]


def look(store: Store, results: list[Artifact]) -> list[str]:
    """The results that were read, of those that were asked for."""
    read.clear()
    with vouched.vouched(store) as check:
        for one in results:
            check(Artifact(one.path))
    return list(read)


def test_what_was_found_whole_is_not_read_again(store: Store, results: list[Artifact]) -> None:
    names = [one.path.name for one in results]
    assert look(store, results) == names
    assert look(store, results) == []
    assert look(Store(store.root.absolute()), results) == [], "wherever it is opened from"


def _in_place(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Other bytes of the same length, with the dates as they were."""

    def change(folder: Path) -> None:
        file = folder / name
        before, text = file.stat(), file.read_text()
        assert old in text and len(old) == len(new)
        with file.open("r+") as opened:
            opened.write(text.replace(old, new))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def _replaced(folder: Path) -> None:
    other = folder / "other"
    other.write_text((folder / "rows.json").read_text().replace("3.0", "4.0"))
    other.replace(folder / "rows.json")


CHANGES = {
    "a row": _in_place("rows.json", "3.0", "4.0"),
    "a parameter": _in_place("step.json", '"value": 3', '"value": 4'),
    "another file in its place": _replaced,
    "rows that are gone": lambda folder: (folder / "rows.json").unlink(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changed_is_read_and_named(store: Store, results: list[Artifact], what: str) -> None:
    look(store, results)
    CHANGES[what](results[0].path)
    with pytest.raises(Damaged, match=f"number {results[0].path.name} is damaged"):
        look(store, results)
    assert read == [results[0].path.name]
    assert look(store, results[1:]) == []


def test_files_of_a_moment_ago_are_not_trusted_to_show_one_more_change(
    store: Store, results: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vouched, "SETTLED", 3600.0)
    assert len(look(store, results)) == len(look(store, results)) == 2


def test_a_copied_store_is_read_anew(store: Store, results: list[Artifact], tmp_path: Path) -> None:
    look(store, results)
    other = Store(tmp_path / "copy")
    shutil.copytree(store.root, other.root)
    copies = [other.artifact(one.path.parent.name, one.path.name) for one in results]
    assert len(look(other, copies)) == 2


def test_the_memo_holds_no_more_than_the_store(store: Store, results: list[Artifact]) -> None:
    look(store, results)
    memo = store.root / "memo" / "vouched.json"
    assert len(json.loads(memo.read_text())) == 2
    store.remove("number", results[0].path.name)
    step = tasks.number.step(value=7)
    assert execute(step.job, store, Work(store.root)).status == "done"
    look(store, [results[1], store.get(step)])
    assert {*json.loads(memo.read_text())} == {f"number/{results[1].path.name}", f"number/{step.key}"}


@pytest.mark.parametrize("content", ["", "[]", '{"number/x": 3'])
def test_a_memo_that_says_nothing_costs_time_alone(store: Store, results: list[Artifact], content: str) -> None:
    look(store, results)
    (store.root / "memo" / "vouched.json").write_text(content)
    assert len(look(store, results)) == 2 and look(store, results) == []
