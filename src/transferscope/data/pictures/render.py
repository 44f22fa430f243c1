"""Every image of a listing decoded once into its training and its evaluation square, by one process or several."""

import errno
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from transferscope.data.pictures import depth as depths
from transferscope.data.pictures.blank import is_blank
from transferscope.data.pictures.compressed import SMALLER, JpegFile
from transferscope.data.pictures.decode import Scale, covered
from transferscope.data.pictures.depth import DTYPES, Depth
from transferscope.data.pictures.numbers import Picture
from transferscope.data.pictures.pixels import PixelFile, mark
from transferscope.errors import UserError, legible
from transferscope.input_shape import picture
from transferscope.spawning import without_main

FEW = 256  # images that are decoded sooner than processes start
CHUNK = 32  # images per piece of work

Load = Callable[[int], Picture]
Failure = tuple[int, str]  # index of an image, why it cannot be read
# Images decoded, failures, indices of blank ones, and the marks (m, squares) of all.
Piece = tuple[range, list[Failure], list[int], np.ndarray]


@dataclass(frozen=True)
class Geometry:
    """Sizes in pixels of the two squares, how they are resized, the share (0 to 1] of the sides that the evaluation
    square shows (the training square shows all), how pictures `fit` a square (`decode.square`), its channels, the depth
    of what is kept, and the quality (1 to 100) of the JPEGs as which it is kept, None for pixels."""

    train_size: int
    eval_size: int
    interpolation: str
    crop: float
    fit: str = "crop"
    channels: int = 3
    depth: Depth = 8
    jpeg: int | None = None

    @property
    def dtype(self) -> str:
        """Of the values that are kept."""
        return DTYPES[self.depth]

    @property
    def shared(self) -> bool:
        """Is the evaluation square the training square?"""
        return self.train_size == self.eval_size and self.crop == 1.0

    @property
    def sides(self) -> dict[str, int]:
        """Side of each square that is kept: 'train' and, unless shared, 'eval'."""
        return {"train": self.train_size} if self.shared else {"train": self.train_size, "eval": self.eval_size}

    @property
    def image_bytes(self) -> int:
        """Of one image at every size that is kept; of JPEGs about."""
        pixels = sum(picture(side, self.channels, self.dtype).bytes for side in self.sides.values())
        return pixels if self.jpeg is None else round(pixels / SMALLER)

    def planes(self, image: Picture, scale: Scale) -> tuple[Image.Image, ...]:
        """What both squares of a picture are resized from."""
        return depths.planes(image, scale, self.depth)

    def squares(self, planes: Sequence[Image.Image]) -> dict[str, np.ndarray]:
        """'train' and, unless shared, 'eval' of what `planes` gives: (S, S, channels) of `dtype`."""
        crops = {"train": 1.0, "eval": self.crop}
        how = self.fit, self.depth, self.channels
        return {
            name: depths.squares(planes, side, self.interpolation, crops[name], *how)
            for name, side in self.sides.items()
        }

    def said(self) -> dict[str, Any]:
        """The fields as JSON, less those that are as in tables of before there was a choice."""
        usual = (("fit", "crop"), ("channels", 3), ("depth", 8), ("jpeg", None))
        return {name: value for name, value in asdict(self).items() if (name, value) not in usual}


def render(
    load: Load,
    count: int,
    geometry: Geometry,
    scale: Scale,
    files: Mapping[str, PixelFile | JpegFile],
    cores: int,
    tell: Callable[..., None] | None = None,
) -> tuple[list[Failure], list[int], np.ndarray]:
    """Decode images 0..`count` into rows of `files` ('train', 'eval'; none: decode only, to find what fails).

    Returns the failures by increasing index, whose rows are black, which other images are nearly one colour, and the
    `mark` of every square, uint32 (count, squares), where none is kept in `files`. The bytes do not depend on `cores`.
    With more than one core, spawned processes do the work (threads where this process may not have children).
    `tell(done=, total=)` is called as pieces finish. Raises UserError when the disk is full or cannot be written.
    """
    work = _Work(load, geometry, scale, files)
    pieces = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    failures: list[Failure] = []
    blank: list[int] = []
    marks = np.zeros((count, len(geometry.sides)), dtype=np.uint32)
    done = 0
    try:
        for rows, failed, plain, own in _run(work, pieces, cores if count >= FEW else 1):
            failures += failed
            blank += plain
            marks[rows] = own
            done += len(rows)
            if tell is not None:
                tell(done=done, total=count)
    except OSError as error:
        where = next((str(file.path.parent) for file in files.values()), "the scratch folder")
        raise UserError(disk_sentence(error, where)) from error
    return sorted(failures), sorted(blank), marks


def disk_sentence(error: OSError, folder: object) -> str:
    """What to tell the user when writing below `folder` failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of '{folder}' is full; free some space or choose another output folder, and run again."
    return f"'{folder}' cannot be written ({error.strerror or error}); choose another output folder."


@dataclass(frozen=True)
class _Work:
    """What a worker needs, sent to it once."""

    load: Load
    geometry: Geometry
    scale: Scale
    files: Mapping[str, PixelFile | JpegFile]

    def piece(self, rows: range) -> Piece:
        """Decode and write consecutive rows; the failures and the blank ones among them, and the marks of all."""
        failed: list[Failure] = []
        blank: list[int] = []
        marks = np.zeros((len(rows), len(self.geometry.sides)), dtype=np.uint32)
        blocks = {
            name: np.zeros((len(rows), file.size, file.size, file.channels), dtype=file.dtype)
            for name, file in self.files.items()
        }
        for place, row in enumerate(rows):
            try:
                image = self.geometry.planes(self.load(row), self.scale)
                cut = self.geometry.squares(image)
            except Exception as error:  # whatever a loader or a damaged file raises
                failed.append((row, _reason(error)))
                continue
            if is_blank(cut["train"][covered(image[0].size, self.geometry.train_size, fit=self.geometry.fit)]):
                blank.append(row)
            if not self.files:
                marks[place] = [mark(cut[name]) for name in self.geometry.sides]
            for name, block in blocks.items():
                block[place] = cut[name]
        for name, block in blocks.items():
            self.files[name].write(rows[0], block)
        return rows, failed, blank, marks


def _reason(error: Exception) -> str:
    """An exception in words, without the addresses of objects, which differ from run to run."""
    words = re.sub(r" at 0x[0-9a-fA-F]+", "", str(error)).strip()
    return legible(f"{type(error).__name__}: {words or 'no message'}")


_work: _Work | None = None  # a worker process's own copy


def _start(work: _Work) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    """End with the process that started this one: a pool does not notice that its owner was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _piece(rows: range) -> Piece:
    assert _work is not None
    return _work.piece(rows)


def _run(work: _Work, pieces: list[range], cores: int) -> Iterator[Piece]:
    if cores <= 1:
        yield from map(work.piece, pieces)
        return
    pool: Executor
    if multiprocessing.current_process().daemon:
        pool, call = ThreadPoolExecutor(cores), work.piece
    else:
        context = multiprocessing.get_context("spawn")
        pool, call = ProcessPoolExecutor(cores, context, _start, (work,)), _piece
    try:
        with without_main():  # processes start when they are given work
            given = [pool.submit(call, piece) for piece in pieces]
        for future in as_completed(given):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
