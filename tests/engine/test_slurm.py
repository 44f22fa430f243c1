"""The executor for Slurm, its jobs being processes of this machine: preempted and killed ones, and wrong settings.

Its contract is run with those of the others.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from toy import drive, tasks

from transferscope.engine import executors
from transferscope.engine.executors import Executor, Slots
from transferscope.engine.executors._slurm_run import Run
from transferscope.engine.executors.inline import Inline
from transferscope.engine.step import Outside
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError

pytest.importorskip("submitit")


def in_jobs(workers: int = 1, **settings: Any) -> Executor:
    how = {"cluster": "local", "workers": workers, "timeout_min": 10, **settings}
    return executors.build("slurm", Slots((), 1, 1), {"slurm": how, "slots": 1})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def jobs(module: str) -> list[psutil.Process]:
    """The processes of jobs of this test: those that submit and look after them, or those that work."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it is over
            if module in one.cmdline():
                found.append(one)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["preempted", "killed"])
def test_a_worker_that_is_taken_away_comes_back_and_goes_on(store: Store, how: str) -> None:
    step = tasks.count.step(to=150)
    taken: list[int] = []

    def watch(event: str, what: Any) -> None:
        if event == "progress" and not taken and what["done"] > 20:
            for one in [*jobs("submitit.core._submit"), *(jobs("submitit.local._local") if how == "killed" else [])]:
                taken.append(one.pid)
                one.send_signal(signal.SIGUSR2 if how == "preempted" else signal.SIGKILL)

    outcomes = in_jobs().run([step], store, watch)
    assert taken and outcomes[step.key].status == "done"
    assert store.get(step).rows[0]["began"] >= 20, "it went on from its last save"


@pytest.mark.slow
def test_jobs_share_the_steps_and_end_with_the_bytes_of_a_local_run(store: Store, tmp_path: Path) -> None:
    steps = drive.steps(30)
    outcomes = in_jobs(workers=2).run(steps, store)
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    other = Store(tmp_path / "other")
    other.prepare()
    Inline(Slots(("cpu",), 1, 1)).run(steps, other)
    for step in steps:
        here, there = store.get(step).path, other.get(step).path
        for file in there.iterdir():
            if file.name not in ("step.json", "log.txt"):
                assert (here / file.name).read_bytes() == file.read_bytes()
    assert not list((store.root / ".runs").iterdir()), "what they told each other is gone"
    place = tmp_path / ".slurm"
    assert place.stat().st_mode & 0o077 == 0 or all(one.stat().st_mode & 0o077 == 0 for one in place.iterdir())


@pytest.mark.slow
def test_a_second_signal_ends_all_jobs_at_once(store: Store) -> None:
    executor = in_jobs()

    def watch(event: str, what: Any) -> None:
        executor.kill()

    step = tasks.count.step(to=100_000)
    assert executor.run([step], store, watch)[step.key].status == "interrupted"
    limit = time.monotonic() + 60
    while jobs("submitit.core._submit") and time.monotonic() < limit:
        time.sleep(0.1)
    assert not jobs("submitit.core._submit")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"workers": 0}, r"resources\.slurm\.workers: 0 must be a whole number from 1 on"),
        ({"wurkers": 2}, "resources.slurm: "),
        ({"cpus_per_task": "4"}, r"resources\.slurm\.cpus_per_task: '4' must"),
        ({"cluster": "elsewhere"}, "doesn't know any executor named elsewhere"),
    ],
)
def test_wrong_settings_are_one_sentence(store: Store, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        in_jobs(**settings).run([tasks.number.step(value=1)], store)
    assert not (store.root / ".runs").exists()


def test_settings_arrive_at_sbatch_whose_refusal_is_one_sentence(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, line in (
        ("srun", "exit 0"),
        ("sbatch", f"cp $1 {tmp_path}/asked.sh; echo 'no such partition' >&2; exit 1"),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    jobs = in_jobs(3, cluster="slurm", partition="gpu", timeout_min=480, cpus_per_task=8, gpus_per_node=2, mem_gb=32)
    assert jobs.slots.devices == ("cpu",) * 3 and jobs.slots.threads == 8
    with pytest.raises(UserError, match=r"resources\.slurm: the jobs cannot be submitted \(.*no such partition"):
        jobs.run([tasks.number.step(value=value) for value in range(9)], store)
    asked = (tmp_path / "asked.sh").read_text(encoding="utf-8")
    for line in ("partition=gpu", "time=480", "cpus-per-task=8", "gpus-per-node=2", "mem=32GB", "array=0-2"):
        assert f"#SBATCH --{line}" in asked, asked
    assert list((store.root / ".runs").iterdir()) == []


def test_without_slurm_that_is_one_sentence(store: Store) -> None:
    with pytest.raises(UserError, match=r"resources\.slurm: "):
        in_jobs(cluster="slurm").run([tasks.number.step(value=1)], store)


def test_a_plan_that_is_told_has_the_keys_and_the_ways_of_the_steps(store: Store) -> None:
    read = tasks.read.step(source=Outside("here", "print"))
    parts = [tasks.number.step(value=value) for value in range(3)]
    total = tasks.total.step(parts=parts)
    run = Run(store.root / "run")
    run.begin([read, *parts, total])
    told = run.steps()
    assert told == [read, *parts, total] and [one.job for one in told] == [one.job for one in (read, *parts, total)]
    assert told[-1].inputs == tuple(parts)
    outcomes = Inline(Slots(("cpu",), 1, 1)).run(told, store)
    assert {outcome.status for outcome in outcomes.values()} == {"done"} and store.get(total).rows == [{"total": 3.0}]


def test_a_failure_is_told_to_other_workers_and_what_was_found_done_is_not_told_again(store: Store) -> None:
    run, (bad, good) = Run(store.root / "run"), (tasks.fail.step(how="user"), tasks.number.step(value=1))
    run.begin([bad, good])
    run.note(Outcome(bad.key, "failed", 1.0, "why"))
    run.note(Outcome(good.key, "done", 2.0))
    run.note(Outcome(good.key, "cached"))
    run.note(Outcome(total := "0" * 24, "interrupted"))
    assert run.failed(bad) == Outcome(bad.key, "failed", 1.0, "why") and run.failed(good) is None
    assert {one.key: one.status for one in run.ended({})} == {bad.key: "failed", good.key: "done"}
    assert total not in {one.key for one in run.ended({})} and run.ended({bad.key: 0, good.key: 0}) == []


def test_workers_say_what_they_are_at(store: Store) -> None:
    run = Run(store.root / "run")
    run.begin([])
    run.at("7_1", {"at": [{"key": "k"}]})
    assert run.workers() == {"7_1": {"at": [{"key": "k"}]}} and not run.stopping
    run.at("7_1", None)
    run.stop()
    assert run.workers() == {} and run.stopping and os.listdir(run.folder / "workers") == []  # noqa: PTH208
