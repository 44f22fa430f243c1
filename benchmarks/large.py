"""What a large study costs before and after its trainings (its plan, a schedule, its status, its page), and what verbs
cost from their start to their end.

python benchmarks/large.py [--steps 3000 30000] [--page 300] [--repeats 3] [--finished study.yaml]

One training is done; the results of all others are made from it, with their own keys, as if somebody had done them.
`--page` is the most steps of which the page is written, too (0: none). With `--finished` the verbs of a copy of that
finished study are timed instead: run once more when nothing is left to do, status, plan of an empty store, check.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import say

STUDY = """
targets: {{digits: digits}}
network: torchvision:mobilenet_v3_small
arms: [random]
image_size: 32
seeds: {seeds}
recipe: {{lr: 0.1, epochs: 1, precision: float32}}
analyses:
  transfer: {{}}
  second: {{type: transfer, recipe: {{lr: 0.2}}}}
  third: {{type: transfer, recipe: {{lr: 0.3}}}}
resources: {{executor: inline}}
"""


def seconds(what: str, do: Callable[[], Any]) -> Any:
    """What `do` gives; its seconds are printed."""
    began, spent = time.perf_counter(), time.process_time()
    found = do()
    took, computed = time.perf_counter() - began, time.process_time() - spent
    print(f"  {what}: {took:.1f} s ({computed:.1f} s of a processor)", flush=True)
    return found


def verb(what: str, folder: Path, repeats: int, *command: str) -> None:
    """Print the seconds of one command, medians with their range; those of a processor are of all its processes."""
    wall, spent = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "transferscope.cli", *command],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode in (0, 4), f"{command} ended with exit code {process.returncode}"
        wall.append(time.perf_counter() - began)
        spent.append(used.ru_utime + used.ru_stime)
    print(f"  {what}: {_range(wall)} s ({_range(spent)} of a processor)", flush=True)


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} [{min(values):.1f} to {max(values):.1f}]"


def finished(file: Path, repeats: int) -> None:
    """Print what the verbs of a finished study cost."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(file.parent, Path(scratch) / "study"))
        name = file.name
        verb("the first run of a copy, whose page is made", folder, 1, "run", name)
        verb("run, when nothing is left to do", folder, repeats, "run", name)
        verb("report", folder, repeats, "report", name)
        verb("status", folder, repeats, "status", name)
        shutil.rmtree(folder / "store")
        verb("plan of a fresh store, which times the network", folder, 1, "plan", name)
        verb("plan once more, with nothing done yet", folder, repeats, "plan", name, "--no-calibrate")
        verb("check", folder, repeats, "check", name)


def made(folder: Path) -> int:
    """Make the results that the study in `folder` lacks from those that it has, by their tasks; how many."""
    from transferscope import battery
    from transferscope.engine.artifact import own_digest
    from transferscope.study import Study

    steps, store = battery.plan(Study.load(folder / "study.yaml"))
    done = {step.task: store.get(step).path for step in steps.steps if store.has(step)}
    todo = steps.todo(store)
    for step in todo:
        like, place = done[step.task], store.path(step.task, step.key)
        place.mkdir(parents=True)
        said = json.loads((like / "step.json").read_text()) | {"key": step.key, "params": step.job["params"]}
        said.pop("digest")
        for file in like.iterdir():
            if file.name != "step.json":
                (place / file.name).hardlink_to(file)
        (place / "step.json").write_text(json.dumps({**said, "digest": own_digest(said)}))
    return len(todo)


def measured(file: Path, count: int, page: bool, repeats: int) -> None:
    """Print what a study of `count` steps costs, of which one of each task is done in the store of `file`."""
    from transferscope import battery
    from transferscope.engine.simulate import simulate
    from transferscope.study import Study

    print(f"{count:,} steps")
    file.write_text(STUDY.format(seeds=count // 3))
    study = Study.load(file)
    steps, store = seconds("plan", lambda: battery.plan(study))
    todo = seconds("what is to do", lambda: steps.todo(store))
    lengths = {step.key: 3600.0 for step in todo}
    seconds("a schedule of 512 workers", lambda: simulate(todo, lengths, 512))
    verb("transferscope plan", file.parent, repeats, "plan", file.name, "--no-calibrate")
    made(file.parent)
    assert not seconds("that nothing is to do", lambda: steps.todo(store))
    seconds("what is done and what is missing", lambda: battery.tallies(steps, store, study.analyses))
    seconds("the tables", lambda: [battery.table(name, steps, store) for name in study.analyses])
    verb("transferscope status", file.parent, repeats, "status", file.name)
    if page:
        seconds("the page", lambda: battery.results(study))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[3000, 30000])
    parser.add_argument("--page", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3, help="how often a verb is timed")
    parser.add_argument("--finished", type=Path, help="a finished study, of which the verbs are timed alone")
    said = parser.parse_args()
    say("float32")
    if said.finished is not None:
        finished(said.finished, said.repeats)
        return
    from transferscope import battery
    from transferscope.study import Study

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "study.yaml"
        file.write_text(STUDY.format(seeds=1))
        study = Study.load(file)
        steps, store = battery.plan(study)
        battery.executor(study, steps.steps).run(steps.todo(store), store)
        for count in said.steps:
            measured(file, count, count <= said.page, said.repeats)


if __name__ == "__main__":
    main()
