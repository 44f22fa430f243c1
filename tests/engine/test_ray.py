"""The Ray executor on nodes of this machine: its contract, a whole study, lost nodes, killed drivers, GPUs, and the
sentences for what is wrong.
"""

import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rays
from contract import executors as contract
from smoke import command, study
from smoke.command import environment
from toy import drive, tasks

from transferscope.engine import executors
from transferscope.engine.executors import Executor, Slots, _ray_cluster
from transferscope.engine.executors.local import Local
from transferscope.engine.store import Store
from transferscope.errors import UserError

pytestmark = pytest.mark.slow
NONE = Slots((), 1, 1)


def on_ray(**options: Any) -> Executor:
    return executors.build("ray", NONE, options)


@pytest.fixture(scope="module")
def port() -> int:
    pytest.importorskip("grpc")
    return rays.free_port()


@pytest.fixture(scope="module")
def nodes(port: int) -> Iterator[Any]:
    with rays.cluster(cpus=(1, 1), gpus=(0, 1), client=port) as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def content(store: Store) -> dict[str, bytes]:
    """The bytes of all results but what tells of the machine and the time."""
    files = (file for task, key in store.entries() for file in store.path(task, key).iterdir())
    told = {"step.json", "log.txt"}
    return {str(file.relative_to(store.root)): file.read_bytes() for file in files if file.name not in told}


@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_its_contract(check: Callable[..., None], nodes: Any, store: Store) -> None:
    check("ray", store)


def test_a_study_is_written_with_the_bytes_of_a_local_run(nodes: Any, trained: Path, fresh: Path) -> None:
    done = command.transferscope("run", "--on", "ray", cwd=fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on 2 worker(s) with 1 thread(s) each" in done.stdout
    study.assert_alike(fresh, trained)


def test_a_killed_driver_is_followed_by_another_that_goes_on(nodes: Any, store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "toy.drive", str(store.root), "60", "ray"]
    run = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while len(list(store.entries())) < 5 and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert 5 <= len(list(store.entries())) < len(drive.steps(60)), "it was killed at work"
    assert subprocess.run(command, env=environment(), timeout=100).returncode == 0
    other = Store(tmp_path / "other")
    other.prepare()
    Local(Slots(("cpu", "cpu"), 1, 2)).run(drive.steps(60), other)
    assert content(store) == content(other)


def test_a_driver_from_far_away(nodes: Any, store: Store, port: int) -> None:
    command = [sys.executable, "-m", "toy.drive", str(store.root), "10", f"ray://127.0.0.1:{port}"]
    apart = {name: value for name, value in environment().items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, env=apart, timeout=200, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "11 done here\n", done.stderr


def test_gpus_are_shared_as_measured_on_their_node_and_alone_work(nodes: Any, store: Store) -> None:
    asked = on_ray(sharing=lambda: 1)
    assert asked.slots.devices == ("cuda:0",), "the node without GPUs does nothing where another has some"
    step, again = tasks.threads.step(), tasks.threads_again.step()
    asked.run([step, again], store, lambda *_: None)
    row = store.get(step).rows[0]
    assert store.get(again).rows[0]["pid"] == row["pid"], "a worker serves many steps"
    assert (row["omp"], row["device"]) == ("1", "cuda:0") and row["pid"] != os.getpid()
    assert on_ray(device="cpu").slots.devices == ("cpu", "cpu")
    assert on_ray(device="cpu", slots=1).slots.devices == ("cpu",)


def test_what_crashes_or_stands_still_is_tried_once_more(nodes: Any, store: Store, tmp_path: Path) -> None:
    crashes = tasks.once.step(how="crash", marks=str(tmp_path / "crashed"))
    hangs, good = tasks.hang.step(), tasks.number.step(value=1)
    outcomes = on_ray(device="cpu", patience=2.0).run([crashes, hangs, good], store, lambda *_: None)
    found = {outcomes[step.key].status for step in (crashes, good)}
    assert found <= {"done", "cached"}, "on a machine so busy that 2 s are no patience the first did it"
    assert store.get(crashes).rows == [{"tried": 2}]
    error = outcomes[hangs.key].error
    assert outcomes[hangs.key].status == "failed" and "did not move for 2 s, twice" in error
    assert "in hang" in (store.root / "failures" / f"hang-{hangs.key}.txt").read_text() and "hang-" in error


def test_the_second_stop_ends_at_once(nodes: Any, store: Store) -> None:
    hangs, never = tasks.hang.step(), tasks.number.step(value=1)
    executor = on_ray(device="cpu", slots=1)
    threading.Timer(4.0, executor.kill).start()
    outcomes = executor.run([hangs, never], store, lambda *_: None)
    assert {outcome.status for outcome in outcomes.values()} == {"interrupted"}


def test_the_steps_of_a_lost_node_go_on_elsewhere_from_their_last_save(nodes: Any, store: Store) -> None:
    lost = nodes.add_node(num_cpus=1, object_store_memory=rays.STORE)
    steps = [tasks.count.step(to=200 + n) for n in range(3)]
    told: set[str] = set()

    def watch(event: str, what: Any) -> None:
        if event == "progress" and len(told) < 3:
            told.add(what["key"])
            if len(told) == 3:  # all nodes are at work
                nodes.remove_node(lost, allow_graceful=False)

    outcomes = on_ray(device="cpu").run(steps, store, watch)
    assert [outcomes[step.key].status for step in steps] == ["done"] * 3, outcomes
    began = sorted(store.get(step).rows[0]["began"] for step in steps)
    assert began[:2] == [0, 0] and began[2] > 0


def test_nodes_that_do_not_see_the_store_are_refused(nodes: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = on_ray(device="cpu", slots=1)
    monkeypatch.setattr(Path, "touch", lambda *_, **__: None)  # what is put there for them to see
    with pytest.raises(UserError, match="not every node of the Ray cluster sees"):
        executor.run([tasks.number.step(value=1)], store, lambda *_: None)


def test_an_address_that_leads_nowhere_is_one_sentence() -> None:
    with pytest.raises(UserError, match="takes no address"):
        executors.build("local:somewhere", NONE, {})


@pytest.mark.parametrize("fails", [1, 9])
def test_a_server_for_clients_that_did_not_come_up_is_asked_again(fails: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray's proxy tells of it: its own traceback in the error's text."""
    tried = []

    def init(**_: Any) -> None:
        tried.append(1)
        if len(tried) <= fails:
            raise ConnectionAbortedError("Initialization failure:\nTraceback (most recent call last):\nProxy failed.\n")

    library = types.SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(_ray_cluster, "ray", lambda: library)
    if fails == 1:
        assert _ray_cluster.join("ray://far:10001")
    else:
        with pytest.raises(UserError, match=r"cluster at ray://far:10001: Proxy failed\.$"):
            _ray_cluster.join("ray://far:10001")
    assert len(tried) == min(fails + 1, _ray_cluster.ATTEMPTS)
