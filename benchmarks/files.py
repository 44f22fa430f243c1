"""Many small files: what listing, fingerprinting and decoding a folder of them takes, the first time and the second.

Run `python benchmarks/files.py --files 100000`. PNGs of 16 x 16 pixels in ten class folders; every line is a process of
its own, with its wall and processor seconds and the most memory that it held. The second fingerprint is that of a plan
that is made again: nothing has changed, and no file is read.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from machine import say
from transferscope.data import build, open_listing, source_fingerprint

CLASSES, SIDE, KINDS = 10, 16, 200


def write(folder: Path, files: int) -> None:
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(KINDS):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "PNG")
        pictures.append(file.getvalue())
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for i in range(files):
        (folder / f"class{i % CLASSES}" / f"{i:07d}.png").write_bytes(pictures[i % KINDS])


def once(what: str, folder: Path) -> None:
    """One line's work in this process, and what it took on stdout as JSON."""
    before, began, ref = time.process_time(), time.monotonic(), f"folder:{folder / 'images'}"
    if what == "listing":
        open_listing(ref)
    elif what == "fingerprint":
        source_fingerprint(ref, folder)
    else:
        how = {"train_size": SIDE, "eval_size": SIDE, "interpolation": "bilinear", "crop": 1.0}
        build(open_listing(ref), folder / "table", **how, val=0.1, test=0.1, split_seed=0, cores=1)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.monotonic() - began, time.process_time() - before, used]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        once(options.once[0], Path(options.once[1]))
        return
    say("no network")
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch) / "images", options.files)
        for name, what in (
            ("listing", "listing"),
            ("fingerprint", "fingerprint"),
            ("fingerprint again", "fingerprint"),
            ("table, one core", "table"),
        ):
            line = [sys.executable, __file__, "--once", what, scratch]
            wall, cpu, memory = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
            print(f"  {name:20s} {wall:8.1f} s  {cpu:8.1f} processor s  {memory:8.0f} MiB at most")


if __name__ == "__main__":
    main()
