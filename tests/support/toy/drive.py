"""A driver of toy steps in a process of its own: `python -m toy.drive STORE COUNT [EXECUTOR [GATE]]`, to be killed at
work. With a folder as GATE it begins when a second driver stands there too."""

import os
import sys
import time
from pathlib import Path

from toy import tasks
from transferscope.engine import executors
from transferscope.engine.executors import Slots
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store

TEN = 10


def steps(count: int) -> list[Step]:
    """`count` steps that each write two files, and one for every ten of them that reads their rows."""
    parts = [tasks.twofold.step(value=value) for value in range(count)]
    sums = [tasks.total.step(parts=parts[first : first + TEN]) for first in range(0, count, TEN)]
    return [*parts, *sums]


def wait(gate: Path) -> None:
    """Until two drivers have come here."""
    (gate / str(os.getpid())).touch()
    limit = time.monotonic() + 200
    while len([*gate.iterdir()]) < 2:
        assert time.monotonic() < limit, "no second driver came"
        time.sleep(0.01)


def main() -> int:
    """0 when every step was done, here or elsewhere."""
    store = Store.at(sys.argv[1])
    store.prepare()
    plan = Plan.of([Cell("drive", {"n": n}, step) for n, step in enumerate(steps(int(sys.argv[2])))])
    name = (sys.argv[3:] or ["local"])[0]
    executor = executors.build(name, Slots(("cpu", "cpu"), threads=1, cores=2), {})
    if len(sys.argv) > 4:
        wait(Path(sys.argv[4]))
    outcomes = executor.run(plan.todo(store), store, lambda *_: None)
    done = sum(outcome.status == "done" for outcome in outcomes.values())
    print(f"{done} done here", flush=True)
    return int(bool(plan.todo(store)))


if __name__ == "__main__":
    sys.exit(main())
