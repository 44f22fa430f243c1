"""Images held in memory, in the layout networks like, for many passes over them or over some of their rows."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from transferscope.errors import UserError
from transferscope.probes.inputs.given import single
from transferscope.probes.inputs.labels import read_labels, together
from transferscope.probes.inputs.samples import fingerprints, repeated, unpacked

BATCH = 125  # images of 64 x 64; fewer when larger
PIXELS = 2**19  # of a batch
FEWEST = 16


class LabelledImages:
    """The n labelled images of one data set. Of a torch `Dataset` each image is fetched when first asked for.

    Floats are held in `dtype`. From `check` on labels are told as the network's outputs have them read;
    `notes` says what was decided.
    """

    def __init__(
        self,
        name: str,
        given: Iterable[Any] | Dataset[Any],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.dtype, self._device = name, dtype, device
        self._dataset: Any = given if isinstance(given, Dataset) and hasattr(given, "__len__") else None
        self._outputs: int | None = None
        self._multilabel: bool | None = None
        self.metric: str | None = None
        self.scale: tuple[float, ...] | None = None
        self.notes: tuple[str, ...] = ()
        self._label_values: NDArray[Any] | None = None
        self._repeats: tuple[str, ...] = ()
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
        return self.labels_of(np.arange(len(self)))

    @property
    def spread(self) -> NDArray[np.float64] | None:
        """Variance (k,) of numbers to predict over all images; None for other labels."""
        labels = self._label_values
        return None if labels is None or labels.dtype.kind != "f" else labels.var(axis=0)

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of those rows, without a copy where they follow one another."""
        self._fetch(rows)
        if len(rows) == rows[-1] - rows[0] + 1 and bool((np.diff(rows) == 1).all()):
            return self._x[int(rows[0]) : int(rows[-1]) + 1]
        return self._x[torch.from_numpy(rows).to(self._x.device)]

    def labels_of(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Of those rows. Raises UserError as `check` does."""
        self._fetch(rows)
        if self._label_values is None:
            self._read_labels()
        assert self._label_values is not None
        return np.asarray(self._label_values[rows])

    def portions(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The rows in portions of the size that is quickest to run."""
        return np.array_split(rows, -(-len(rows) // batch_size(self._x)))

    def check(self, outputs: int) -> None:
        """Raise UserError unless the labels fetched so far suit a network of so many outputs."""
        if self._label_values is None or outputs != self._outputs:
            self._outputs = outputs
            self._read_labels()

    def _read_labels(self) -> None:
        """Read the labels fetched so far. One-hot rows are classes only if all rows are, so then all are fetched."""
        what = f"data: '{self.name}'"
        found = read_labels(self._labels[~self._missing], self._outputs, what, self._multilabel, self.metric)
        if found.notes and self._missing.any():
            self._fetch(np.arange(len(self)))
            found = read_labels(self._labels, self._outputs, what, self._multilabel, self.metric)
        self._label_values = np.zeros((len(self), *found.values.shape[1:]), dtype=found.values.dtype)
        self._label_values[~self._missing] = found.values
        self.notes = (*(f"'{self.name}': {note}" for note in (*found.notes, *self._repeats)),)

    def _read(self, batches: Iterable[Any]) -> None:
        images, labels, seen = [], [], []
        for number, batch in enumerate(unpacked(batches, "data", f" of '{self.name}'"), 1):
            if batch.labels is None:
                raise UserError(f"data: batch {number} of '{self.name}' has no labels, so nothing can be scored.")
            images.append(sent(batch.x, self._device, self.dtype))
            labels.append(batch.labels)
            seen.append(fingerprints(batch.x))
            self._multilabel, self.metric, self.scale = batch.multilabel, batch.metric, batch.scale
        if not images:
            raise UserError(f"data: '{self.name}' holds no images to evaluate on.")
        self._x = joined(images, self.name, self._device)
        self._labels = np.asarray(together(labels, f"data: '{self.name}'"))
        self._missing = np.zeros(len(self._labels), dtype=bool)
        self._repeats = repeated(np.concatenate(seen))

    def _fetch(self, rows: NDArray[np.int64], fresh: bool = False) -> None:
        if not len(rows):
            raise UserError(f"data: '{self.name}' holds no images to evaluate on.")
        for row in rows[self._missing[rows]].tolist():
            item = single(self._dataset[row], f"data: image {row} of '{self.name}'")
            x, label = sent(item.x, self._device, self.dtype), np.asarray(item.labels[0])
            self._label_values = None
            if fresh:
                room = torch.empty((len(self), *x.shape[1:]), dtype=x.dtype, device=x.device)
                layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
                self._x = room.to(memory_format=layout)
                self._labels = np.zeros((len(self), *label.shape), dtype=_roomy(label))
            if x.shape[1:] != self._x.shape[1:]:
                raise UserError(f"data: the images of '{self.name}' differ in size; resize them to one.")
            if label.shape != self._labels.shape[1:]:
                raise UserError(f"data: the labels of '{self.name}' differ in shape; give each image one class index.")
            self._x[row], self._labels[row] = x[0], label
            self._missing[row] = False


def _roomy(label: NDArray[Any]) -> Any:
    """A type that holds what later labels may be: other numbers than the first, or longer words."""
    return np.float64 if label.dtype.kind in "iufb" else object


def batch_size(x: Tensor) -> int:
    """Images that are quickest to run together."""
    pixels = x.shape[2] * x.shape[3] if x.ndim == 4 else 1
    return max(FEWEST, min(BATCH, PIXELS // pixels))


def sent(x: Tensor, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images on a device, channels last, floats in the type that the network computes in."""
    layout = torch.channels_last if x.ndim == 4 else torch.contiguous_format
    return x.detach().to(device, dtype if x.is_floating_point() else x.dtype).contiguous(memory_format=layout)


def joined(parts: list[Tensor], name: str, device: torch.device) -> Tensor:
    """Batches as one tensor. Raises UserError where the images differ in size."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise UserError(f"data: the images of '{name}' differ in size; resize them to one.")
    whole = torch.cat(parts)
    return sent(whole, device, whole.dtype)


def portioned(x: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """Images in the portions that statistics are estimated from: with `count` of them, every count-th image.

    Each portion is normalised by its own statistics on the way, so each must hold some of every class and domain, in
    whatever order these come.
    """
    count = -(-len(x) // max(2 * batch_size(x), 64))
    return tuple(sent(x[i::count], device, x.dtype) for i in range(count))
