"""What it costs that nothing is trusted: every digest of a finished study, against the processor time of its steps.

python benchmarks/integrity.py transferscope-quickstart/study.yaml [--repeats 5]

Written: once each. Read: a process hashes a file at most once; counted is the most there can be, every file by every
worker and by the page. From outside: weights are looked at again after each step that read them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from machine import say

WORKERS = 2


def spent(what: Callable[[], object], repeats: int) -> float:
    """Processor seconds, the median of `repeats`."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        what()
        found.append(time.process_time() - began)
    return statistics.median(found)


def main() -> None:
    """Print a line for each kind of check, and the share of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()

    from transferscope import battery
    from transferscope.engine import integrity
    from transferscope.engine.step import Outside
    from transferscope.models import weights_fingerprint
    from transferscope.study import Study

    say("float32")
    study = Study.load(asked.study)
    steps, store = battery.plan(study)
    folders = [store.get(step).path for step in steps.steps]
    said = [json.loads((folder / "step.json").read_text()) for folder in folders]
    whole = sum(one["cpu_seconds"] for one in said)
    held = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())

    def every_digest() -> None:
        for folder in folders:
            integrity.written(folder)

    written = spent(every_digest, asked.repeats)
    looked = spent(lambda: store.damaged(steps.steps), asked.repeats)
    read_from = [step.params.get("weights") for step in steps.steps]
    outside = [one for one in read_from if isinstance(one, Outside)]
    again = spent(lambda: [weights_fingerprint(one.ref, study.network, study.memo) for one in outside], asked.repeats)

    read = written * (WORKERS + 1)
    print(f"{len(folders)} results, {held / 1e9:.2f} GB, whose steps took {whole:.0f} processor seconds")
    for name, seconds in (
        ("digests when written", written),
        (f"digests when read, at most ({WORKERS} workers and the page)", read),
        ("the look at the beginning of a run", looked),
        (f"weights looked at again, {len(outside)} times", again),
    ):
        print(f"{name}: {seconds:.2f} s, {seconds / whole:.2%}")
    total = written + read + looked + again
    print(f"in all at most {total:.1f} s, {total / whole:.2%}")


if __name__ == "__main__":
    main()
