"""Block shuffling, one thread: against unfold-permute-fold per image, against a plain copy, and in a training step.

Run `python benchmarks/shuffle.py` (2 minutes), or `--step` for the slowdown of a training step, and for the bytes of an
image in a table written once for each seed and block, which would spare the gather. Every repeat times all
rivals in turn, in processor seconds of this process; printed are medians over repeats, with the range of the paired
ratios. "clone" is a plain copy of the batch into a new tensor, "copy" one into memory already there. The process starts
as training workers do, with an allocator that keeps freed memory, so that a clone costs what a copy does; `--fresh`
starts it as Python does and gives freed memory back before every run: whatever is new costs page faults.
`--format channels_last` and `--uint8` measure the forms in which training meets the batch (the slow way is always
float32).

The bars: at least 10 times the slow way, at most 1.5 times the clone, and at most 2% of a training step. A large copy
streams past the cache, reading and writing every byte once; a gather writes lines that the processor reads first, three
passes instead of two, so that 1.5 times a copy into memory already there is its floor before a single value moves.
"""

import argparse
import ctypes
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F

from machine import say
from transferscope.data.batches import Batch, Batches
from transferscope.data.shuffle import Block, block_permutation, shuffle
from transferscope.engine.environment import worker_environment
from transferscope.models.build import build_network
from transferscope.models.precision import prepare

NETWORKS = ("timm:resnet18", "timm:tf_efficientnet_lite0")
FASTER, COPIES, SLOWDOWN = 10.0, 1.5, 0.02


def unfold_permute_fold(x: torch.Tensor, permutation: np.ndarray, b: Block) -> torch.Tensor:
    """The usual way: each image by itself."""
    index = torch.from_numpy(permutation)
    out = []
    for image in x:
        if b == "channels":
            out.append(image.reshape(-1)[index].view(image.shape))
        else:
            patches = F.unfold(image[None], b, stride=b)
            out.append(F.fold(patches[:, :, index], image.shape[-2:], b, stride=b)[0])
    return torch.stack(out)


def in_turn(runs: dict[str, Callable[[], object]], repeats: int, fresh: bool = False) -> dict[str, np.ndarray]:
    """Milliseconds of processor time of every run, (repeats,) each; the first round only warms up."""
    give_back = ctypes.CDLL(None).malloc_trim if fresh else lambda keep: None
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            give_back(0)
            start = time.process_time()
            run()
            if repeat:
                taken[name].append(1e3 * (time.process_time() - start))
    return {name: np.array(times) for name, times in taken.items()}


def ratio(a: np.ndarray, b: np.ndarray) -> tuple[float, str]:
    """Median of the paired ratios, and in words with the range."""
    found = a / b
    return float(np.median(found)), f"{np.median(found):5.2f} ({found.min():.2f}-{found.max():.2f})"


def batch(options: argparse.Namespace) -> None:
    """One line for every block size of a whole batch."""
    floats = torch.randn(options.batch, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    if options.format == "channels_last":
        floats = floats.contiguous(memory_format=torch.channels_last)
    ours = (floats * 50 + 128).clamp(0, 255).to(torch.uint8) if options.uint8 else floats
    print(f"{tuple(ours.shape)} {ours.dtype} {options.format}: milliseconds, then ratios (range)")
    there = torch.empty_like(ours)
    for b in [*(b for b in (1, 8, 32, 112) if options.size % b == 0), "channels"]:
        permutation = block_permutation(options.size, b, seed=0)
        if not torch.equal(shuffle(floats[:2], permutation), unfold_permute_fold(floats[:2], permutation, b)):
            raise SystemExit(f"the two disagree at b = {b}")
        times = in_turn(
            {
                "slow": lambda p=permutation, b=b: unfold_permute_fold(floats, p, b),
                "shuffle": lambda p=permutation: shuffle(ours, p),
                "clone": ours.clone,
                "copy": lambda: there.copy_(ours),
            },
            options.repeats,
            options.fresh,
        )
        faster, faster_text = ratio(times["slow"], times["shuffle"])
        copies, copies_text = ratio(times["shuffle"], times["clone"])
        print(
            f"  b = {b!s:8} "
            + "  ".join(f"{name} {np.median(taken):6.1f}" for name, taken in times.items())
            + f"   slow / shuffle {faster_text} {verdict(faster >= FASTER)}"
            + f"   shuffle / clone {copies_text} {verdict(copies <= COPIES)}",
            flush=True,
        )


class Memory:
    """A table of random images held in memory."""

    def __init__(self, n: int, size: int) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)

    def gather(self, rows: np.ndarray, which: str) -> np.ndarray:
        return self.images[rows]

    def pixels(self, which: str) -> np.ndarray:
        return self.images


