"""What a finished study keeps (`resources.keep`): what goes, what is known of it, and that it comes again the same."""

from pathlib import Path
from uuid import uuid4

import buckets
import pytest
from toy import tasks

from transferscope import retention, store_users
from transferscope.engine import remote
from transferscope.engine.estimate import Past
from transferscope.engine.executors import Slots
from transferscope.engine.executors.inline import Inline
from transferscope.engine.integrity import LetGo
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome

RUN = tasks.weights.step(seed=1)
LAST = tasks.bytes_of.step(run=RUN, name="final.bin")
MIDDLE = tasks.bytes_of.step(run=RUN, name="epoch-1.bin")


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path, monkeypatch) -> Store:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = str(tmp_path / "store") if request.param == "folder" else f"memory://tests/{uuid4().hex}"
    if request.param == "s3":
        pytest.importorskip("moto")
        pytest.importorskip("s3fs")
        place = f"{buckets.bucket('kept')}/{uuid4().hex}"
    store = Store.at(place)
    store.prepare()
    return store


def plan(*steps: Step) -> Plan:
    return Plan.of(Cell("toy", {}, step) for step in steps)


def run(store: Store, *steps: Step, whole: bool = False) -> dict[str, Outcome]:
    return Inline(Slots(("cpu",), 1, 1)).run(plan(*steps).todo(store, whole=whole), store)


def files(store: Store, step: Step = RUN) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in store.path(step.task, step.key).iterdir()}


def test_what_is_let_go_is_gone_and_known(store: Store) -> None:
    run(store, LAST)
    before = store.get(RUN).said
    assert store.kept(RUN) == "all" and store.let_go(RUN, "all") == 0 == store.let_go(LAST, "findings")
    assert store.let_go(RUN, "ends") == len(b"epoch-1 of 1 ") * 100 and store.let_go(RUN, "ends") == 0
    assert store.kept(RUN) == "ends" and store.get(RUN).file("final.bin").exists()
    with pytest.raises(LetGo, match=f"epoch-1.bin of the result weights {RUN.key} was let go .*--restore"):
        store.get(RUN).file("epoch-1.bin")
    assert store.let_go(RUN, "findings") == len(b"final of 1 ") * 100
    assert store.kept(RUN) == "findings" and not [name for name in files(store) if name.endswith(".bin")]
    if store.remote is not None:
        assert not [name for name in store.remote.bucket.names("results") if name.endswith(".bin")]
    with pytest.raises(LetGo, match="The file epoch-1"):
        store.get(RUN).whole()
    found = store.get(RUN)
    assert found.said == before and {"final.bin", "epoch-1.bin"} <= {*found.said["files"]}
    assert found.rows == [{"seed": 1}] and found.file("said.json").exists()
    assert found.inspect() is None and not store.damaged([RUN]), "that is no damage"
    assert store.held()[f"weights-{RUN.key}"].kept == "findings"


def test_it_is_done_again_where_it_is_read_and_the_bytes_are_the_same(store: Store) -> None:
    run(store, LAST)
    before, digests = files(store), store.get(RUN).said["files"]
    store.let_go(RUN, "ends")
    assert not plan(LAST, RUN).todo(store), "its rows are there"
    assert plan(MIDDLE).todo(store) == [RUN, MIDDLE]
    other = tasks.bytes_of.step(run=RUN, name="said.json")
    assert plan(other).todo(store) == [other], "which reads an end"
    store.let_go(RUN, "findings")
    assert plan(other).todo(store) == [RUN, other]
    assert {one.status for one in run(store, MIDDLE).values()} == {"done"}
    assert store.kept(RUN) == "all" and store.get(RUN).said["files"] == digests
    again = {name: store.get(RUN).file(name).read_bytes() for name in digests}
    assert again == {name: before[name] for name in digests}


def test_all_is_asked_for_again(store: Store) -> None:
    run(store, LAST)
    store.let_go(RUN, "findings")
    assert plan(LAST).todo(store, whole=True) == [RUN]
    run(store, LAST, whole=True)
    assert store.kept(RUN) == "all" and not plan(LAST).todo(store, whole=True)


def test_who_reads_what_nobody_foresaw_has_it_done_again_in_the_next_round(store: Store) -> None:
    run(store, LAST)
    store.let_go(RUN, "findings")
    outcome = Inline(Slots(("cpu",), 1, 1)).run([MIDDLE], store)[MIDDLE.key]
    assert outcome.status == "failed" and "was let go" in outcome.error
    assert plan(MIDDLE).todo(store) == [RUN, MIDDLE]
    assert run(store, MIDDLE)[MIDDLE.key].status == "done"


@pytest.mark.parametrize("store", ["folder", "s3"], indirect=True)
def test_another_machine_sees_it(store: Store, tmp_path: Path) -> None:
    run(store, LAST)
    if store.remote is None:
        other = Store(store.root)
    else:
        other = Store(tmp_path / "other", remote.Remote(store.remote.url, tmp_path / "other"))
        other.prepare()
    assert other.has(RUN) and other.kept(RUN) == "all"
    store.let_go(RUN, "findings")
    with pytest.raises(LetGo):
        other.get(RUN).file("final.bin")
    assert other.has(RUN), "a listing of before is no reason to take it for damaged"
    other.look()
    assert other.kept(RUN) == "findings"
    run(other, LAST, whole=True)
    store.look()
    assert store.kept(RUN) == "all" and store.get(RUN).file("final.bin").exists()


def test_nothing_goes_that_a_study_of_the_store_still_needs(store: Store, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.yaml", tmp_path / "other.yaml"
    for file in (mine, other):
        file.touch()
    steps = plan(LAST)
    run(store, RUN)
    store_users.register(mine, steps, store, "findings")
    assert retention.relieve(mine, "findings", steps, store) == (0, 0), "the last step is missing, and reads it"
    run(store, LAST)
    assert retention.relieve(mine, "all", steps, store) == (0, 0)
    store_users.register(other, plan(LAST, MIDDLE), store, "ends")
    assert retention.relieve(mine, "findings", steps, store) == (0, 0), "it is not finished"
    run(store, MIDDLE)
    assert retention.relieve(mine, "findings", steps, store).results == 1 and store.kept(RUN) == "ends"
    other.unlink()
    assert retention.relieve(mine, "findings", steps, store).results == 1 and store.kept(RUN) == "findings"
    assert retention.relieve(mine, "findings", steps, store) == (0, 0)


def test_a_forecast_knows_the_share_that_stays(store: Store) -> None:
    run(store, RUN)
    past, sizes = Past(store), {name: size for name, (size, _) in store.get(RUN).said["files"].items()}
    total, other = sum(sizes.values()), tasks.weights.step(seed=2)
    assert past.share(other, "all") == 1 and past.share(tasks.number.step(value=1), "ends") is None
    assert past.share(other, "ends") == pytest.approx(1 - sizes["epoch-1.bin"] / total)
    assert past.share(other, "findings") == pytest.approx((sizes["rows.json"] + sizes["said.json"]) / total)
