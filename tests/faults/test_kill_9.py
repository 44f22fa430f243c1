"""kill -9 at random moments, of the whole run and of single workers: what is there is whole, the next run goes on."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from smoke.command import environment
from toy import drive

from transferscope.atomic_files import LEFT
from transferscope.engine.store import Store


def started(store: Store, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "toy.drive", str(store.root), str(count)]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def done(store: Store) -> int:
    return len(list(store.entries()))


def strike(store: Store, run: subprocess.Popen[str], draw: random.Random) -> None:
    """Wait until the run has done some steps more, then a moment, then kill all of it or one of its workers."""
    before, limit = done(store), time.monotonic() + 120
    while done(store) < before + 2 and run.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(draw.uniform(0.0, 0.05))
    if draw.random() < 0.5:
        with suppress(psutil.Error):
            workers = psutil.Process(run.pid).children()
            os.kill(draw.choice(workers).pid, signal.SIGKILL) if workers else None
        time.sleep(draw.uniform(0.0, 0.3))
    with suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def soaked(store: Store, count: int, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    steps = drive.steps(count)
    for _ in range(kills):
        strike(store, started(store, count), draw)
        wrong = [why for task, key in store.entries() if (why := store.artifact(task, key).inspect())]
        assert wrong == [], "what is there is whole, whenever the blow fell"
    run = started(store, count)
    out, said = run.communicate(timeout=400)
    assert run.returncode == 0, out + said
    assert {step.key for step in steps} == {key for _, key in store.entries()}
    assert all(store.get(step).inspect() is None for step in steps)
    sums = [store.get(step).rows[0]["total"] for step in steps[count:]]
    assert sums == [sum(range(first, first + drive.TEN)) for first in range(0, count, drive.TEN)]
    assert [path for path in store.root.rglob(".*") if LEFT.fullmatch(path.name)] == []
    assert not [path for path in (store.root / ".scratch").iterdir() if path.is_dir()], "every scratch folder was used"


def test_a_run_killed_at_random_moments_ends_whole(store) -> None:
    soaked(store, count=40, kills=3, seed=1)


@pytest.mark.slow
def test_two_hundred_steps_under_a_rain_of_kills(store) -> None:
    soaked(store, count=200, kills=16, seed=2)
