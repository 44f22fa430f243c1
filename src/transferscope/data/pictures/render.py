"""Every image of a listing decoded once into its training and its evaluation square, by one process or several."""

import errno
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from PIL import Image

from transferscope.data.pictures.blank import is_blank
from transferscope.data.pictures.decode import AS_IT_IS, Scale, square, to_rgb
from transferscope.data.pictures.pixels import PixelFile
from transferscope.errors import UserError, legible
from transferscope.shape import picture

FEW = 256  # images that are decoded sooner than processes start
CHUNK = 32  # images per piece of work

Load = Callable[[int], Image.Image]
Failure = tuple[int, str]  # index of an image, why it cannot be read
Piece = tuple[int, list[Failure], list[int]]  # images decoded, failures, indices of blank ones


@dataclass(frozen=True)
class Geometry:
    """Sizes in pixels of the two squares, how they are resized, and the share (0 to 1] of the shorter side that the
    evaluation square shows; the training square shows all of it."""

    train_size: int
    eval_size: int
    interpolation: str
    crop: float

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
        """Of one image at every size that is kept."""
        return sum(picture(side).bytes for side in self.sides.values())

    def squares(self, image: Image.Image, scale: Scale = AS_IT_IS) -> dict[str, np.ndarray]:
        """'train' and, unless shared, 'eval': uint8 (S, S, 3), grey values spread by the scale of the target. Raises
        what Pillow raises for a damaged image."""
        image = to_rgb(image, scale)
        found = {"train": square(image, self.train_size, self.interpolation)}
        if not self.shared:
            found["eval"] = square(image, self.eval_size, self.interpolation, self.crop)
        return found


def render(
    load: Load,
    count: int,
    geometry: Geometry,
    scale: Scale,
    files: dict[str, PixelFile],
    cores: int,
    tell: Callable[..., None] | None = None,
) -> tuple[list[Failure], list[int]]:
    """Decode images 0..`count` into rows of `files` ('train', 'eval'; none: decode only, to find what fails).

    Returns the failures by increasing index, whose rows are black, and which other images are nearly one colour.
    The bytes do not depend on `cores`. With more than one core, spawned processes do the work (threads where this
    process may not have children). `tell(done=, total=)` is called as pieces finish. Raises UserError when the disk is
    full or cannot be written.
    """
    work = _Work(load, geometry, scale, files)
    pieces = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    failures: list[Failure] = []
    blank: list[int] = []
    done = 0
    try:
        for size, failed, plain in _run(work, pieces, cores if count >= FEW else 1):
            failures += failed
            blank += plain
            done += size
            if tell is not None:
                tell(done=done, total=count)
    except OSError as error:
        where = next((str(file.path.parent) for file in files.values()), "the scratch folder")
        raise UserError(disk_sentence(error, where)) from error
    return sorted(failures), sorted(blank)


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
    files: dict[str, PixelFile]

    def piece(self, rows: range) -> Piece:
        """Decode and write consecutive rows; their number, the failures and the blank ones among them."""
        failed: list[Failure] = []
        blank: list[int] = []
        blocks = {
            name: np.zeros((len(rows), file.size, file.size, 3), dtype=np.uint8) for name, file in self.files.items()
        }
        for place, row in enumerate(rows):
            try:
                squares = self.geometry.squares(self.load(row), self.scale)
            except Exception as error:  # whatever a loader or a damaged file raises
                failed.append((row, _reason(error)))
                continue
            if is_blank(squares["train"]):
                blank.append(row)
            for name, block in blocks.items():
                block[place] = squares[name]
        for name, block in blocks.items():
            self.files[name].write(rows[0], block)
        return len(rows), failed, blank


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
        for future in as_completed([pool.submit(call, piece) for piece in pieces]):
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
