"""A run stopped anywhere, gently or not, and started again ends in the bytes of one that was never stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from smoke import study
from smoke.command import started, transferscope

PAUSE = "0.25"  # seconds a training batch takes, so that there is time to strike
ALONE = ("--set", "resources.slots=1", "--set", "resources.threads=1")  # the number of workers changes no byte
INLINE = ("--set", "resources.executor=inline", *ALONE)  # nor does who does the steps

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="sees who trains through Linux's /proc")


def until(what: Callable[[], object], process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait for `what` to hold while the run goes on."""
    limit = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, f"the run ended by itself: {process.communicate()}"
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def batches_done(folder: Path) -> int:
    """How far the training run that is furthest has saved, epochs counting 5 batches each."""
    return max((epoch * 5 + batch for epoch, batch in study.progress(folder)), default=-1)


def assert_same(folder: Path, reference: Path) -> None:
    ours, theirs = study.numbers(folder), study.numbers(reference)
    assert ours.keys() == theirs.keys() and len(ours) > 30
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.slow
def test_kill_9_in_the_middle_of_training(fresh: Path, trained: Path) -> None:
    """First the whole group, as when a machine goes down; then the parent alone, whose workers must go with it."""
    run = started("run", cwd=fresh, SMOKE_PAUSE=PAUSE, SMOKE_SAVE_EVERY="0.4")
    until(lambda: batches_done(fresh) >= 5, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert study.progress(fresh), "a save to go on from was left"
    assert not list(fresh.glob("store/train/*/final.safetensors")), "killed before anything was trained"

    furthest = batches_done(fresh)
    run = started("run", cwd=fresh, SMOKE_PAUSE=PAUSE, SMOKE_SAVE_EVERY="0.4")
    until(lambda: _training(fresh) and len(workers_of(run)) >= 2, run)
    workers = workers_of(run)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert not alive, "workers of a parent that is gone"
    assert batches_done(fresh) >= furthest, "the second attempt went on from the first"

    done = transferscope("run", *INLINE, cwd=fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(fresh, trained)


@pytest.mark.slow
def test_a_gentle_stop_saves_inside_an_epoch(fresh: Path, trained: Path) -> None:
    """Ctrl-C, which a terminal sends to the whole group; then SIGTERM, which a scheduler sends to the parent."""
    for number, code, send in ((signal.SIGINT, 130, os.killpg), (signal.SIGTERM, 143, os.kill)):
        before = batches_done(fresh)
        run = started("run", "--set", "name=smoke", cwd=fresh, SMOKE_PAUSE=PAUSE)
        until(lambda: _started(fresh) and _training(fresh), run)
        time.sleep(3 * float(PAUSE))
        send(run.pid, number)
        _, said = run.communicate(timeout=240)
        assert run.returncode == code, said
        assert "Traceback" not in said and "transferscope run study.yaml --set name=smoke" in said
        saves = study.progress(fresh)
        assert any(batch for _, batch in saves), f"saved at an epoch's end only, not at the batch under way: {saves}"
        assert batches_done(fresh) > before

    done = transferscope("run", *INLINE, cwd=fresh)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_same(fresh, trained)


def test_ctrl_c_while_workers_start_is_quiet(fresh: Path) -> None:
    """The signal reaches the whole group; a worker that still imports must not answer it with a traceback."""
    run = started("run", cwd=fresh)
    until(lambda: len(workers_of(run)) >= 2, run)  # the resource tracker and the first worker
    time.sleep(0.15)
    os.killpg(run.pid, signal.SIGINT)
    out, said = run.communicate(timeout=240)
    assert run.returncode == 130, out + said
    assert "Traceback" not in said and "failed" not in said + out


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(fresh: Path) -> None:
    run = started("run", *ALONE, cwd=fresh, SMOKE_PAUSE="120")
    until(lambda: _started(fresh), run)
    until(lambda: _idle(workers_of(run)), run)  # its start is evaluated, its first batch under way
    workers = workers_of(run)
    os.kill(run.pid, signal.SIGINT)
    time.sleep(0.5)
    assert run.poll() is None, "the batch under way takes two minutes"
    os.kill(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in said
    _, alive = psutil.wait_procs(workers, timeout=120)
    assert not alive


@pytest.mark.slow
def test_processes_that_decode_go_with_their_worker(tmp_path: Path) -> None:
    """A worker killed for memory, twice, leaves nobody behind, and the run says what happened."""
    (tmp_path / "study.yaml").write_text(
        "targets: {many: 'smoke.slow:'}\nnetwork: smoke.nets:tiny\narms: [random]\nanalyses: [images]\n"
    )
    run = started("run", cwd=tmp_path, SMOKE_PAUSE="0.1")

    def decoding() -> list[psutil.Process]:
        return [process for process in workers_of(run) if process.ppid() != run.pid]

    below: list[psutil.Process] = []

    def fresh() -> list[psutil.Process]:
        return [process for process in decoding() if process not in below]

    for _ in range(2):
        until(lambda: len(fresh()) >= 2, run)
        own = fresh()
        below += own
        os.kill(own[0].ppid(), signal.SIGKILL)
    out, said = run.communicate(timeout=240)
    assert run.returncode == 1 and "killed, perhaps because memory ran out" in said, out + said
    _, alive = psutil.wait_procs(below, timeout=30)
    for process in alive:
        process.kill()
    assert not alive


def _idle(processes: list[psutil.Process]) -> bool:
    """Whether none computes: all of them wait, as in a batch that sleeps."""

    def spent() -> list[float]:
        return [sum(process.cpu_times()[:2]) for process in processes]

    before = spent()
    time.sleep(1)
    return before == spent()


def _started(folder: Path) -> bool:
    """Has a training run written the weights it starts from?"""
    return any((folder / "store" / ".scratch").glob("train-*/epoch-0000.safetensors"))


def _training(folder: Path) -> bool:
    """Does a process hold the lock of a training step right now?"""
    locks = (folder / "store" / ".scratch").glob("train-*.lock")
    held = Path("/proc/locks").read_text(encoding="utf-8")
    return any(f":{lock.stat().st_ino} " in held for lock in locks)
