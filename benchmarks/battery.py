"""The whole battery of a finished study against the same battery from the scripts and packages that people have.

Run `transferscope quickstart`, then `python benchmarks/battery.py transferscope-quickstart/study.yaml` (some minutes;
`pip install pytorch-cka` for its row). Ours is what the study's steps took when they ran, from the store. The naive way
is timed here on a sample of every kind of work, in float32 and one thread, and multiplied by how often the study's plan
asks for it:

- training: one epoch of the paper's loop (`loops.paper`: PIL, DataLoader, train and test images evaluated and saved
  after it), for every epoch of every training; shuffled ones also pay the usual unfold, permute, fold for every image;
- lines, averages and WiSE-FT: one point (weights put together and loaded, statistics of batch norm re-estimated from
  files, a pass over the test files) for every point;
- similarity: pytorch-cka on one pair, for every pair;
- spectra: singular values of every weight of two networks, for every pair;
- rewinding and criticality: new weights, statistics and a full pass over images in memory, for every variant; of
  criticality every cell of the grid.

What else the study does (decoding, mistakes, distances) counts the same on both sides. In the naive way's favour
the files are PNGs of the size of the study's table, smaller than what the pictures came from, and weights are random,
which costs the same. Printed are medians over `--repeats` samples with their range.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import loops
import path
from machine import natural, say
from shuffle import unfold_permute_fold
from transferscope import battery
from transferscope.data import open_squares
from transferscope.data.shuffle import block_permutation
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.models.blocks import blocks
from transferscope.models.build import build_network
from transferscope.study import Study

ROWS = {  # rows of the table, and the tasks whose seconds are ours
    "training": ("train",),
    "lines": ("line",),
    "averages, WiSE-FT": ("soup", "wise"),
    "similarity": ("features", "similarity"),
    "spectra": ("spectrum",),
    "rewinding": ("rewind",),
    "criticality": ("criticality",),
}


def write_files(folder: Path, table: Any) -> dict[str, list[Path]]:
    """The table's pictures as PNGs: `<split>/<class>/...` for the loop, `flat/<split>/<class>-...` for the lines."""
    flat: dict[str, list[Path]] = {}
    pixels, labels = table.pixels("train"), table.labels
    for split in ("train", "test"):
        flat[split] = []
        (folder / "flat" / split).mkdir(parents=True)
        for row in table.rows[split]:
            image, label = Image.fromarray(np.asarray(pixels[row])), int(labels[row])
            own = folder / split / f"{label:03d}" / f"{row}.png"
            own.parent.mkdir(parents=True, exist_ok=True)
            image.save(own)
            flat[split].append(folder / "flat" / split / f"{label}-{row}.png")
            image.save(flat[split][-1])
    return flat


