"""What the engine costs: planning 3,000 steps, asking a finished study again, and its share of a study's time.

python benchmarks/engine.py [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import say

STUDY = """
targets: {{digits: digits}}
network: torchvision:mobilenet_v3_small
arms: [random]
image_size: 32
seeds: {seeds}
recipe: {{lr: 0.1, epochs: {epochs}, precision: float32}}
"""


def planning(folder: Path, repeats: int) -> list[float]:
    """Seconds from a study file to the list of its 3,000 missing steps."""
    from transferscope import battery
    from transferscope.study import Study

    path = folder / "large.yaml"
    path.write_text(STUDY.format(seeds=2999, epochs=3))
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        plan, store = battery.plan(Study.load(path))
        todo = plan.todo(store)
        found.append(time.perf_counter() - began)
        assert len(todo) == 3000
    return found


def command(path: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "transferscope.cli", "run", str(path)], check=True, capture_output=True)
    return time.perf_counter() - began


def overhead(folder: Path) -> float:
    """Wall time of a study that is not spent in steps or in starting up, as a share; two workers."""
    import json

    path = folder / "small.yaml"
    path.write_text(STUDY.format(seeds=4, epochs=6))
    whole = command(path)
    said = [json.loads(p.read_text()) for p in (folder / "store").glob("*/*/step.json")]
    ingest = sum(s["seconds"] for s in said if s["task"] == "ingest")
    train = sum(s["seconds"] for s in said if s["task"] == "train") / 2  # two workers, equal steps
    again = command(path)  # what starting, planning and reporting take
    return (whole - ingest - train - again) / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    say("float32")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        print(_line("plan 3,000 steps (s)", planning(folder, repeats)))
        print(f"engine share of a study of 4 short runs, workers' start included: {overhead(folder):.1%}")
        print(_line("run of a finished study (s)", [command(folder / "small.yaml") for _ in range(repeats)]))


def _line(what: str, values: list[float]) -> str:
    return f"{what}: median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}"


if __name__ == "__main__":
    main()
