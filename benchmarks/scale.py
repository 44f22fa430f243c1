"""The engine with many workers: steps a second by the number of workers, and what one step costs besides itself.

python benchmarks/scale.py [--workers 1 2 4 8] [--steps 200] [--seconds 0.05] [--executor local] [--repeats 3]

Steps sleep, so that workers may be more than the cores of the machine: what is measured is queue, locks, store and
pipes. Wall times mean something on an idle machine only; the processor time of a step does on any.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from toy import tasks

from machine import say
from transferscope.engine import executors
from transferscope.engine.executors import Slots
from transferscope.engine.simulate import simulate
from transferscope.engine.step import Step
from transferscope.engine.store import Store


def plan(count: int, seconds: float) -> list[Step]:
    """A step that all need, `count` that sleep so long, and one for every ten of them that reads their rows."""
    first = tasks.nap.step(seconds=0.0, after=[])
    naps = [tasks.nap.step(seconds=seconds + n * 1e-9, after=[first]) for n in range(count)]
    return [first, *naps, *(tasks.total.step(parts=naps[n : n + 10]) for n in range(0, count, 10))]


def run(name: str, workers: int, steps: list[Step]) -> float:
    """Seconds from the end of the first step, when workers begin to be there, to the end of all."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.prepare()
        how = {"slots": workers, "slurm": {"cluster": "local", "workers": workers, "timeout_min": 10}}
        executor = executors.build(name, Slots(("cpu",) * workers, 1, workers), how)
        executor.run(steps, store, lambda event, _: ends.append(time.perf_counter()) if event == "ended" else None)
    return ends[-1] - ends[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--executor", default="local")
    parser.add_argument("--repeats", type=int, default=3)
    said = parser.parse_args()
    say("float32")
    steps = plan(said.steps, said.seconds)
    slept = {step.key: float(step.params.get("seconds", 0.0)) for step in steps}
    began = time.process_time()
    run("inline", 1, plan(said.steps, 0.0))
    print(f"a step that does nothing: {1e3 * (time.process_time() - began) / len(steps):.1f} ms of processor time")
    for workers in said.workers:
        found = [run(said.executor, workers, steps) for _ in range(said.repeats)]
        middle, best = statistics.median(found), simulate(steps, slept, workers).makespan
        besides = 1e3 * (middle - best) * workers / len(steps)
        print(
            f"{said.executor}, {workers} workers: {len(steps) / middle:.1f} steps/s ({min(found):.2f} to "
            f"{max(found):.2f} s; {best:.2f} s without the engine), {besides:.1f} ms of a worker a step besides"
        )


if __name__ == "__main__":
    main()
