"""One training step and one evaluation batch, one thread: prepared networks against the same network as torch comes.

Run `python benchmarks/compute.py` (about a minute a network). Every repeat starts two processes, in turn: one with
torch's defaults (NCHW, float32, the system's allocator settings) and one with the environment and the preparation of a
worker, which times float32 and, where the processor has it, bfloat16. Printed are medians over repeats of processor
time, and the paired ratios.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict

from machine import precisions, say
from transferscope.engine.environment import worker_environment
from transferscope.timing.step_time import PLAIN, Question


def timed(question: Question, environment: dict[str, str]) -> dict[str, dict[str, float]]:
    command = [sys.executable, "-m", "transferscope.timing.step_time", json.dumps(asdict(question))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["timm:tf_efficientnet_lite0", "timm:resnet18"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    plain = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    ways_here = precisions()
    say(" and ".join(ways_here))
    for network in given.networks:
        paces: dict[str, list[dict[str, float]]] = {way: [] for way in (PLAIN, *ways_here)}
        for _ in range(given.repeats):
            for ways, environment in (((PLAIN,), plain), (ways_here, plain | worker_environment(1))):
                found = timed(Question(network, given.size, given.batch, ways=ways), environment)
                for way, pace in found["paces"].items():
                    paces[way].append(pace)
        print(f"{network} at {given.size} px, batch {given.batch}, one thread, {given.repeats} repeats")
        for way, rounds in paces.items():
            line = f"  {way:9s}"
            for part, unit, times in (("step", "ms a step", 1e3), ("evaluation", "ms an image evaluated", 1e3)):
                own = [r[part] for r in rounds]
                ratios = [p[part] / o for p, o in zip(paces[PLAIN], own, strict=True)]
                line += f"  {times * statistics.median(own):7.2f} {unit}"
                line += f" {statistics.median(ratios):5.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"
            print(line, flush=True)
        matmul = ", ".join(f"{rate / 1e9:.0f} GFLOP/s {name}" for name, rate in found["matmul"].items())
        floors = (f"{3e3 * found['flops'] * given.batch / found['matmul'][way]:.0f} ms {way}" for way in ways_here)
        print(f"  floor: {', '.join(floors)} (a matrix product reaches {matmul})")


if __name__ == "__main__":
    main()
