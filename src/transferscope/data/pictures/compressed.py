"""Squares of pixels as JPEGs in one safetensors file: a sixth of the bytes, decoded when they are asked for.

Full colour resolution (4:4:4), the accurate transform and no chroma to interpolate: what a decoder gives is then a
function of the bytes alone (libjpeg's integer transform, which libjpeg-turbo keeps to the bit on every processor), and
the marks of some squares prove it wherever the file is opened.
"""

import io
import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, features
from safetensors import safe_open

from transferscope.data.pictures.pixels import gathered, mark
from transferscope.errors import UserError

JPEGS, ENDS = "jpegs", "ends"  # tensors: the bytes of all JPEGs one after the other, and where each ends
SMALLER = 5.0  # times than pixels, about: photographs at quality 95
PROBES = 8  # squares whose marks show that a machine decodes as the one that made the table
A_LENGTH = np.dtype("<i8")


@dataclass(frozen=True)
class JpegFile:
    """The file of `rows` images of `size` x `size` x 3 bytes, as JPEGs of a `quality` (1 to 100).

    It is written in parts, by any number of processes, and put together by `keep`.
    """

    path: Path
    rows: int
    size: int
    quality: int
    channels: int = 3
    dtype: str = "uint8"

    @property
    def data_bytes(self) -> int:
        """Of all JPEGs."""
        return int(self._ends[-1]) if self.rows else 0

    def create(self) -> None:
        """A folder for the parts. Raises OSError."""
        self._parts.mkdir()

    def write(self, start: int, squares: np.ndarray) -> None:
        """Rows `start`, `start` + 1, ... (b, size, size, 3), as one part. Raises OSError, as on a full disk."""
        jpegs = [encoded(square, self.quality) for square in squares]
        with (self._parts / f"{start:012d}").open("wb") as file:
            np.array([len(jpegs), *map(len, jpegs)], dtype=A_LENGTH).tofile(file)
            file.writelines(jpegs)

    def keep(self, rows: np.ndarray) -> "JpegFile":
        """The parts put together to one file with some of the rows, (m,) strictly increasing. Raises OSError."""
        parts = [(file, *_lengths(file)) for file in sorted(self._parts.iterdir())]
        lengths = np.concatenate([lengths for _, _, lengths in parts]) if parts else np.zeros(0, A_LENGTH)
        wanted = np.zeros(len(lengths), dtype=bool)
        wanted[rows] = True
        ends = np.cumsum(lengths[wanted], dtype=A_LENGTH)
        with self.path.open("wb") as whole:
            whole.write(_head(ends))
            ends.tofile(whole)
            first = 0
            for file, at, of in parts:
                data, starts = file.read_bytes(), at + np.cumsum(of) - of
                for place in np.flatnonzero(wanted[first : first + len(of)]):
                    whole.write(data[starts[place] : starts[place] + of[place]])
                first += len(of)
        shutil.rmtree(self._parts)
        return replace(self, rows=len(rows))

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The squares of `rows` (b,), uint8 (b, size, size, 3), decoded by several threads."""
        return gathered(self._square, rows, self.size)

    def _square(self, row: int) -> np.ndarray:
        start = int(self._ends[row - 1]) if row else 0
        return decoded(self._bytes[start : int(self._ends[row])].tobytes(), self.size)

    @property
    def _parts(self) -> Path:
        return self.path.with_suffix(".parts")

    @cached_property
    def _ends(self) -> np.ndarray:
        with safe_open(self.path, framework="numpy") as file:
            return np.asarray(file.get_tensor(ENDS))

    @cached_property
    def _bytes(self) -> np.memmap:
        with self.path.open("rb") as file:
            at = 8 + int.from_bytes(file.read(8), "little") + self._ends.nbytes
        return np.memmap(self.path, dtype=np.uint8, mode="r", offset=at, shape=(self.data_bytes,))

    def probe(self) -> dict[str, int]:
        """The CRC-32 of some decoded squares by their rows, as JSON keys."""
        rows = np.unique(np.linspace(0, self.rows - 1, min(PROBES, self.rows)).round().astype(int))
        return {str(row): mark(square) for row, square in zip(rows, self.gather(rows), strict=True)}

    def proved(self, probe: dict[str, int]) -> Self:
        """This file, where it gives the squares that `probe` saw when it was made. UserError where it does not."""
        if self.probe() != probe:
            raise UserError(
                f"'{self.path}' decodes to other pixels here than where it was made (Pillow's JPEG library is "
                f"{features.version('jpg')}); use the Pillow that made it, or leave out recipe.table_jpeg."
            )
        return self


def encoded(square: np.ndarray, quality: int) -> bytes:
    """A square (S, S, 3), uint8, as a JPEG without chroma subsampling."""
    file = io.BytesIO()
    Image.fromarray(square).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def decoded(jpeg: bytes, size: int) -> np.ndarray:
    """The square (S, S, 3) of a JPEG, uint8. UserError where the bytes are none of that size."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            square = np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise UserError(f"A compressed table holds a JPEG that cannot be decoded ({error}); make it anew.") from None
    if square.shape != (size, size, 3):
        raise UserError(f"A compressed table holds a JPEG of {square.shape}, not {(size, size, 3)}; make it anew.")
    return square


def _lengths(part: Path) -> tuple[int, np.ndarray]:
    """Where the first JPEG of a part begins, and the bytes of each."""
    with part.open("rb") as file:
        count = int(np.fromfile(file, A_LENGTH, 1)[0])
        return A_LENGTH.itemsize * (1 + count), np.fromfile(file, A_LENGTH, count)


def _head(ends: np.ndarray) -> bytes:
    total = int(ends[-1]) if len(ends) else 0
    text = json.dumps(
        {
            ENDS: {"dtype": "I64", "shape": [len(ends)], "data_offsets": [0, ends.nbytes]},
            JPEGS: {"dtype": "U8", "shape": [total], "data_offsets": [ends.nbytes, ends.nbytes + total]},
        }
    ).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
