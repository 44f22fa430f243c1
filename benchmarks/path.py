"""The line between two networks, one thread: ours against the naive way, from the same image files.

Run `python benchmarks/path.py` (about an hour; `--images 250 --repeats 1 --naive-alphas 2 --steps 30` for a look).
Naive, as published: per alpha a new state dict, `load_state_dict`, and a float32 pass over JPEG files through PIL
transforms and a DataLoader; refreshed, also a training-mode pass of `--statistics` training images, likewise from
their files. Ours: `path` and `line_barrier` on the same files and transforms, decoding counted, in bfloat16 where the
processor has it (which the bars are meant for), else in float32. Networks: timm's ResNet-18 at 64 px with stages of 32
to 256 channels (`--width 64`: its usual ones), a pair trained from scratch (a barrier) and a pair fine-tuned from one
start (none, or little). `--naive-alphas` times the naive way at so many of the alphas only and scales up: it is linear
in them. Per repeat naive and ours run in turn; printed are medians of processor seconds and of the paired ratios, with
their range.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from machine import natural, say
from transferscope.models.precision import running
from transferscope.models.weights import blend
from transferscope.probes.walks.line_barrier import line_barrier
from transferscope.probes.walks.path import path
from transferscope.probes.walks.states import States

CLASSES, SIZE = 10, 64  # classes, pixels the network sees
DRAWN = 112  # pixels an image is drawn with
BATCH = 100
BARS = {"average": 4, "refresh": 5}
BARRIER_BARS = {"scratch": 10, "fine-tuned": 20}


class Files(Dataset[tuple[Tensor, int]]):
    """JPEG files `<class>-<number>.jpg`, decoded and transformed by PIL each time they are asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [transforms.Resize(72), transforms.CenterCrop(SIZE), transforms.ToTensor(), transforms.Normalize(0.5, 0.25)]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), int(self.paths[index].name.split("-")[0])


def loader(paths: list[Path], size: int = BATCH) -> DataLoader[Any]:
    return DataLoader(Files(paths), batch_size=size)


