"""What a large study costs before and after its trainings: its plan, a schedule, its status, its page.

python benchmarks/large.py [--steps 3000 30000] [--page 300]

One training is done; the results of all others are made from it, with their own keys, as if somebody had done them.
`--page` is the most steps of which the page is written, too (0: none).
"""

import argparse
import json
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


def measured(file: Path, count: int, page: bool) -> None:
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
    made(file.parent)
    assert not seconds("that nothing is to do", lambda: steps.todo(store))
    seconds("status", lambda: [battery.table(name, steps, store) for name in study.analyses])
    if page:
        seconds("the page", lambda: battery.results(study))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[3000, 30000])
    parser.add_argument("--page", type=int, default=300)
    said = parser.parse_args()
    say("float32")
    from transferscope import battery
    from transferscope.study import Study

    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "study.yaml"
        file.write_text(STUDY.format(seeds=1))
        study = Study.load(file)
        steps, store = battery.plan(study)
        battery.executor(study, steps.steps).run(steps.todo(store), store)
        for count in said.steps:
            measured(file, count, count <= said.page)


if __name__ == "__main__":
    main()
