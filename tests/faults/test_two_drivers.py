"""Two drivers at work on one store: the steps are shared, each is done once, and both end well."""

import subprocess
import sys
import threading

from smoke.command import environment
from toy import drive, tasks

from transferscope.engine.executors import Slots
from transferscope.engine.executors.local import Local

ONE = Slots(("cpu",), threads=1, cores=1)


def test_two_processes_on_one_store_share_the_steps_between_them(store) -> None:
    steps = [tasks.count.step(to=40 + n) for n in range(6)]  # about a second each
    last = tasks.total.step(parts=steps)
    found: list[dict] = []
    both = [threading.Thread(target=lambda: found.append(Local(ONE).run([*steps, last], store))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(found) == 2
    for step in (*steps, last):
        assert sorted(outcomes[step.key].status for outcomes in found) == ["cached", "done"]
    shares = [sum(outcomes[step.key].status == "done" for step in steps) for outcomes in found]
    assert min(shares) >= 2  # neither waited while the other worked


def test_two_processes_that_start_at_once_do_every_step_once(store) -> None:
    command = [sys.executable, "-m", "toy.drive", str(store.root), "60"]
    both = [
        subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate(timeout=240) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert sum(int(out.split()[0]) for out, _ in said) == len(drive.steps(60)), said
    assert all(store.get(step).inspect() is None for step in drive.steps(60))
