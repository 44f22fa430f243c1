"""How fast the source `fractals` makes a decoded table: images a second from nothing to finished files, by processes.

Run `python benchmarks/fractals.py` (about a minute; `--images 2000 --repeats 1` for a look). Every repeat builds one
table after the other with 1 and with 2 processes, starts of processes and files included, into a fresh folder; the
bytes must be the same. Printed are medians over repeats, their spread, and processor milliseconds an image. The bar:
2,000 images of 64 px a second on 2 cores.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path

from machine import say
from transferscope.data import build, open_listing
from transferscope.data.sources import fractals

BAR = 2_000


def spent() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def built(classes: int, each: int, size: int, cores: int) -> tuple[float, float, str]:
    """Wall and processor seconds of one table, and a digest of its pixels."""
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), spent()
        build(
            open_listing(f"fractals:{classes}/{each}"),
            Path(folder),
            train_size=size,
            eval_size=size,
            interpolation="bicubic",
            crop=1.0,
            val=0.15,
            test=0.2,
            split_seed=0,
            cores=cores,
        )
        seconds, used = time.perf_counter() - began, spent() - before
        return seconds, used, hashlib.sha256((Path(folder) / "train.safetensors").read_bytes()).hexdigest()


def rendering(count: int) -> float:
    """Processor seconds an image costs to draw, alone, its class being known."""
    for label in range(20):
        fractals.system(label)
    began = time.process_time()
    for number in range(count):
        fractals.image(number % 20, number)
    return (time.process_time() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    say("uint8 images")
    classes = max(2, given.images // 200)
    each = given.images // classes
    images = classes * each
    print(f"drawing alone: {1e3 * rendering(min(1_000, images)):.2f} ms of processor time an image")
    for size in given.sizes:
        rates: dict[int, list[float]] = {cores: [] for cores in given.processes}
        used: dict[int, list[float]] = {cores: [] for cores in given.processes}
        digests = set()
        for _ in range(given.repeats):
            for cores in given.processes:
                seconds, busy, digest = built(classes, each, size, cores)
                used[cores].append(1e3 * busy / images)
                rates[cores].append(images / seconds)
                digests.add(digest)
        assert len(digests) == 1, "the bytes depend on the number of processes"
        for cores, found in rates.items():
            line = f"{size} px, {cores} process{'es' if cores > 1 else ''}: {statistics.median(found):,.0f} images/s"
            line += f" ({min(found):,.0f} to {max(found):,.0f}; {images:,} images, {given.repeats} repeats)"
            line += f", {statistics.median(used[cores]):.2f} ms of processor time an image"
            if cores == 2 and size == 64:
                line += f"; bar {BAR:,}: {'met' if statistics.median(found) >= BAR else 'MISSED'}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