def draw(folder: Path, count: int, side: int, seed: int) -> list[Path]:
    """Gratings in noise, drawn small and enlarged to `side` pixels.

    A class is an angle and a colour, and every sixth image has the colour of another class.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir()
    grid = np.stack(np.meshgrid(np.arange(DRAWN), np.arange(DRAWN)), -1) / DRAWN
    paths = []
    for i in range(count):
        k = int(rng.integers(CLASSES))
        angle = np.pi * k / CLASSES + rng.normal(0, 0.12)
        wave = np.sin(2 * np.pi * (rng.uniform(5, 9) * grid @ [np.cos(angle), np.sin(angle)] + rng.random()))
        tint = np.array([np.cos(2 * np.pi * (k / CLASSES + s / 3)) for s in range(3)])
        tint = tint[rng.permutation(3)] if rng.random() < 1 / 6 else tint
        pixels = 128 + 40 * wave[..., None] + 10 * tint + rng.normal(0, 50, (DRAWN, DRAWN, 3))
        paths.append(folder / f"{k}-{i}.jpg")
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        image.resize((side, side), Image.Resampling.BICUBIC).save(paths[-1], quality=85)
    return paths


def train(net: nn.Module, x: Tensor, y: Tensor, steps: int, rate: float, seed: int) -> nn.Module:
    """SGD with momentum on images in memory, in what the processor has."""
    net = copy.deepcopy(net).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        pick = torch.randint(0, len(x), (32,), generator=order)
        optimiser.zero_grad()
        with running(natural(), "cpu"):
            loss = nn.functional.cross_entropy(net(x[pick]), y[pick])
        loss.backward()
        optimiser.step()
        schedule.step()
    return net.to(memory_format=torch.contiguous_format).eval()


def network(width: int) -> nn.Module:
    """ResNet-18 whose first stage has `width` channels."""
    from timm.models.resnet import BasicBlock, ResNet

    return ResNet(BasicBlock, (2, 2, 2, 2), CLASSES, channels=(width, 2 * width, 4 * width, 8 * width))


def pairs(paths: list[Path], steps: int, width: int) -> dict[str, tuple[nn.Module, nn.Module]]:
    batches = list(loader(paths))
    x = torch.cat([b[0] for b in batches]).contiguous(memory_format=torch.channels_last)
    y = torch.cat([b[1] for b in batches])
    scratch = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        scratch.append(train(network(width), x, y, steps, 0.05, seed))
    tuned = [train(scratch[0], x, y, steps // 3, 0.005, seed) for seed in (2, 3)]
    return {"scratch": (scratch[0], scratch[1]), "fine-tuned": (tuned[0], tuned[1])}


@dataclass
class Naive:
    """The naive way: logits (n, k) per alpha, in float32."""

    a: nn.Module
    b: nn.Module
    test: list[Path]
    train: list[Path]
    batch_norm: str

    def __call__(self, alphas: list[float]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        net, one, two = copy.deepcopy(self.a), self.a.state_dict(), self.b.state_dict()
        for alpha in alphas:
            state = {
                name: (1 - alpha) * one[name] + alpha * two[name] if one[name].is_floating_point() else one[name]
                for name in one
            }
            net.load_state_dict(state)
            if self.batch_norm == "refresh":
                self.refresh(net)
            net.eval()
            outputs, labels = [], []
            with torch.no_grad():
                for x, y in loader(self.test):
                    outputs.append(net(x.to(next(net.parameters()).dtype)))
                    labels.append(y)
            yield torch.cat(outputs).numpy(), torch.cat(labels).numpy()

    def refresh(self, net: nn.Module) -> None:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
                module.momentum = None
        net.train()
        with torch.no_grad():
            for x, _ in loader(self.train, len(self.train)):
                net(x.to(next(net.parameters()).dtype))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def shown(ratios: list[float]) -> str:
    return f"{median(ratios):5.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"


def met(value: float, bar: float, below: bool = False) -> str:
    return f"bar {bar:g}: {'met' if (value <= bar if below else value >= bar) else 'MISSED'}"


def compare(name: str, nets: tuple[nn.Module, nn.Module], files: dict[str, list[Path]], kind: str, given: Any) -> None:
    a, b = nets
    alphas = [float(x) for x in np.linspace(0, 1, given.alphas)]
    picks = list(range(len(alphas)))
    if given.naive_alphas:  # inner ones, which are all alike
        picks = np.unique(np.linspace(1, len(alphas) - 2, given.naive_alphas).round().astype(int)).tolist()
    chosen = [alphas[i] for i in picks]
    naive = Naive(a, b, files["test"], files["train"], kind)
    options = {"statistics": loader(files["train"]), "batch_norm": kind, "images": len(files["train"])}
    found: dict[str, Any] = {}
    seconds: dict[str, list[float]] = {"naive": [], "curve": [], "barrier": []}
    for _ in range(given.repeats):
        spent, slow = timed(lambda: list(naive(chosen)))
        seconds["naive"].append(spent * len(alphas) / len(chosen))
        works = (
            ("curve", lambda: path(a, b, loader(files["test"]), alphas=given.alphas, precision=natural(), **options)),
            ("barrier", lambda: line_barrier(a, b, Files(files["test"]), precision=natural(), **options)),
        )
        for word, work in works:
            if word in given.parts:
                spent, found[word] = timed(work)
                seconds[word].append(spent)
    print(f"{name} pair, batch norm {kind}: naive {median(seconds['naive']):.1f} s for {given.alphas} alphas")
    for word, bar in (("curve", BARS[kind]), ("barrier", BARRIER_BARS[name])):
        if word in found:
            ratios = [n / o for n, o in zip(seconds["naive"], seconds[word], strict=True)]
            print(f"  {word:8}{median(seconds[word]):7.1f} s  {shown(ratios)}  {met(median(ratios), bar)}")
    if curve := found.get("curve"):
        gap = float(np.abs(curve.error[0, picks] - [float((z.argmax(1) != y).mean()) for z, y in slow]).max())
        print(f"  accuracy, {natural()} against naive: {gap:.4f}  {met(gap, 0.003, True)}")
        print(f"  barrier of the curve {curve.barrier().text()}")
    if alone := found.get("barrier"):
        print(
            f"  barrier alone {alone.height:.4f} [{alone.low:.4f}, {alone.high:.4f}]: {alone.passes:.2f} passes, "
            f"{alone.refreshed} images for statistics, {len(alone.alphas)} alphas"
        )
    if curve and alone:
        gap = abs(alone.height - curve.barrier().mean)
        print(f"  the two differ by {gap:.4f}  {met(gap, 0.01, True)}")
    exact(nets, files, kind, chosen, [z for z, _ in slow])


def exact(
    nets: tuple[nn.Module, nn.Module], files: dict[str, list[Path]], kind: str, alphas: list[float], slow: list[Any]
) -> None:
    """Largest difference of float32 logits from the naive ones; at one alpha, how far either is from float64."""
    a, b = (net.state_dict() for net in nets)
    gaps, ours = [], []
    with States(nets[0], loader(files["test"]), statistics=loader(files["train"]), images=len(files["train"])) as at:
        for alpha, wanted in zip(alphas, slow, strict=True):
            how = "refresh" if kind == "refresh" else "as found"
            ours.append(at(blend(a, b, alpha), batch_norm=how)["data"].logits)  # type: ignore[arg-type]
            gaps.append(float(np.abs(ours[-1] - wanted).max()))
    largest, gap = max(float(np.abs(z).max()) for z in slow), max(gaps)
    print(
        f"  float32 logits against naive: {gap:.1e}, of the largest logit {gap / largest:.1e}  {met(gap, 1e-5, True)}"
    )
    middle, few = len(alphas) // 2, 50
    naive = Naive(*(copy.deepcopy(net).double() for net in nets), files["test"][:few], files["train"], kind)
    truth, _ = next(naive([alphas[middle]]))
    print(
        f"  distance from float64 of {few} images: naive {np.abs(slow[middle][:few] - truth).max():.1e}, "
        f"ours {np.abs(ours[middle][:few] - truth).max():.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--side", type=int, default=400, help="pixels of the files: decoding them is part of both ways")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--alphas", type=int, default=21)
    parser.add_argument("--naive-alphas", type=int, default=0, help="alphas the naive way is timed at (0: all)")
    parser.add_argument("--statistics", type=int, default=250, help="images for batch norm's statistics")
    parser.add_argument("--steps", type=int, default=200, help="training steps from scratch")
    parser.add_argument("--pairs", nargs="*", default=["scratch", "fine-tuned"], choices=["scratch", "fine-tuned"])
    parser.add_argument("--parts", nargs="*", default=["curve", "barrier"], choices=["curve", "barrier"])
    parser.add_argument("--kinds", nargs="*", default=list(BARS), choices=list(BARS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    say(natural())
    with tempfile.TemporaryDirectory() as folder:
        pool = draw(Path(folder) / "train", max(1000, given.statistics), given.side, 0)
        files = {"train": pool[: given.statistics], "test": draw(Path(folder) / "test", given.images, given.side, 1)}
        began = time.process_time()
        decoding = timed(lambda: sum(len(x) for x, _ in loader(files["test"])))[0] / given.images
        made = pairs(pool, given.steps, given.width)
        print(f"decoding takes {1000 * decoding:.2f} ms an image")
        print(
            f"{given.images} images of {given.side} px, ResNet-18 at {SIZE} px, one thread, {given.repeats} repeats; "
            f"four networks trained in {time.process_time() - began:.0f} CPU s"
        )
        for name in given.pairs:
            for kind in given.kinds:
                compare(name, made[name], files, kind, given)


if __name__ == "__main__":
    main()
