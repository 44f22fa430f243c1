"""On a GPU: training against the bare step rate of the same network, and runs an hour by how many share the device.

python benchmarks/device.py                                    # ResNet-50 at 224 px against its bare steps
python benchmarks/device.py --share 1 2 4 8                    # EfficientNet-Lite0 at 64 px: runs an hour by slots
python benchmarks/device.py --device cpu --network timm:resnet18 --size 64 --images 320 --batch 32 --seconds 5 # a trial

The bare rate is that of the network and its optimiser on one batch that is already on the device. Ours is a whole
epoch of the training loop: order, crops, flips, normalisation, steps, losses read, from images kept on the device.
The images are fractals; no run learns anything worth knowing. Rates are taken in turn and paired.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from machine import natural, say
from transferscope import devices
from transferscope.timing.step_time import Question, loops

CLASSES = 10


def bare(given: argparse.Namespace) -> float:
    """Images a second of training steps on one batch, and nothing else."""
    from transferscope.models.build import build_network

    question = Question(given.network, given.size, given.batch, given.device, torch.get_num_threads())
    step, _ = loops(build_network(given.network, CLASSES, seed=0), given.precision, question, question.batch_size)
    steps, began = 0, 0.0
    for number in range(1_000_000):
        step()
        if number < 10:  # the first steps choose kernels
            _wait(given.device)
            began = time.perf_counter()
            continue
        steps += 1
        if steps % 10 == 0:
            _wait(given.device)
            if time.perf_counter() - began > given.seconds:
                break
    return steps * given.batch / (time.perf_counter() - began)


def _wait(device: str) -> None:
    devices.synchronise(device)


def _study(given: argparse.Namespace, folder: Path, **recipe: Any) -> Any:
    from transferscope.study import Study

    how = {"batch_size": given.batch, "lr": 0.01, "precision": given.precision, "evaluate": 16, **recipe}
    return Study.parse(
        {
            "targets": {"fractals": f"fractals:{CLASSES}/{-(-given.images * 3 // 2 // CLASSES)}"},
            "arms": ["random"],
            "network": given.network,
            "image_size": given.size,
            "recipe": how,
            "seeds": 1,
            "analyses": ["transfer"],
            "resources": {"device": given.device.partition(":")[0]},
        },
        folder=folder,
    )


def ours(given: argparse.Namespace, folder: Path, epochs: int = 4) -> list[float]:
    """Images a second of every epoch but the first of a training run."""
    from transferscope.data import open_squares
    from transferscope.engine.plan import Cell, Plan
    from transferscope.engine.store import Store
    from transferscope.engine.task_context import Work
    from transferscope.engine.worker import execute

    study = _study(given, folder, epochs=epochs)
    store = Store(study.store_folder)
    store.prepare()
    run = study.run("fractals", "random", int(time.time_ns() % 2**31))  # another seed each time: never cached
    for step in Plan.of([Cell("benchmark", {}, run)]).todo(store):
        outcome = execute(step.job, store, Work(store.root, 4, torch.get_num_threads(), given.device))
        assert outcome.status == "done", outcome.error
    images = len(open_squares(store.get(study.data("fractals")).path).rows["train"])
    timing = json.loads((store.get(run).path / "timing.json").read_text())
    return [images / epoch["train_seconds"] for epoch in timing[2:]]


def hourly(given: argparse.Namespace, folder: Path, slots: int, runs: int) -> float:
    """Runs an hour of a study of `runs` equal trainings, `slots` of them at once, workers' start left out."""
    from transferscope.engine.executors import Slots
    from transferscope.engine.executors.local import Local
    from transferscope.engine.plan import Cell, Plan
    from transferscope.engine.store import Store

    study = _study(given, folder, epochs=given.epochs)
    store = Store(study.store_folder)
    store.prepare()
    first = time.time_ns() % 2**31
    steps = [study.run("fractals", "random", first + i) for i in range(runs)]
    plan = Plan.of([Cell("benchmark", {"seed": i}, step) for i, step in enumerate(steps)])
    ended: list[float] = []

    def watch(event: str, what: Any) -> None:
        if event == "ended" and what["status"] == "done":
            ended.append(time.perf_counter())

    Local(Slots((given.device,) * slots, 1, slots)).run(plan.todo(store), store, watch)
    ended = ended[-runs:]
    warm = ended[slots - 1 :]  # from when every worker has done its first
    return 3600 * (len(warm) - 1) / (warm[-1] - warm[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--images", type=int, help="training images, about")
    parser.add_argument("--precision", help="by default what the device has: bfloat16, else float32")
    parser.add_argument("--seconds", type=float, default=10.0, help="of bare steps")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--share", type=int, nargs="+", help="time so many runs at once instead")
    parser.add_argument("--epochs", type=int, default=20, help="of a run with --share")
    given = parser.parse_args()
    large = {"network": "timm:resnet50", "size": 224, "batch": 128, "images": 4096}
    small = {"network": "timm:tf_efficientnet_lite0", "size": 64, "batch": 32, "images": 1400}
    for name, value in (small if given.share else large).items():
        setattr(given, name, getattr(given, name) or value)
    if devices.kind(given.device) not in ("cpu", devices.found().kind):
        raise SystemExit("No GPU: nothing to time. Try --device cpu with small sizes.")
    given.precision = given.precision or natural(given.device)
    say(given.precision, given.device)
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{given.network} at {given.size} px, batch {given.batch}, {given.precision}, {given.device}")
        if given.share:
            for slots in given.share:
                print(f"  {slots} at once: {hourly(given, Path(scratch), slots, 4 * slots):.0f} runs an hour")
            return
        shares = []
        for _ in range(given.repeats):
            rate = bare(given)
            epochs = ours(given, Path(scratch))
            shares.append(statistics.median(epochs) / rate)
            print(f"  bare {rate:.1f} images/s, training {statistics.median(epochs):.1f}: {shares[-1]:.1%}", flush=True)
        spread = f"{min(shares):.1%} to {max(shares):.1%}"
        print(f"  median {statistics.median(shares):.1%} of the bare rate, {spread} (bar 90%)")


if __name__ == "__main__":
    main()
