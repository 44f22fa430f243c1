"""Images held in memory, in the layout networks like, for many passes over them or over some of their rows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from transferscope.errors import UserError
from transferscope.probes.samples import unpacked

BATCH = 125  # images of 64 x 64; fewer when larger
PIXELS = 2**19  # of a batch
FEWEST = 16


class Held:
    """The n labelled images of one data set. Of a torch `Dataset` each image is fetched when first asked for."""

    def __init__(self, name: str, given: Iterable[Any] | Dataset[Any], device: torch.device) -> None:
        self.name, self._device = name, device
        self._dataset: Any = given if isinstance(given, Dataset) and hasattr(given, "__len__") else None
        if self._dataset is not None:
            self._missing = np.ones(len(self._dataset), dtype=bool)
            self._fetch(np.arange(min(1, len(self._dataset))), fresh=True)
        else:
            self._read(given)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._missing)

    @property
    def labels(self) -> NDArray[Any]:
        """Of all images, (n,) or (n, k)."""
        self._fetch(np.arange(len(self)))
        return self._labels

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of those rows, without a copy where they follow one another."""
        self._fetch(rows)
        if len(rows) == rows[-1] - rows[0] + 1 and bool((np.diff(rows) == 1).all()):
            return self._x[int(rows[0]) : int(rows[-1]) + 1]
        return self._x[torch.from_numpy(rows).to(self._x.device)]

    def labels_of(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        self._fetch(rows)
        return np.asarray(self._labels[rows])

    def portions(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The rows in portions of the size that is quickest to run."""
        return np.array_split(rows, -(-len(rows) // batch_size(self._x)))

    def check(self, outputs: int) -> None:
        """Raise UserError unless the labels fetched so far suit a network of so many outputs."""
        labels = self._labels[~self._missing]
        if labels.ndim == 2 and labels.shape[1] != outputs:
            raise UserError(
                f"data: '{self.name}' has {labels.shape[1]} labels an image, but the network has {outputs} outputs."
            )
        most = 2 if outputs == 1 else outputs
        if labels.ndim == 1 and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= most):
            raise UserError(
                f"data: the labels of '{self.name}' run from {labels.min()} to {labels.max()}, but the network tells "
                f"{most} classes apart, counted from 0."
            )

    def _read(self, batches: Iterable[Any]) -> None:
        images, labels = [], []
        for number, batch in enumerate(unpacked(batches), 1):
            if batch.labels is None:
                raise UserError(f"data: batch {number} of '{self.name}' has no labels, so nothing can be scored.")
            images.append(sent(batch.x, self._device))
            labels.append(batch.labels)
        if not images:
            raise UserError(f"data: '{self.name}' holds no images to evaluate on.")
        self._x, self._labels = joined(images, self.name, self._device), np.concatenate(labels)
        self._missing = np.zeros(len(self._labels), dtype=bool)

    def _fetch(self, rows: NDArray[np.int64], fresh: bool = False) -> None:
        if not len(rows):
            raise UserError(f"data: '{self.name}' holds no images to evaluate on.")
        for row in rows[self._missing[rows]].tolist():
            item = self._dataset[row]
            if not isinstance(item, tuple | list) or len(item) < 2 or not isinstance(item[0], Tensor):
                raise UserError(f"data: image {row} of '{self.name}' is no tuple of a tensor and its label.")
            x, label = sent(item[0][None], self._device), np.asarray(item[1])
            if fresh:
                room = torch.empty((len(self), *x.shape[1:]), dtype=x.dtype, device=x.device)
                layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
                self._x = room.to(memory_format=layout)
                self._labels = np.zeros((len(self), *label.shape), dtype=label.dtype)
            if x.shape[1:] != self._x.shape[1:]:
                raise UserError(f"data: the images of '{self.name}' differ in size; resize them to one.")
            self._x[row], self._labels[row] = x[0], label
            self._missing[row] = False


def batch_size(x: Tensor) -> int:
    """Images that are quickest to run together."""
    pixels = x.shape[2] * x.shape[3] if x.ndim == 4 else 1
    return max(FEWEST, min(BATCH, PIXELS // pixels))


def sent(x: Tensor, device: torch.device) -> Tensor:
    """Images on a device, channels last."""
    layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    return x.detach().to(device).contiguous(memory_format=layout)


def joined(parts: list[Tensor], name: str, device: torch.device) -> Tensor:
    """Batches as one tensor. Raises UserError where the images differ in size."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise UserError(f"data: the images of '{name}' differ in size; resize them to one.")
    return sent(torch.cat(parts), device)


def portioned(x: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """Images in the portions that statistics are estimated from: with `count` of them, every count-th image.

    Each portion is normalised by its own statistics on the way, so each must hold some of every class and domain, in
    whatever order these come.
    """
    count = -(-len(x) // max(2 * batch_size(x), 64))
    return tuple(sent(x[i::count], device) for i in range(count))
