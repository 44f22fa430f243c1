"""series: values of several channels at even steps of time, float32 as the source gives them.

Training shifts every series by some steps; a shuffle moves blocks of time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transferscope.data.listing import Listing
from transferscope.data.table import Table, Which, divided, write
from transferscope.engine.step import Outside, Step, task
from transferscope.engine.task_context import Work
from transferscope.errors import UserError
from transferscope.input_shape import Example
from transferscope.random_streams import stream
from transferscope.tasks.inputs import Asked, Fed
from transferscope.tasks.recipe import Run

if TYPE_CHECKING:
    from torch import Tensor, nn

    from transferscope.data.epoch_order import Batch, Epoch

VALUES = "values.npy"
MOST = 4  # steps of time by which training shifts a series


@dataclass(frozen=True, eq=False, kw_only=True)
class Series(Table):
    """Series of one target: `values` is float32 (n, channels, steps), mapped from disk."""

    values: np.ndarray

    def example(self, which: Which) -> Example:
        return Example(self.values.shape[1:], "float32")


@task("series", version=1)
def gather(
    *, source: Outside, shape: list[int], val: float, test: float, split_seed: int, work: Work
) -> list[dict[str, Any]]:
    """Keep the series of `source`, which are all of `shape` (channels, steps); one row per split and class."""
    from transferscope.data import open_listing

    listing = open_listing(source.ref)
    count = len(listing.names)
    np.save(work.folder / VALUES, np.stack([listing.load(index) for index in range(count)]))
    write(work.folder, listing.labels, {"kind": KIND, **divided(listing, np.arange(count), (val, test, split_seed))})
    return open_table(work.folder).census()


KIND = __name__.removeprefix("transferscope.tasks.inputs.")


def table(source: Outside, asked: Asked) -> Step:
    """The step that keeps a source's series."""
    from transferscope.data import open_listing

    shape = list(open_listing(source.ref).load(0).shape)
    return gather.step(source=source, shape=shape, val=asked.val, test=asked.test, split_seed=asked.split_seed)


def examples(params: Mapping[str, Any]) -> dict[str, Example]:
    """The same in training and in evaluation."""
    return dict.fromkeys(("train", "eval"), Example(tuple(params["shape"]), "float32"))


def stored_bytes(params: Mapping[str, Any]) -> int:
    """Of one series."""
    return examples(params)["eval"].bytes


def look(listing: Listing, params: Mapping[str, Any]) -> list[str]:
    """Whether some of the series are alike and finite."""
    for index in range(0, len(listing.names), max(1, len(listing.names) // 10)):
        values = listing.load(index)
        if list(values.shape) != params["shape"] or not np.isfinite(values).all():
            raise UserError(f"'{listing.names[index]}' is no finite series of {params['shape']}; remove it.")
    return []


def open_table(folder: Path) -> Series:
    """What `gather` kept."""
    return Series.open(folder, values=np.load(folder / VALUES, mmap_mode="r"))


def training(
    table: Series, rows: np.ndarray, labels: np.ndarray, run: Run, *, epoch: int, start: int, device: str
) -> "Epoch":
    """Every series shifted, by as much as its row and the epoch say."""
    from transferscope.data.epoch_order import Epoch

    fed = Fed(run.mean, run.std, run.shuffle, run.seed)
    shifts = stream(run.seed, "shift", epoch).integers(-MOST, MOST + 1, len(table))

    def feed(order: np.ndarray) -> Any:
        return lambda part: _fed(table, order[part], fed, device, shifts[order[part]])

    return Epoch(rows, labels, feed, run.batch_size, run.seed, epoch, start, device)


def evaluation(
    table: Series, rows: np.ndarray, labels: np.ndarray, fed: Fed, *, batch_size: int, device: str
) -> "Iterator[Batch]":
    """Every series as it is."""
    import torch

    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield _fed(table, part, fed, device), torch.from_numpy(labels[part]).to(device), part


def _fed(table: Series, rows: np.ndarray, fed: Fed, device: str, shifts: np.ndarray | None = None) -> "Tensor":
    import torch

    values = np.array(table.values[rows])
    for place, shift in enumerate(shifts if shifts is not None else ()):
        values[place] = np.roll(values[place], shift, axis=-1)
    if fed.shuffle is not None:
        block = fed.shuffle["block"]
        moved = stream(fed.seed, "blocks", block).permutation(values.shape[-1] // block)
        values = values.reshape(*values.shape[:2], -1, block)[:, :, moved].reshape(values.shape)
    return torch.from_numpy(values).to(device)


def small(num_classes: int) -> "nn.Module":
    """A network for series of two channels."""
    from torch import nn

    return nn.Sequential(
        nn.Conv1d(2, 8, 5, padding=2, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Conv1d(8, 8, 5, padding=2, bias=False),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )
