"""Buckets of Google and Azure: what a store asks of one, asked of servers that speak as theirs do."""

import time
from collections.abc import Callable, Iterator

import clouds
import pytest
from toy import drive

from transferscope.engine import bucket
from transferscope.engine.bucket import Bucket
from transferscope.engine.executors import Slots
from transferscope.engine.executors.inline import Inline
from transferscope.engine.remote import Remote
from transferscope.engine.store import Store
from transferscope.errors import UserError

ONE = Slots(("cpu",), threads=1, cores=1)
KINDS: dict[str, Callable[[str], str]] = {"gs": clouds.google, "az": clouds.azure}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Makes a bucket of a name; its address."""
    yield KINDS[request.param]
    bucket._opened.cache_clear()


def test_objects_come_back_as_they_were_written(made, tmp_path) -> None:
    found = Bucket(made("objects") + "/store/")
    assert found.names("a") == {} and found.read("a/one") is None and not found.exists("a/one")
    found.write("a/one", b"1")
    (tmp_path / "two").write_bytes(b"22")
    found.put({"a/b/two": tmp_path / "two"})
    assert {name: said.size for name, said in found.names("a").items()} == {"b/two": 2, "one": 1}
    assert all(abs(said.written - time.time()) < 300 for said in found.names("a").values())
    assert found.read_all(["a/one", "a/none", "a/b/two"]) == {"a/one": b"1", "a/b/two": b"22"}
    assert found.get("a/b/two", tmp_path / "back") and (tmp_path / "back").read_bytes() == b"22"
    assert not found.get("a/none", tmp_path / "none") and not (tmp_path / "none").exists()
    assert found.through("a/one", lambda file: file.read()) == b"1" and found.through("a/none", list) is None
    found.write("a/one", b"other")
    assert found.exists("a/one") and found.read("a/one") == b"other"
    found.delete(["a/one", "a/none"])
    assert [*found.names("")] == ["a/b/two"]


def test_an_object_is_created_once(made) -> None:
    found = Bucket(made("once"))
    assert found.create("one", b"mine") and not found.create("one", b"yours")
    assert found.create("one", b"mine"), "the same again, as when an answer was lost"
    assert found.read("one") == b"mine"


def test_a_bucket_that_is_not_there_is_one_sentence(made) -> None:
    scheme = made("told").partition("://")[0]
    for ask in (lambda one: one.names("done"), lambda one: one.write("x", b"x"), lambda one: one.create("x", b"x")):
        bucket._opened.cache_clear()
        with pytest.raises(UserError, match=f"{scheme}://absent/store is not there: make the bucket first"):
            ask(Bucket(f"{scheme}://absent/store"))


def test_steps_of_two_machines_are_done_once_and_read_by_both(made, tmp_path) -> None:
    place = made("steps") + "/store"
    one, other = (Store(tmp_path / name, Remote(place, tmp_path / name)) for name in ("one", "other"))
    steps = drive.steps(4)
    one.prepare()
    first = Inline(ONE).run(steps, one)
    assert {said.status for said in first.values()} == {"done"}, first
    other.prepare()
    assert all(other.has(step) for step in steps)
    assert {said.status for said in Inline(ONE).run(steps, other).values()} == {"cached"}
    assert all(other.get(step).rows == one.get(step).rows and other.get(step).whole() for step in steps)
    assert {*other.entries()} == {(step.task, step.key) for step in steps}
    with one.remote.leases.holding("work") as mine, other.remote.leases.holding("work") as theirs:
        assert (
            mine
            and not theirs
            and Store(tmp_path / "third", Remote(place, tmp_path / "third")).remote.leases.held("work")
        )
    assert other.remove(steps[-1].task, steps[-1].key) > 0
    one.look()
    assert not one.has(steps[-1])
    assert {*one.entries()} == {(step.task, step.key) for step in steps[:-1]}
