"""Training a head or the top blocks: what is frozen computed once, against computing it for every batch, one thread.

Run `python benchmarks/frozen.py` (some minutes). The images are scikit-learn's digits, enlarged, without augmentation;
each way trains the same network from the same start, in turn. Printed are processor seconds of the whole run, with its
evaluations, the ratio, and by how much the final test losses differ.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from machine import natural, say
from transferscope.data import build, open_listing
from transferscope.engine.artifact import Artifact
from transferscope.engine.task_context import Work
from transferscope.tasks import frozen
from transferscope.tasks.train import train

RECIPE: dict[str, Any] = {
    "arm": "random",
    "weights": None,
    "min_share": None,
    "seed": 0,
    "head_seed": 0,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "batch_size": 64,
    "lr": 0.05,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "milestones": [],
    "gamma": 0.1,
    "warmup": 1.0,
    "mixup": 0.0,
    "label_smoothing": 0.0,
    "augment": None,
    "evaluate": 128,
}


def seconds(data: Artifact, once: bool, **changes: Any) -> tuple[float, float]:
    """Processor seconds of a run, and its last test loss."""
    with tempfile.TemporaryDirectory() as folder:
        patch = mock.patch.object(frozen, "spared", frozen.spared if once else lambda *_, **__: None)
        began = time.process_time()
        with patch:
            rows = train(data=data, work=Work(Path(folder)), **RECIPE | changes)
        return time.process_time() - began, rows[-1]["test_loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="timm:tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--fraction", type=float, default=0.5, help="of some 1,000 training images")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--trainable", nargs="*", default=["head", "top:5"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    precision = natural()
    say(precision)
    with tempfile.TemporaryDirectory() as folder:
        how = {"train_size": given.size, "eval_size": given.size, "interpolation": "bilinear", "crop": 1.0}
        build(open_listing("digits"), Path(folder), **how, val=0.15, test=0.2, split_seed=0, cores=1)
        said = {"network": given.network, "epochs": given.epochs, "fraction": given.fraction, "precision": precision}
        for trainable in given.trainable:
            asked = {**said, "trainable": trainable}
            found = [
                [seconds(Artifact(Path(folder)), once, **asked) for once in (False, True)] for _ in range(given.repeats)
            ]
            plain, once = (statistics.median(pair[way][0] for pair in found) for way in (0, 1))
            ratios = [first / second for (first, _), (second, _) in found]
            gap = max(abs(first - second) for (_, first), (_, second) in found)
            what = f"{given.network} at {given.size} px, {given.epochs} epochs, {trainable}"
            shown = f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"
            print(f"{what}: every batch {plain:.1f} s, once {once:.1f} s, {shown}; test losses differ by {gap:.1g}")


if __name__ == "__main__":
    main()
