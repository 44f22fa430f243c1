"""Batches straight from the decoded image table: epoch order, normalisation, mixup, and the two iterators of a run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from transferscope.data.augment import CropAndFlip, crop_boxes, crop_resize
from transferscope.data.epoch_order import Batch, Epoch, Feed, Mix, Share, in_turn
from transferscope.data.levels import grey
from transferscope.data.resident import resident, sent
from transferscope.data.shuffle import moves_across_channels, shuffle
from transferscope.data.table import Which
from transferscope.input_shape import IMAGENET_MEAN, IMAGENET_STD
from transferscope.random_streams import stream

# One permutation for all images, or a function from rows (b,) to one permutation per image (b, n).
Permutation = np.ndarray | Callable[[np.ndarray], np.ndarray]
# What is done to images (b, C, S, S) of some rows besides cropping, as `levels.grey` has them: the same shape.
Alter = Callable[[torch.Tensor, np.ndarray], torch.Tensor]


class Pixels(Protocol):
    """What batches need of an image table: decoded images, uint8, uint16 or float32 of 0 to 1, by row."""

    def gather(self, rows: np.ndarray, which: Which) -> np.ndarray:
        """Images (b, S, S, C)."""

    def pixels(self, which: Which) -> np.ndarray | None:
        """All images (n, S, S, C) without copying them, or None when they are not held as one array."""


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixel values in [0, 1], and the type of the result."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    dtype: torch.dtype = torch.float32


def normalise(
    images: np.ndarray | torch.Tensor,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> torch.Tensor:
    """(image / 255 - mean) / std of images (b, C, S, S) or (b, S, S, C), as (b, C, S, S) channels_last.

    Images are grey values of 0 to 255, uint8 or float32 (`levels.grey`). The arithmetic is float32 whatever `dtype`;
    bytes travel to the device before they become floats.
    """
    x = torch.as_tensor(images)
    channels = len(mean)
    if x.ndim != 4 or channels not in (x.shape[1], x.shape[3]):
        raise ValueError(f"images of shape {tuple(x.shape)} do not have {channels} channels")
    pixels = x.permute(0, 2, 3, 1) if x.shape[1] == channels else x
    if device is not None:
        pixels = pixels.to(device, non_blocking=True)
    batch, height, width, _ = pixels.shape
    spread = torch.tensor(std, dtype=torch.float64) * 255
    # One line of pixels is one contiguous vector: a broadcast over 3 channels alone would run in loops of length 3.
    scale = (1 / spread).to(pixels.device, torch.float32).repeat(width)
    shift = (-255 * torch.tensor(mean, dtype=torch.float64) / spread).to(pixels.device, torch.float32).repeat(width)
    lines = pixels.reshape(batch * height, width * channels).to(torch.float32)
    out = torch.empty_like(lines) if pixels.dtype == torch.float32 else lines  # what is given stays as it is
    torch.addcmul(shift, lines, scale, out=out)
    return out.to(dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)


def mixup(
    x: torch.Tensor, y: torch.Tensor, *, alpha: float, seed: int, epoch: int, batch: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each example mixed with another of its batch: `x` (b, ...) and float targets `y` (b, L), one-hot or multi-label.

    One weight for the whole batch, drawn from Beta(alpha, alpha) (Zhang et al. 2018, as in the reference code of
    Neyshabur et al. 2020); a pure function of (seed, epoch, batch). `alpha` 0 changes nothing.
    """
    if alpha <= 0:
        return x, y
    draws = stream(seed, "mixup", epoch, batch)
    weight = float(draws.beta(alpha, alpha))
    partner = torch.from_numpy(draws.permutation(len(x)))
    x_partner, y_partner = x[partner.to(x.device)], y[partner.to(y.device)]
    return x_partner.lerp_(x, weight), y_partner.lerp_(y, weight)