def seconds(work: Callable[[], Any], repeats: int) -> list[float]:
    """Processor seconds of each repeat."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return found


class Naive:
    """Every kind of work once, as published scripts and packages do it."""

    def __init__(self, study: Study, folder: Path, table: Any) -> None:
        self.study, self.folder = study, folder
        self.files = write_files(folder, table)
        self.classes, self.size = len(table.classes), study.image_size
        self.nets = [build_network(study.network, self.classes, seed=seed).eval() for seed in (0, 1)]
        pick = table.rows["train"]
        pixels = np.stack([np.asarray(table.pixels("eval")[row]) for row in pick])
        self.x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
        self.y = torch.from_numpy(np.asarray(table.labels[pick]))

    def epoch(self) -> None:
        loops.CLASSES = self.classes
        given = {"folder": self.folder, "scratch": self.folder, "size": self.size, "seed": 0, "epochs": 1}
        loops.paper(argparse.Namespace(**given, network=self.study.network, batch=self.study.recipe.batch_size))

    def shuffled(self, block: int) -> None:
        unfold_permute_fold(self.x[:100], block_permutation(self.size, block, seed=0), block)

    def point(self, statistics: int) -> None:
        line = path.Naive(*self.nets, self.files["test"], self.files["train"][:statistics], "refresh")
        next(iter(line([0.5])))

    def pair(self, images: int, batch: int) -> None:
        from cka import compute_cka  # pytorch-cka

        loader = torch.utils.data.DataLoader(self.x[:images], batch_size=batch)
        names = [block.name for block in blocks(self.nets[0])]
        compute_cka(*self.nets, loader, layers=names, device="cpu", progress=False)

    def spectra(self) -> None:
        for net in self.nets:
            for weight in net.parameters():
                if weight.ndim > 1:
                    torch.linalg.svdvals(weight.detach().flatten(1))

    def variant(self, statistics: int, images: int) -> None:
        """New weights, their statistics, one pass over all images."""
        net = copy.deepcopy(self.nets[0])
        net.load_state_dict({name: value.clone() for name, value in self.nets[1].state_dict().items()})
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        with torch.no_grad():
            net.train()(self.x[:statistics])
            net.eval()
            for x in self.x[:images].split(100):
                net(x)


def asked(steps: Iterable[Step], store: Store, naive: Naive, repeats: int) -> dict[str, list[float]]:
    """Seconds of the naive way by row, one value a repeat."""
    known: dict[Any, list[float]] = {}

    def times(count: float, what: Callable[..., None], *how: Any, share: float = 1.0) -> list[float]:
        key = (what.__name__, *how)
        if key not in known:
            known[key] = seconds(lambda: what(*how), repeats)
            print(f"  sampled {' '.join(map(str, key))}: {statistics.median(known[key]):.2f} s", flush=True)
        return [count * share * one for one in known[key]]

    found = {name: [0.0] * repeats for name in ROWS}
    whole = len(naive.files["train"]) * 2 + len(naive.files["test"])  # trained on once, evaluated twice
    for step in steps:
        given, task = step.params, step.task
        row = next((name for name, tasks in ROWS.items() if task in tasks), None)
        several: list[list[float]] = []
        if task == "train":
            several.append(times(given["epochs"], naive.epoch))
            if given["shuffle"]:
                several.append(times(given["epochs"], naive.shuffled, given["shuffle"]["block"], share=whole / 100))
        elif task == "line":
            several.append(times(given["alphas"], naive.point, given["statistics"]))
        elif task == "wise":
            several.append(times(len(given["alphas"]), naive.point, given["statistics"]))
        elif task == "soup":
            several.append(times(len(given["runs"]) + 1, naive.point, given["statistics"]))
        elif task == "similarity":
            several.append(times(1, naive.pair, given["a"].params["images"], given["a"].params["batch"]))
        elif task == "spectrum":
            several.append(times(1, naive.spectra))
        elif task == "rewind":
            variants = len(store.get(step).rows)
            several.append(times(variants, naive.variant, given["statistics"], given["images"]))
        elif task == "criticality":
            cut = len(blocks(naive.nets[0]))
            cells = cut * given["alphas"] * given["sigmas"] * given["draws"]
            several.append(times(cells, naive.variant, given["images"], given["images"]))
        for values in several:
            assert row is not None
            found[row] = [a + b for a, b in zip(found[row], values, strict=True)]
    return found


def told(name: str, ours: float, naive: list[float]) -> None:
    ratio = [one / ours for one in naive] if ours else [float("nan")]
    print(
        f"{name:28}{ours:9.0f}{statistics.median(naive):11.0f}{statistics.median(ratio):9.1f}"
        f"  ({min(ratio):.1f} to {max(ratio):.1f})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a finished study of pictures with one target")
    parser.add_argument("--repeats", type=int, default=3, help="samples of every kind of work")
    given = parser.parse_args()
    torch.set_num_threads(1)
    say(f"ours {natural()}, naive float32")
    study = Study.load(given.study)
    plan, store = battery.plan(study)
    spent: dict[str, float] = {}
    for step in plan.steps:
        said = json.loads((store.get(step).path / "step.json").read_text())
        spent[step.task] = spent.get(step.task, 0.0) + said["cpu_seconds"]
    table = open_squares(store.get(next(step for step in plan.steps if step.task == "ingest")).path)
    with tempfile.TemporaryDirectory() as folder:
        naive = asked(plan.steps, store, Naive(study, Path(folder), table), given.repeats)
    print(f"{'':28}{'ours s':>9}{'naive s':>11}{'ratio':>9}")
    ours = {name: sum(spent.pop(task, 0.0) for task in tasks) for name, tasks in ROWS.items()}
    rest = sum(spent.values())
    for name in ROWS:
        told(name, ours[name], naive[name])
    told("the rest, the same", rest, [rest] * given.repeats)
    for word, left in (("all", ()), ("all without criticality", ("criticality",))):
        kept = [name for name in ROWS if name not in left]
        sums = [rest + sum(naive[name][i] for name in kept) for i in range(given.repeats)]
        told(word, rest + sum(ours[name] for name in kept), sums)


if __name__ == "__main__":
    main()