def endless(table: Memory, size: int, batch_size: int, permutation: np.ndarray | None) -> Iterator[Batch]:
    """Training batches without augmentation, epoch after epoch."""
    rows, labels = np.arange(len(table.images)), np.arange(len(table.images)) % 10
    for epoch in itertools.count():
        yield from Batches(
            table, rows, labels, size=size, batch_size=batch_size, seed=0, epoch=epoch, permutation=permutation
        )


def step(options: argparse.Namespace, batch_size: int = 32) -> None:
    """Training steps, input included, on shuffled and on unshuffled batches in turn; and the input by itself."""
    size = options.size
    table = Memory(32 * batch_size, size)
    for network in NETWORKS:
        net = prepare(build_network(network, 10, seed=0), "cpu").train()
        optimizer = torch.optim.SGD(net.parameters(), 0.01, 0.9)

        def train(batches: Iterator[Batch], net: torch.nn.Module = net, sgd: torch.optim.SGD = optimizer) -> None:
            x, y, _ = next(batches)
            loss = F.cross_entropy(net(x), y)
            sgd.zero_grad()
            loss.backward()
            sgd.step()

        print(f"{network} at {size} px, batches of {batch_size}: milliseconds, then the slowdown of the step")
        for b in [*(b for b in (1, 8, 32) if size % b == 0), "channels"]:
            permutation = block_permutation(size, b, seed=0)
            plain, moved = (endless(table, size, batch_size, p) for p in (None, permutation))
            times = in_turn(
                {
                    "step": lambda train=train, batches=plain: train(batches),
                    "shuffled": lambda train=train, batches=moved: train(batches),
                    "input": lambda batches=plain: next(batches),
                    "input shuffled": lambda batches=moved: next(batches),
                },
                options.repeats,
            )
            _, text = ratio(times["shuffled"], times["step"])
            added = float(np.median(times["input shuffled"]) - np.median(times["input"]))
            share = added / float(np.median(times["step"]))
            print(
                f"  b = {b!s:8} "
                + "  ".join(f"{name} {np.median(taken):6.2f}" for name, taken in times.items())
                + f"   shuffled / step {text}   by the input alone {share:+.2%} {verdict(share <= SLOWDOWN)}"
                + f"   an image written once {image_bytes(size, b) / 1e3:.0f} kB",
                flush=True,
            )


def image_bytes(size: int, b: Block) -> int:
    """Of one image in a table that was shuffled before: bytes, or floats where channels were normalised first."""
    return 3 * size * size * (4 if b == "channels" else 1)


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, help="5 for a batch, 41 for steps")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, help="224 for a batch, 64 for steps")
    parser.add_argument("--format", choices=("contiguous", "channels_last"), default="contiguous")
    parser.add_argument("--uint8", action="store_true", help="move bytes, before normalisation")
    parser.add_argument("--fresh", action="store_true", help="start as Python does, not as training workers do")
    parser.add_argument("--step", action="store_true", help="the slowdown of a training step instead")
    options = parser.parse_args()
    environment = worker_environment(1)
    if not options.fresh and any(os.environ.get(name) != value for name, value in environment.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | environment)
    torch.set_num_threads(1)
    options.size = options.size or (64 if options.step else 224)
    options.repeats = options.repeats or (41 if options.step else 5)
    say("float32")
    (step if options.step else batch)(options)


if __name__ == "__main__":
    main()
