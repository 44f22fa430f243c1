"""Squares of pixels in one safetensors file: written row by row from several processes, read as a memory map."""

import json
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

TENSOR = "pixels"
DATA_AT = 256  # bytes before the first pixel: 8 of length, the rest a header padded with spaces
MOVE_ROWS = 256  # rows moved at once when closing gaps
THREADS = 4  # that decode one batch
NAMES = {"uint8": "U8", "uint16": "U16", "float32": "F32"}  # of types of values, in the header


def mark(square: np.ndarray) -> int:
    """CRC-32 of the pixels of a square: whether a picture that is decoded again is the one that was decoded before."""
    return zlib.crc32(square.tobytes())


def gathered(
    square: Callable[[int], np.ndarray], rows: np.ndarray, size: int, channels: int = 3, dtype: str = "uint8"
) -> np.ndarray:
    """The squares of `rows` (b,) as (b, size, size, channels), each made by `square`, several at a time."""
    out = np.empty((len(rows), size, size, channels), dtype=dtype)

    def fill(place: int) -> None:
        out[place] = square(int(rows[place]))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fill, range(len(rows))))
    return out


@dataclass(frozen=True)
class PixelFile:
    """The file of `rows` images of `size` x `size` x `channels` values of `dtype`, little-endian; rows are written with
    plain writes, which report a full disk (a write through a memory map of a file with holes would kill the process
    instead)."""

    path: Path
    rows: int
    size: int
    channels: int = 3
    dtype: str = "uint8"

    @property
    def row_bytes(self) -> int:
        return self.size * self.size * self.channels * np.dtype(self.dtype).itemsize

    @property
    def data_bytes(self) -> int:
        return self.rows * self.row_bytes

    def create(self) -> None:
        """The header, and no pixel yet. Raises OSError."""
        with self.path.open("wb") as file:
            file.write(self._head())

    def write(self, start: int, squares: np.ndarray) -> None:
        """Rows `start`, `start` + 1, ... (b, size, size, channels) of the type. Raises OSError, as on a full disk."""
        with self.path.open("r+b") as file:
            file.seek(DATA_AT + start * self.row_bytes)
            file.write(np.ascontiguousarray(squares).data)

    def keep(self, rows: np.ndarray) -> "PixelFile":
        """The file cut down in place to some of its rows, (m,) strictly increasing."""
        if len(rows) == self.rows:
            return self
        kept = replace(self, rows=len(rows))
        with self.path.open("r+b") as file:
            file.write(kept._head())
        pixels = self.map("r+")
        for start in range(0, len(rows), MOVE_ROWS):
            chunk = rows[start : start + MOVE_ROWS]
            pixels[start : start + len(chunk)] = pixels[chunk]
        pixels.flush()
        del pixels
        os.truncate(self.path, DATA_AT + kept.data_bytes)
        return kept

    def map(self, mode: Literal["r", "r+"] = "r") -> np.memmap:
        """(rows, size, size, channels) of the type, read from disk as it is touched."""
        shape = (self.rows, self.size, self.size, self.channels)
        return np.memmap(self.path, dtype=np.dtype(self.dtype), mode=mode, offset=DATA_AT, shape=shape)

    def _head(self) -> bytes:
        shape = [self.rows, self.size, self.size, self.channels]
        entry = {"dtype": NAMES[self.dtype], "shape": shape, "data_offsets": [0, self.data_bytes]}
        text = json.dumps({TENSOR: entry}, separators=(",", ":")).encode()
        length = DATA_AT - 8
        return length.to_bytes(8, "little") + text.ljust(length)
