"""A whole training run from JPEG files, one thread: transferscope against the paper's loop, timm and Lightning.

Run `python benchmarks/train.py` (ResNet-18 at 64 px, minutes a run) or `--rivals ours paper --repeats 3`. Every run is
a process of its own, one after the other, rivals in turn; seconds are processor time (user and system) from the first
look at the files to the last checkpoint, libraries loaded. `ours` is bfloat16, or float32 where the processor has
none, with the defaults (after every epoch a sample of each split is evaluated, the last and the best weights on
everything); `thorough` evaluates every image after every epoch, as the rivals do with training and test images;
`float32` is ours in float32. Ours run with a worker's
environment, the others as users start Python. The pictures are synthetic, 400 px: one of eight stars on a pattern.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from loops import CLASSES, LR, Result, lightning, paper, timm
from machine import natural, say

# -- pictures --------------------------------------------------------------------------------------------------------


def draw(rng: np.random.Generator, kind: int, side: int = 400) -> Image.Image:
    """A star of `kind`: 3 to 6 points, blunt or sharp, somewhere on a patterned ground; about 30 kB as a JPEG."""
    ground = np.full((side, side, 3), rng.uniform(20, 120, 3))
    for cells in (2, 5, 16, 64, 160):
        patch = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        ground += np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.BICUBIC)) / 12
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    points, radius = 3 + kind % 4, rng.uniform(0.25, 0.4) * side
    x, y = rng.uniform(radius, side - radius, 2)
    angles = rng.uniform(0, 2 * math.pi) + math.pi * np.arange(2 * points) / points
    reach = np.where(np.arange(2 * points) % 2, radius * (0.3 if kind >= 4 else 0.75), radius)
    ink = tuple(int(v) for v in rng.integers(150, 256, 3))
    outline = [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]
    ImageDraw.Draw(picture).polygon(outline, fill=ink)
    return picture


def write_pictures(folder: Path, train: int, val: int, test: int) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val), ("test", test)):
        for i in range(count):
            file = folder / split / f"shape{i % CLASSES}" / f"{i:05d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            draw(rng, i % CLASSES).save(file, quality=90)


# -- ours --------------------------------------------------------------------------------------------------------------


def ours(given: argparse.Namespace, precision: str | None = None, evaluate: int | str = 256) -> Result:
    """transferscope's own steps, decoding included, as one of its workers does them."""
    from transferscope.data.batches import Batches
    from transferscope.engine.plan import Cell, Plan
    from transferscope.engine.store import Store
    from transferscope.engine.task_context import Work
    from transferscope.engine.worker import execute
    from transferscope.study import Study
    from transferscope.tasks import loop

    spent = dict.fromkeys(PARTS, 0.0)

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return call(*args, **options)
            finally:
                spent[name] += time.process_time() - began

        return run

    def batches(self: Any) -> Any:
        """The same batches, the time of making each counted."""
        found = original(self)
        following = counted("input", lambda: next(found, None))
        while (batch := following()) is not None:
            yield batch

    original, Batches.__iter__ = Batches.__iter__, batches
    loop._Run._batch = counted("steps", loop._Run._batch)
    loop._Run.predict = counted("evaluation", loop._Run.predict)
    recipe = {
        "epochs": given.epochs,
        "batch_size": given.batch,
        "lr": LR,
        "precision": precision or natural(),
        "evaluate": evaluate,
    }
    study = Study.parse(
        {
            "targets": {"shapes": f"folder:{given.folder}"},
            "network": given.network,
            "image_size": given.size,
            "arms": ["random"],
            "recipe": recipe,
        },
        folder=Path(given.scratch),
    )
    store = Store(study.store_folder)
    store.prepare()
    run = study.run("shapes", "random", given.seed)
    for step in Plan.of([Cell("benchmark", {}, run)]).todo(store):
        work = Work(store.root, cores=1, threads=1)
        outcome = (counted("decoding", execute) if step.task == "ingest" else execute)(step.job, store, work)
        assert outcome.status == "done", outcome.error
    last = store.get(run).rows[-1]
    return {"train": last["train_metric"], "test": last["test_metric"], **spent}


PARTS = ("decoding", "input", "steps", "evaluation")  # what is left: engine, metrics, checkpoints, logging
RIVALS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "ours": ours,
    "thorough": lambda given: ours(given, evaluate="all"),
    "float32": lambda given: ours(given, "float32"),
    "paper": paper,
    "timm": timm,
    "lightning": lightning,
}


# -- running and telling -----------------------------------------------------------------------------------------------


def alone(given: argparse.Namespace) -> None:
    """One run in this process; its seconds and accuracies as a line of JSON."""
    import timm as _  # noqa: F401  # loading libraries is nobody's training time
    import torchvision  # noqa: F401

    torch.set_num_threads(1)
    before = os.times()
    found = RIVALS[given.one](given)
    after = os.times()
    print(json.dumps(found | {"seconds": sum(after[:4]) - sum(before[:4])}))


def started(name: str, given: argparse.Namespace, folder: str, seed: int) -> Result:
    from transferscope.engine.environment import worker_environment

    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if name in ("ours", "thorough", "float32"):
        environment |= worker_environment(1)
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            "--folder",
            folder,
            "--seed",
            str(seed),
            "--scratch",
            scratch,
        ]
        for option in ("network", "size", "batch", "epochs"):
            command += [f"--{option}", str(getattr(given, option))]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rivals", nargs="+", default=["ours", "thorough", "paper", "timm", "lightning"], choices=RIVALS
    )
    parser.add_argument("--network", default="timm:resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument(
        "--images", type=int, default=960, help="training images; an eighth as many for val, a third to test on"
    )
    parser.add_argument("--repeats", type=int, default=3)
    for hidden in ("--one", "--folder", "--scratch"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return alone(given)
    say(natural())
    runs: dict[str, list[Result]] = {name: [] for name in given.rivals}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), given.images, given.images // 8, given.images // 3)
        for seed in range(given.repeats):
            for name in given.rivals:
                runs[name].append(started(name, given, folder, seed))
                print(seed, name, runs[name][-1], flush=True)
    print(f"{given.network} at {given.size} px, {given.epochs} epochs of {given.images} images, batch {given.batch}")
    base = [r["seconds"] for r in runs.get("paper", [])]
    for name, found in runs.items():
        seconds, test = [r["seconds"] for r in found], [r["test"] for r in found]
        line = f"  {name:10s} {statistics.median(seconds):7.1f} CPU s ({min(seconds):.1f} to {max(seconds):.1f})"
        line += f"  test accuracy {statistics.mean(test):.3f} ({min(test):.3f} to {max(test):.3f})"
        if base:
            ratios = [b / s for b, s in zip(base, seconds, strict=True)]
            line += f"  {statistics.median(ratios):.2f}x the paper's loop ({min(ratios):.2f} to {max(ratios):.2f})"
        print(line)
        if "steps" in found[0]:
            shares = {part: [r[part] / r["seconds"] for r in found] for part in PARTS}
            shares["the rest"] = [1 - sum(several) for several in zip(*shares.values(), strict=True)]
            print("             " + ", ".join(f"{part} {statistics.median(s):.1%}" for part, s in shares.items()))
    return None


if __name__ == "__main__":
    main()
