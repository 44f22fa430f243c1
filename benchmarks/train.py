"""A whole training run from JPEG files, one thread: transferscope against the paper's loop, timm and Lightning.

Run `python benchmarks/train.py` (ResNet-18 at 64 px, minutes a run) or `--rivals ours bfloat16 paper --repeats 3`.
Every run is a process of its own, one after the other, rivals in turn; seconds are processor time (user and system)
from the first look at the files to the last checkpoint, libraries loaded. All train the same network from the same
initial weights for as many epochs, batches and learning rates, with the same crops' law, flips and normalisation, and
after every epoch evaluate on the test and the training images and save a checkpoint. Only transferscope evaluates on
a few validation images too. Its two runs (float32, bfloat16) start as its workers do, the others as users start Python.
The pictures are synthetic, 400 px: one of eight stars, somewhere on a patterned ground.
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
import torch.nn.functional as F
from PIL import Image, ImageDraw

from transferscope.data.batches import IMAGENET_MEAN, IMAGENET_STD
from transferscope.models.build import build_network
from transferscope.tasks.schedule import Schedule

CLASSES = 8
SCALE, RATIO = (0.35, 1.0), (3 / 4, 4 / 3)
LR, MOMENTUM, DECAY = 0.05, 0.9, 1e-4
Result = dict[str, Any]


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


# -- what all plain loops share ----------------------------------------------------------------------------------------


def folders(given: argparse.Namespace, train_transform: Any, eval_transform: Any) -> tuple[Any, Any, Any]:
    """Training images, the same for evaluation, and test images."""
    from torchvision.datasets import ImageFolder

    root = Path(given.folder)
    return (
        ImageFolder(root / "train", train_transform),
        ImageFolder(root / "train", eval_transform),
        ImageFolder(root / "test", eval_transform),
    )


def transforms(size: int) -> tuple[Any, Any]:
    from torchvision import transforms as t

    finish = [t.ToTensor(), t.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
    crop = [t.RandomResizedCrop(size, scale=SCALE, ratio=RATIO), t.RandomHorizontalFlip()]
    return t.Compose(crop + finish), t.Compose([t.Resize((size, size)), *finish])


def schedule(given: argparse.Namespace) -> Schedule:
    return Schedule("cosine", LR, given.epochs, 1.0, (), 0.1)


def accuracy(net: torch.nn.Module, loader: Any) -> float:
    net.eval()
    right = seen = 0
    with torch.no_grad():
        for x, y in loader:
            right += int((net(x).argmax(1) == y).sum())
            seen += len(y)
    return right / seen


# -- the rivals --------------------------------------------------------------------------------------------------------


def paper(given: argparse.Namespace) -> Result:
    """The loop of the paper's code on this torch: PIL, a DataLoader, NCHW float32, SGD."""
    from torch.utils.data import DataLoader

    torch.manual_seed(given.seed)
    train, again, test = folders(given, *transforms(given.size))
    loader = DataLoader(train, given.batch, shuffle=True)
    evals = [DataLoader(d, 256) for d in (again, test)]
    net = build_network(given.network, CLASSES, seed=given.seed)
    optimizer = torch.optim.SGD(net.parameters(), LR, MOMENTUM, weight_decay=DECAY)
    rates = schedule(given)
    for epoch in range(given.epochs):
        net.train()
        for number, (x, y) in enumerate(loader):
            for group in optimizer.param_groups:
                group["lr"] = rates.at(epoch + number / len(loader))
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
        scores = [accuracy(net, e) for e in evals]
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, Path(given.scratch) / "last.pt")
    return {"train": scores[0], "test": scores[1]}


