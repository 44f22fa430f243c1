"""Training a head or the top blocks: what is frozen computed once, against full fine-tuning and against every batch.

Run `python benchmarks/frozen.py` (some minutes). The images are scikit-learn's digits, enlarged, without augmentation;
the steps are those of a study, in a store of their own, from one file of weights. Printed are processor seconds of the
steps, with their evaluations and files: of full fine-tuning, of the first seed that trains less, which computes what is
frozen, of another seed, which reads it, and of all `--seeds` together; their shares of full fine-tuning are to be at
most 5% for a head. `--every` trains the first seed with the frozen part computed for every batch too, and says how far
the scores of all test images are from that.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors.torch import save_file

from machine import natural, say
from transferscope.data import source_fingerprint
from transferscope.engine.step import Outside, Step
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute
from transferscope.models import weights_fingerprint
from transferscope.models.build import build_network
from transferscope.tasks import frozen
from transferscope.tasks.inputs import images
from transferscope.tasks.train import train

SHARE = 0.05
RECIPE: dict[str, Any] = {
    "arm": "pretrained",
    "min_share": 0.5,
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


class Trainings:
    """Runs of one network in a store."""

    def __init__(self, root: Path, network: str, size: int, **said: Any) -> None:
        self.store, self.said = Store(root / "store"), {"network": network, **said}
        self.store.prepare()
        source = Outside("digits", source_fingerprint("digits", None))
        how = {"train_size": size, "eval_size": size, "interpolation": "bilinear", "crop": 1.0}
        self.data = images.ingest.step(source=source, **how, val=0.15, test=0.2, split_seed=0)
        self._done(self.data)
        file = root / "weights.safetensors"
        save_file(build_network(network, 10, seed=7).state_dict(), file)
        self.weights = Outside(f"file:{file}", weights_fingerprint(f"file:{file}", network, None))

    def seconds(self, **changes: Any) -> tuple[float, float]:
        """Processor seconds of a run that is not there yet, and its score on all test images."""
        step = train.step(data=self.data, weights=self.weights, **RECIPE | self.said | changes)
        said = self._done(step)
        return said["cpu_seconds"], self.store.get(step).rows[-1]["whole_test_metric"]

    def forget(self) -> None:
        """Let a run compute what is frozen, and runs, anew."""
        for path in (self.store.root / "memo").rglob("*.safetensors"):
            path.unlink()
        for task, key in self.store.entries():
            if task == "train":
                self.store.artifact(task, key).set_aside()

    def _done(self, step: Step) -> dict[str, Any]:
        outcome = execute(step.job, self.store, Work(self.store.root))
        if outcome.status != "done":
            raise SystemExit(outcome.error or outcome.status)
        said: dict[str, Any] = json.loads((self.store.path(step.task, step.key) / "step.json").read_text())
        return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["timm:tf_efficientnet_lite0", "timm:resnet18"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, nargs="*", default=[6, 30])
    parser.add_argument("--fraction", type=float, default=1.0, help="of some 1,170 training images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trainable", nargs="*", default=["head"])
    parser.add_argument("--every", action="store_true", help="compute what is frozen for every batch too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    precision = natural()
    say(precision)
    for network in given.networks:
        with tempfile.TemporaryDirectory() as folder:
            said = {"fraction": given.fraction, "precision": precision}
            runs = Trainings(Path(folder), network, given.size, **said)
            runs.seconds(trainable="head", epochs=2, seed=999)  # imports
            for epochs in given.epochs:
                full, _ = runs.seconds(trainable="all", epochs=epochs, seed=0)
                print(f"{network} at {given.size} px, {epochs} epochs: full fine-tuning {full:.1f} s", flush=True)
                for trainable in given.trainable:
                    _less(runs, full, given.seeds, given.every, trainable=trainable, epochs=epochs)


def _less(runs: Trainings, full: float, seeds: int, every: bool, **said: Any) -> None:
    runs.forget()
    found = [runs.seconds(seed=seed, **said) for seed in range(seeds)]
    first, *others = (seconds for seconds, _ in found)
    parts = {"first seed": first}
    if others:
        parts |= {"another": sum(others) / len(others), f"a run of {seeds} seeds": sum([first, *others]) / seeds}
    told = ", ".join(
        f"{name} {seconds:.2f} s ({seconds / full:.1%}, {'met' if seconds <= SHARE * full else 'missed'})"
        for name, seconds in parts.items()
    )
    print(f"  {said['trainable']}: {told}", flush=True)
    if every:
        runs.forget()
        with mock.patch.object(frozen, "spared", return_value=None):
            plain, score = runs.seconds(seed=0, **said)
        gap = abs(score - found[0][1])
        print(f"  for every batch {plain:.2f} s ({plain / full:.1%}); test scores differ by {gap:.4f}", flush=True)


if __name__ == "__main__":
    main()
