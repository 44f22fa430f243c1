"""Saves in a bucket: another machine goes on from the last whole one, and none is left behind."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from transferscope.engine import integrity, remote, saves
from transferscope.engine.saves import Save
from transferscope.engine.store import Store
from transferscope.engine.task_context import Interrupted
from transferscope.errors import UserError

Machine = Callable[[str], Store]


@pytest.fixture
def machine(tmp_path) -> Machine:
    """The store of one bucket as the machine of a name has it."""
    url = f"memory://tests/{uuid4().hex}"

    def of(name: str) -> Store:
        store = Store(tmp_path / name, remote.Remote(url, tmp_path / name))
        store.prepare()
        return store

    return of


def work(store: Store, *said: tuple[str, str], error: BaseException | None = None, last: bool = True) -> dict[str, str]:
    """Write files at the bench of a step, save and end so; what lay there at first."""
    ends = pytest.raises(type(error)) if error else nullcontext()
    with ends, store.writing("train", "key", resumes=True) as scratch:
        assert scratch is not None
        found = {path.name: path.read_text() for path in sorted(scratch.iterdir())}
        for name, text in said:
            (scratch / name).write_text(text)
        if said:
            store.share("train", "key", last)
        if error:
            raise error
        (scratch / "step.json").write_text(json.dumps({"params": {}}))
    return found


def objects(store: Store) -> list[str]:
    assert store.remote is not None
    return [*store.remote.bucket.names("saves")]


def test_another_machine_goes_on_and_the_first_from_there(machine: Machine) -> None:
    stopped = partial(work, error=Interrupted())
    assert stopped(machine("one"), ("resume", "5"), ("epoch", "a"), ("log.txt", "one"), ("half.part", "x")) == {}
    assert stopped(machine("two"), ("resume", "7"), ("epoch", "a")) == {"resume": "5", "epoch": "a"}
    assert len(objects(machine("one"))) == 3, "the list, what stayed the same, and what is new"
    assert stopped(machine("one"))["resume"] == "7", "its own save is older"
    assert "log.txt" not in work(machine("two")), "which is where the last save is from"
    assert not objects(machine("one")) and not list(machine("two").root.glob(".scratch/*"))
    assert machine("one").remote.has("train", "key")


def test_a_machine_that_died_after_its_last_upload_knows_more_than_the_bucket(machine: Machine) -> None:
    one = machine("one")
    work(one, ("resume", "5"), error=Interrupted())
    (one.scratch("train", "key") / "resume").write_text("6")
    assert work(one, error=Interrupted()) == {"resume": "6"}
    assert work(machine("two"), error=Interrupted()) == {"resume": "5"}


def test_it_is_uploaded_now_and_then(machine: Machine, monkeypatch) -> None:
    one = machine("one")
    work(one, ("resume", "5"), error=Interrupted(), last=False)
    assert not objects(one), "a moment ago it began"
    monkeypatch.setattr(saves, "EVERY", 0.0)
    work(one, ("resume", "5"), error=Interrupted(), last=False)
    assert len(objects(one)) == 2


@pytest.mark.parametrize("harm", ["a file is gone", "a file is another", "the list is none"])
def test_what_is_not_whole_is_not_gone_on_from(machine: Machine, harm: str) -> None:
    one = machine("one")
    work(one, ("resume", "5"), ("epoch", "a"), error=Interrupted())
    assert one.remote is not None
    bucket, name = one.remote.bucket, integrity.digest(one.scratch("train", "key") / "epoch")
    if harm == "a file is gone":
        bucket.delete([f"saves/train-key/{name}"])
    elif harm == "a file is another":
        bucket.write(f"saves/train-key/{name}", b"b")
    else:
        bucket.write("saves/train-key/save.json", b"[")
        assert work(one, error=Interrupted()) == {"resume": "5", "epoch": "a"}, "what is here is not lost for that"
    assert work(machine("two"), error=Interrupted()) == {}


def test_what_the_user_must_mend_begins_afresh_and_a_bug_does_not(machine: Machine) -> None:
    work(machine("one"), ("resume", "5"), error=RuntimeError("a bug"))
    assert work(machine("two"), error=UserError("lower the rate")) == {"resume": "5"}
    assert not objects(machine("two"))


def test_a_bucket_that_cannot_be_used_for_a_while_stops_nothing(machine: Machine, monkeypatch, tmp_path: Path) -> None:
    one = machine("one")
    assert one.remote is not None

    def refuses(*_: object) -> None:
        raise UserError("the bucket cannot be reached")

    monkeypatch.setattr(one.remote.bucket, "put", refuses)
    (tmp_path / "resume").write_text("5")
    Save(one.remote.bucket, "train-key", tmp_path).share(now=True)
    assert not objects(one)


def test_gc_counts_and_deletes_what_nobody_goes_on_from(machine: Machine) -> None:
    one = machine("one")
    work(one, ("resume", "12345"), error=Interrupted())
    assert one.sweep({"train-key"}, delete=True) == 0 and len(objects(one)) == 2
    assert machine("two").sweep(set(), delete=False) > 5 and len(objects(one)) == 2
    assert machine("two").sweep(set(), delete=True) > 5 and not objects(one)