def timm(given: argparse.Namespace) -> Result:
    """timm's own pieces, put together as its train.py does for a CPU."""
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import CheckpointSaver

    torch.manual_seed(given.seed)
    options = {
        "input_size": (3, given.size, given.size), "batch_size": given.batch, "use_prefetcher": False,
        "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "num_workers": 0, "device": torch.device("cpu"),
    }  # fmt: skip
    train, again, test = (create_dataset("", root=given.folder, split=s) for s in ("train", "train", "test"))
    loader = create_loader(train, is_training=True, scale=SCALE, ratio=RATIO, color_jitter=None,
                           interpolation="bilinear", persistent_workers=False, **options)  # fmt: skip
    evals = [create_loader(d, interpolation="bilinear", crop_pct=1.0, persistent_workers=False,
                           **options | {"batch_size": 256}) for d in (again, test)]  # fmt: skip
    net = build_network(given.network, CLASSES, seed=given.seed)
    optimizer = create_optimizer_v2(net, opt="momentum", lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    rates, _ = create_scheduler_v2(optimizer, "cosine", num_epochs=given.epochs, warmup_epochs=1, warmup_lr=LR / 100,
                                   step_on_epochs=False, updates_per_epoch=len(loader))  # fmt: skip
    saver = CheckpointSaver(net, optimizer, checkpoint_dir=given.scratch, recovery_dir=given.scratch, max_history=2)
    for epoch in range(given.epochs):
        net.train()
        for number, (x, y) in enumerate(loader):
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step_update(epoch * len(loader) + number + 1)
            loss.item()
        scores = [accuracy(net, e) for e in evals]
        saver.save_checkpoint(epoch, metric=scores[1])
    return {"train": scores[0], "test": scores[1]}


def lightning(given: argparse.Namespace) -> Result:
    """A Lightning Trainer as its guide writes one, with two validation loaders."""
    import lightning
    from torch.utils.data import DataLoader

    rates = schedule(given)
    train, again, test = folders(given, *transforms(given.size))

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = build_network(given.network, CLASSES, seed=given.seed)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            loss = F.cross_entropy(self.net(batch[0]), batch[1])
            self.log("loss", loss, on_epoch=True, on_step=False)
            return loss

        def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
            right = (self.net(batch[0]).argmax(1) == batch[1]).float().mean()
            self.log("right", right, batch_size=len(batch[1]))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), LR, MOMENTUM, weight_decay=DECAY)
            share = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: rates.at(n / len(loader)) / LR)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": share, "interval": "step"}}

    lightning.seed_everything(given.seed, verbose=False)
    loader = DataLoader(train, given.batch, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=given.epochs, accelerator="cpu", default_root_dir=given.scratch, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Module(), loader, [DataLoader(again, 256), DataLoader(test, 256)])
    found = trainer.callback_metrics
    return {name: float(found[f"right/dataloader_idx_{i}"]) for i, name in enumerate(("train", "test"))}


def ours(given: argparse.Namespace, precision: str = "float32") -> Result:
    """transferscope's own steps, decoding included, as one of its workers does them."""
    from transferscope.engine.plan import Cell, Plan
    from transferscope.engine.store import Store
    from transferscope.engine.work import Work
    from transferscope.engine.worker import execute
    from transferscope.study import Study
    from transferscope.tasks import loop

    spent = {"steps": 0.0, "evaluation": 0.0}

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return call(*args, **options)
            finally:
                spent[name] += time.process_time() - began

        return run

    loop._Run._batch = counted("steps", loop._Run._batch)
    loop._Run.predict = counted("evaluation", loop._Run.predict)
    recipe = {"epochs": given.epochs, "batch_size": given.batch, "lr": LR, "precision": precision}
    study = Study.parse(
        {"targets": {"shapes": f"folder:{given.folder}"}, "network": given.network, "image_size": given.size,
         "arms": ["random"], "recipe": recipe}, folder=Path(given.scratch)
    )  # fmt: skip
    store = Store(study.store_folder)
    store.prepare()
    run = study.run("shapes", "random", given.seed)
    for step in Plan.of([Cell("benchmark", {}, run)]).todo(store):
        outcome = execute(step.recipe, store, Work(store.root, cores=1, threads=1))
        assert outcome.status == "done", outcome.error
    last = store.get(run).rows[-1]
    return {"train": last["train_metric"], "test": last["test_metric"], **spent}


RIVALS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "ours": ours,
    "bfloat16": lambda given: ours(given, "bfloat16"),
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
    from transferscope.engine.execute import worker_environment

    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if name in ("ours", "bfloat16"):
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
    parser.add_argument("--rivals", nargs="+", default=["ours", "bfloat16", "paper", "timm"], choices=RIVALS)
    parser.add_argument("--network", default="timm:resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=960, help="training images; a third as many to test on")
    parser.add_argument("--repeats", type=int, default=3)
    for hidden in ("--one", "--folder", "--scratch"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return alone(given)
    runs: dict[str, list[Result]] = {name: [] for name in given.rivals}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), given.images, CLASSES, given.images // 3)
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
        if "steps" in found[0]:
            rest = [1 - (r["steps"] + r["evaluation"]) / r["seconds"] for r in found]
            evals = [r["evaluation"] / r["seconds"] for r in found]
            line += f"  evaluation {statistics.median(evals):.1%}, neither steps nor that {statistics.median(rest):.1%}"
        print(line)
    return None


if __name__ == "__main__":
    main()
