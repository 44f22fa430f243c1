"""waves:N, N drawn series of a slow sine in noise and N of a fast one: 2 channels of 48 values, no pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transferscope.data.fingerprint import text_fingerprint
from transferscope.data.listing import Listing
from transferscope.errors import UserError
from transferscope.random_streams import stream

EXAMPLE = "waves:5"
VERSION = 1  # raised when a value of any series changes
CLASSES = ("fast", "slow")
SHAPE = (2, 48)


@dataclass(frozen=True)
class Waves:
    """Series i of `each` a class, float32 (channels, values)."""

    each: int

    def __call__(self, index: int) -> np.ndarray:
        draw = stream(index % self.each, "waves", CLASSES[index // self.each])
        turns = 6.0 if index < self.each else 2.0
        at = 2 * np.pi * turns * np.arange(SHAPE[1]) / SHAPE[1] + draw.uniform(0, 6, (SHAPE[0], 1))
        return (np.sin(at) + 0.3 * draw.normal(size=SHAPE)).astype(np.float32)


def check(rest: str) -> None:
    """A UserError unless a number of series follows the colon."""
    if not rest.isdecimal() or int(rest) < 1:
        raise UserError(f"'waves:{rest}' should give a number of series a class, such as waves:100.")


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """What is drawn follows from the number and this code's version."""
    check(rest)
    return text_fingerprint(["waves", str(VERSION), rest])


def listing(rest: str) -> Listing:
    """Fast ones, then slow ones, numbered."""
    check(rest)
    each = int(rest)
    return Listing(
        names=tuple(f"{name}/{number:05d}" for name in CLASSES for number in range(each)),
        classes=CLASSES,
        labels=np.repeat(np.arange(len(CLASSES), dtype=np.int64), each),
        load=Waves(each),
        licence="drawn by this code, free of rights",
    )
