"""Arrays of one shape: a table of numbers for every example, on a common scale, and what training does to them.

An example is (values,), (channels, places) or (channels, rows, columns): a line of a spreadsheet, a signal, a map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.data.listing import Listing
from transferscope.data.shuffle import block_sizes
from transferscope.data.table import Table, Which, content_of, divided, write
from transferscope.errors import UserError
from transferscope.input_shape import Example
from transferscope.random_streams import stream

VALUES = "values.npy"
FLAT = 1e-12  # of its largest value: a channel whose values stray by less is one value


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrays(Table):
    """Arrays of one target: `values` is float32 (n, *shape), mapped from disk; `mean` and `std` (channels,) are taken
    off and divided by before a network sees them."""

    values: np.ndarray
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def example(self, which: Which) -> Example:
        return Example(self.values.shape[1:], "float32")


def build(
    listing: Listing,
    folder: Path,
    *,
    shape: tuple[int, ...],
    scale: str,
    split: tuple[float, float, int],
    tell: Callable[..., None],
) -> None:
    """Write the arrays of a listing, all of `shape`, into `folder`, `split` as by `divided`.

    `scale` "standard" is the mean and the standard deviation of every channel over the training examples (population,
    in float64; 1 where a channel has one value), "none" is 0 and 1. UserError names the first array that is not finite
    or of another shape.
    """
    count = len(listing.names)
    held = np.lib.format.open_memmap(folder / VALUES, "w+", np.float32, (count, *shape))
    for index in range(count):
        held[index] = sound(listing, index, shape)
        if index % 1000 == 0:
            tell(done=index, total=count)
    held.flush()
    content = {"kind": "arrays", **divided(listing, np.arange(count), split)}
    train = np.flatnonzero(np.array(content["splits"]) == "train")
    mean, std = _moments(held, train) if scale == "standard" else (np.zeros(1), np.ones(1))
    fed = {
        "standard": "Values are fed less the mean of their channel over the training examples, over its deviation.",
        "none": "Values are fed as they are (scale: none).",
    }
    write(
        folder,
        listing.labels,
        {**content, "mean": mean.tolist(), "std": std.tolist(), "notes": [*content["notes"], fed[scale]]},
    )


def sound(listing: Listing, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """Array `index` of a listing as float32. UserError unless it is of `shape`, finite, and within float32."""
    found = np.asarray(listing.load(index))
    name = listing.names[index]
    if found.shape != shape:
        raise UserError(
            f"'{name}' of '{listing.where}' has shape {_sides(found.shape)} where the first has {_sides(shape)}; all "
            "arrays must have one shape: cut or pad them."
        )
    with np.errstate(over="ignore"):
        values = found.astype(np.float32)
    if not np.isfinite(values).all():
        at = tuple(int(place) for place in np.argwhere(~np.isfinite(values))[0])
        raise UserError(
            f"'{name}' of '{listing.where}' holds {found[at]!s} at {list(at)}: fill it in or leave the example out."
        )
    return values


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "()"


def _moments(values: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every channel over `rows`, (channels,) float64; of plain series one for every value."""
    axes = (0, *range(2, values.ndim))
    count = len(rows) * int(np.prod(values.shape[2:]))
    parts = [rows[start : start + 256] for start in range(0, len(rows), 256)]
    mean = sum((np.asarray(values[part], np.float64).sum(axes) for part in parts), np.zeros(values.shape[1])) / count
    strays = ((np.asarray(values[part], np.float64) - _along(mean, values.ndim)) ** 2 for part in parts)
    square = sum((one.sum(axes) for one in strays), np.zeros(values.shape[1]))
    std = np.sqrt(square / count)
    return mean, np.where(std > FLAT * np.maximum(1.0, np.abs(mean)), std, 1.0)


def _along(of_channels: np.ndarray, axes: int) -> np.ndarray:
    """(channels,) so that it broadcasts over a batch (b, channels, ...) of so many axes."""
    return of_channels.reshape(-1, *(1,) * (axes - 2))


def open_arrays(folder: Path) -> Arrays:
    """What `build` wrote."""
    said = content_of(folder)
    values = np.load(folder / VALUES, mmap_mode="r")
    return Arrays.open(folder, values=values, mean=tuple(said["mean"]), std=tuple(said["std"]))


@dataclass(frozen=True)
class Altered:
    """What training does to an array: noise of standard deviation `jitter` (of scaled values) on every value, and a
    window of at least the share `crop` of the last axis, stretched back to all of it (linear). A function of
    (seed, epoch, row)."""

    jitter: float = 0.0
    crop: float = 1.0

    def __call__(self, values: np.ndarray, row: int, *, seed: int, epoch: int) -> np.ndarray:
        """A new array for `values` (..., places) float32, scaled."""
        draw = stream(seed, "alter", epoch, row)
        if self.crop < 1:
            places = values.shape[-1]
            share = draw.uniform(self.crop, 1.0)
            start = draw.uniform(0.0, 1.0 - share) * (places - 1)
            at = start + share * np.arange(places)
            below = np.minimum(at.astype(np.int64), places - 1)
            above, part = np.minimum(below + 1, places - 1), (at - below).astype(np.float32)
            values = values[..., below] * (1 - part) + values[..., above] * part
        if self.jitter > 0:
            values = values + self.jitter * draw.standard_normal(values.shape, dtype=np.float32)
        return values


def moved(values: np.ndarray, rows: np.ndarray, block: Any, *, seed: int, per_example: bool = False) -> np.ndarray:
    """`values` (b, ..., places) with blocks of `block` places moved, in one way for all or in one way an example.

    "channels" moves single values across channels too. UserError for a block that does not divide the last axis.
    """
    flat = values.reshape(len(values), 1, -1) if block == "channels" else values
    places, size = flat.shape[-1], 1 if block == "channels" else int(block)
    if places % size:
        fitting = ", ".join(str(b) for b in block_sizes(places))
        raise UserError(f"Blocks of {size} values do not divide {places}; sizes that do: {fitting} (or 'channels').")
    whole = np.arange(places).reshape(-1, size)

    def order(*own: int) -> np.ndarray:
        return whole[stream(seed, "blocks", places, block, *own).permutation(len(whole))].reshape(-1)

    if not per_example:
        return np.ascontiguousarray(flat[..., order()]).reshape(values.shape)
    each = [one[..., order(int(row))] for one, row in zip(flat, rows, strict=True)]
    return np.stack(each).reshape(values.shape)


def scaled(table: Arrays, rows: np.ndarray) -> np.ndarray:
    """The arrays of `rows` less the mean, over the deviation: float32 (b, *shape), computed in float32."""
    values = np.asarray(table.values[rows])
    mean, std = (_along(np.array(one, dtype=np.float32), values.ndim) for one in (table.mean, table.std))
    out: np.ndarray = (values - mean) / std
    return out
