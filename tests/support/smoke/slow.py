"""smoke.slow:, 300 images that take a while to open, so that a test can strike while they are decoded."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from transferscope.data.listing import Listing

COUNT = 300  # enough that several processes decode them


@dataclass(frozen=True)
class Slow:
    """Image i after SMOKE_PAUSE seconds."""

    def __call__(self, index: int) -> Image.Image:
        time.sleep(float(os.environ.get("SMOKE_PAUSE", "0")))
        shades = Image.linear_gradient("L").resize((32, 32))  # a picture of one colour would be refused
        return shades.rotate(index % 360)


def listing(rest: str) -> Listing:
    """Two classes."""
    names = tuple(f"{index:03d}" for index in range(COUNT))
    return Listing(names, ("even", "odd"), np.arange(COUNT) % 2, Slow())


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Nothing can change."""
    return "slow"
