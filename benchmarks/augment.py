"""Augmentations, one thread: what each takes an image, beside crop and flip, and beside torchvision's own call.

Run `python benchmarks/augment.py`. Each is done to the same batch, one after the other in every repeat, in CPU seconds
of this process; printed are medians over repeats. "bare" is the same transform called on the images in turn, without a
seed for each: the price of draws that no batch changes is the difference.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from machine import say
from transferscope.data.augment import CropAndFlip, crop_boxes, crop_resize
from transferscope.tasks import augmentations
from transferscope.tasks.augmented import augmented

BATCH = 32
SURE = {"random_erasing": {"p": 1.0}, "vertical_flip": {"p": 1.0}}  # done to every image
FURTHER = {"color_jitter with hue": {"color_jitter": {"hue": 0.1}}}


def paths(side: int) -> dict[str, tuple[Callable[[], object], Callable[[], object] | None]]:
    """By name what is timed, and the bare transform where there is one, on crops of `side` pixels."""
    rng, rows = np.random.default_rng(0), np.arange(BATCH)
    table = rng.integers(0, 256, (BATCH, round(1.5 * side), round(1.5 * side), 3), dtype=np.uint8)
    how = CropAndFlip((0.35, 1.0))

    def crop() -> torch.Tensor:
        boxes, flips = crop_boxes(rows, seed=0, epoch=0, table_size=table.shape[1], scale=how.scale, ratio=how.ratio)
        return crop_resize(table, rows, boxes, flips, side)

    crops = crop()
    x, labels, onward = crops.float() / 100, torch.zeros(BATCH, dtype=torch.long), [*range(1, BATCH), 0]
    pairs, answers, places = torch.cat([x, x[:1]]), torch.cat([labels, labels[:1]]), np.append(rows, rows[:1])
    found: dict[str, tuple[Callable[[], object], Callable[[], object] | None]] = {"crop and flip": (crop, None)}
    named = {name: {name: SURE.get(name, {})} for name in augmentations.names()}
    for name, entry in {**named, **FURTHER}.items():
        after = augmented([augmentations.settled(entry)], seed=0, epoch=0)
        for mix in after.mixes.values():
            found[name] = (
                lambda after=after: after.mixed(pairs, answers, places, 2),
                lambda mix=mix: [mix(x[one], x[other]) for one, other in enumerate(onward)],
            )
        for alter in after.alters.values():
            found[name] = (
                lambda after=after: after.altered(crops, rows),
                lambda alter=alter: [alter(image.contiguous()) for image in crops],
            )
    return found


def seconds(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    say("float32")
    for side in (64, 224):
        found = paths(side)
        taken: dict[tuple[str, int], list[float]] = {}
        for _ in range(options.repeats + 1):
            for name, calls in found.items():
                for which, call in enumerate(calls):
                    if call is not None:
                        taken.setdefault((name, which), []).append(1000 * seconds(call) / BATCH)
        print(f"{side} px, milliseconds an image: with its seed, bare")
        for name, (_, bare) in found.items():
            own = np.median(taken[name, 0][1:])
            print(f"  {name:24s} {own:7.2f}  " + (f"{np.median(taken[name, 1][1:]):7.2f}" if bare else ""))


if __name__ == "__main__":
    main()
