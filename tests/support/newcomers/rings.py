"""rings:N, N drawn images of a bright ring and N of a bright disc, on noise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from transferscope.data.fingerprint import text_fingerprint
from transferscope.data.listing import Listing
from transferscope.errors import UserError
from transferscope.random_streams import stream

EXAMPLE = "rings:5"
VERSION = 1  # raised when a pixel of any image changes
CLASSES = ("disc", "ring")
SIDE = 32


@dataclass(frozen=True)
class Rings:
    """Image i of `each` a class; a class of a module, because it is sent to other processes."""

    each: int

    def __call__(self, index: int) -> Image.Image:
        draw = stream(index % self.each, "rings", CLASSES[index // self.each])
        y, x = np.mgrid[:SIDE, :SIDE] - draw.uniform(12, 20, (2, 1, 1))
        away = np.hypot(y, x)
        shape = (away < 10) if index < self.each else (away < 10) & (away > 6)
        pixels = draw.integers(0, 128, (SIDE, SIDE, 3)) + 100 * shape[:, :, None]
        return Image.fromarray(pixels.astype(np.uint8))


def check(rest: str) -> None:
    """A UserError unless a number of images follows the colon."""
    if not rest.isdecimal() or int(rest) < 1:
        raise UserError(f"'rings:{rest}' should give a number of images a class, such as rings:100.")


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """What is drawn follows from the number and this code's version."""
    check(rest)
    return text_fingerprint(["rings", str(VERSION), rest])


def listing(rest: str) -> Listing:
    """Discs, then rings, numbered."""
    check(rest)
    each = int(rest)
    return Listing(
        names=tuple(f"{name}/{number:05d}" for name in CLASSES for number in range(each)),
        classes=CLASSES,
        labels=np.repeat(np.arange(len(CLASSES), dtype=np.int64), each),
        load=Rings(each),
        licence="drawn by this code, free of rights",
    )
