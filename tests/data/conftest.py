"""Small image folders for the tests of the data room."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int, width: int = 24, height: int = 20) -> Image.Image:
    """Noise of a few large patches, different for every seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """`images("cats/a.png", "dogs/b.jpg", ...)` writes those images below a folder and gives the folder."""

    def write(*names: str, root: str = "images") -> Path:
        for seed, name in enumerate(names):
            file = tmp_path / root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(seed).save(file)
        (tmp_path / root).mkdir(exist_ok=True)
        return tmp_path / root

    return write


@pytest.fixture
def pets(images: Callable[..., Path]) -> Path:
    """Two classes of ten images each."""
    return images(*(f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(10)))
