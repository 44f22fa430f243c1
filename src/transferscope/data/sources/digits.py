"""digits, the 1,797 grey handwritten digits of 8 x 8 pixels that come with scikit-learn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.packages import package_folder
from transferscope.errors import UserError

EXAMPLE = "digits"
SIDE = 8
TOP = 16  # grey levels run from 0 to 16


@dataclass(frozen=True)
class Digits:
    """Digit i of the 8 x 8 images laid end to end in `pixels`."""

    pixels: bytes

    def __call__(self, index: int) -> Image.Image:
        start = index * SIDE * SIDE
        return Image.frombytes("L", (SIDE, SIDE), self.pixels[start : start + SIDE * SIDE])


def check(rest: str) -> None:
    """A UserError unless scikit-learn is installed and nothing follows the colon."""
    _file(rest)


def fingerprint(rest: str, memo: Path | None = None) -> str:
    """Digest of the table that scikit-learn ships."""
    return files_fingerprint({"digits": _file(rest)}, memo)


def listing(rest: str) -> Listing:
    """The digits in the order of the package, named 0000, 0001, ..."""
    table = np.loadtxt(_file(rest), delimiter=",")
    pixels = np.rint(table[:, :-1] * (255 / TOP)).astype(np.uint8)
    return Listing(
        names=tuple(f"{index:04d}" for index in range(len(table))),
        classes=tuple("0123456789"),
        labels=table[:, -1].astype(np.int64),
        load=Digits(pixels.tobytes()),
        licence="CC BY 4.0, E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998)",
    )


def _file(rest: str) -> Path:
    if rest:
        raise UserError(f"The data source 'digits' takes nothing after the colon, but got '{rest}'; write digits.")
    return package_folder("sklearn", "digits") / "datasets" / "data" / "digits.csv.gz"