@dataclass(frozen=True)
class Batches:
    """The training batches of one epoch: (images, labels, rows of the table), cut by `batch_starts`, none dropped.

    Images are (b, C, size, size) channels_last: floats, or as of `levels.grey` when `normalisation` is None. With
    `augment` they are crops of the table's train images, else its eval images, which must have side `size`. `alter`
    comes next, `mix` after normalisation. `labels` belongs to the whole table; with `mix` targets (b, L) come in their
    place. An image's look depends on (seed, epoch, row) only, so `start_batch` continues an interrupted epoch. `look`
    is the epoch whose crops are cut, where that is another. `share` is as of `Epoch`.
    """

    table: Pixels
    rows: np.ndarray
    labels: np.ndarray
    size: int
    batch_size: int
    seed: int
    epoch: int
    augment: CropAndFlip | None = None
    normalisation: Normalisation | None = Normalisation()
    permutation: Permutation | None = None
    start_batch: int = 0
    device: torch.device | str = "cpu"
    alter: Alter | None = None
    mix: Mix | None = None
    look: int | None = None
    share: Share | None = None

    def __len__(self) -> int:
        """The number of batches still to come."""
        return len(self._epoch)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._epoch)

    @property
    def _epoch(self) -> Epoch:
        return Epoch(
            self.rows,
            self.labels,
            self._feed,
            self.batch_size,
            self.seed,
            self.epoch,
            self.start_batch,
            self.device,
            self.mix,
            ahead=self.table.pixels("eval" if self.augment is None else "train") is None,
            share=self.share,
        )

    def _feed(self, order: np.ndarray) -> Feed:
        """Images as the network is to see them, of an epoch in `order`."""
        images = (
            _uncropped(self.table, order, "eval", self.device)
            if self.augment is None
            else self._crop(self.augment, order)
        )

        def feed(part: slice) -> torch.Tensor:
            squares = images(part)
            if squares.shape[-1] != self.size:
                raise ValueError(f"the table's eval images have side {squares.shape[-1]}, not {self.size}")
            if self.alter is not None:
                squares = self.alter(squares, order[part])
            return _finish(squares, order[part], self.normalisation, self.permutation, self.device)

        return feed

    def _crop(self, augment: CropAndFlip, order: np.ndarray) -> Feed:
        """The crops of one epoch: all boxes drawn at once, then cut batch by batch."""
        whole = self.table.pixels("train")
        side = (self.table.gather(order[:1], "train") if whole is None else whole).shape[1]
        options = {"table_size": side, "scale": augment.scale, "ratio": augment.ratio, "flip": augment.flip}
        look = self.epoch if self.look is None else self.look
        boxes, flips = crop_boxes(order, seed=self.seed, epoch=look, **options)
        on_cpu = torch.device(self.device).type == "cpu"
        held: np.ndarray | torch.Tensor | None = whole if on_cpu else resident(self.table, "train", self.device)

        def crop(part: slice) -> torch.Tensor:
            rows, source = order[part], held
            if source is None:
                pixels = self.table.gather(rows, "train")
                rows, source = np.arange(len(rows)), pixels if on_cpu else sent(pixels, self.device)
            return crop_resize(source, rows, boxes[part], flips[part], self.size, augment.interpolation)

        return crop


def _uncropped(table: Pixels, order: np.ndarray, which: Which, device: torch.device | str) -> Feed:
    if (held := resident(table, which, device)) is not None:
        return lambda part: grey(held[torch.as_tensor(order[part], device=device)]).permute(0, 3, 1, 2)
    return lambda part: grey(sent(table.gather(order[part], which), device)).permute(0, 3, 1, 2)


def eval_batches(
    table: Pixels,
    rows: np.ndarray,
    batch_size: int,
    *,
    labels: np.ndarray,
    normalisation: Normalisation | None = Normalisation(),
    permutation: Permutation | None = None,
    which: Which = "eval",
    device: torch.device | str = "cpu",
    alter: Alter | None = None,
) -> Iterator[Batch]:
    """(images, labels, rows) in the order given, without augmentation but for what `alter` does to all alike."""
    rows = np.asarray(rows)
    images = _uncropped(table, rows, which, device)
    parts = [slice(start, start + batch_size) for start in range(0, len(rows), batch_size)]
    for part, squares in zip(parts, in_turn(images, parts, ahead=table.pixels(which) is None), strict=True):
        altered = squares if alter is None else alter(squares, rows[part])
        x = _finish(altered, rows[part], normalisation, permutation, device)
        yield x, torch.from_numpy(labels[rows[part]]).to(device), rows[part]


def _finish(
    x: torch.Tensor,
    rows: np.ndarray,
    normalisation: Normalisation | None,
    permutation: Permutation | None,
    device: torch.device | str,
) -> torch.Tensor:
    """Normalise and shuffle images; blocks move while pixels are bytes: cheaper, and the result is the same."""
    moves = permutation(rows) if callable(permutation) else permutation
    late = moves is not None and moves_across_channels(moves, x.shape[-1])
    if late and normalisation is None:
        raise ValueError("a permutation across channels needs normalised images")
    if moves is not None and not late:
        x = shuffle(x, moves)
    if normalisation is not None:
        x = normalise(x, normalisation.mean, normalisation.std, normalisation.dtype, device)
    if moves is not None and late:
        x = shuffle(x, moves)
    return x.to(device)
