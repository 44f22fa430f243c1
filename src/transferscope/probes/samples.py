"""Batches as probes take them: images alone or with labels and ids, and proof that two passes saw the same samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transferscope.errors import UserError

VALUES = 512  # of each sample enter its fingerprint, evenly spread


@dataclass(frozen=True)
class Batch:
    """Inputs (n, ...), and labels (n,) or (n, k) and ids (n,) where the batch brought them."""

    x: Tensor
    labels: np.ndarray | None = None
    ids: np.ndarray | None = None


def unpacked(batches: Iterable[Any]) -> Iterator[Batch]:
    """Each batch as a `Batch`: it is a tensor, or a tuple (x, labels, ids, ...) of which all after x may be absent.

    Raises UserError for anything else, for an empty batch, and where labels or ids do not match the rows of x.
    """
    for number, batch in enumerate(batches, 1):
        parts = list(batch) if isinstance(batch, tuple | list) else [batch]
        if not parts or not isinstance(parts[0], Tensor) or not len(parts[0]):
            raise UserError(
                f"batches: batch {number} must be a tensor with at least one sample, or a tuple that starts with one."
            )
        x = parts[0]
        columns = [_column(part) for part in parts[1:3]]
        for word, column in zip(("labels", "ids"), columns, strict=False):
            if column is not None and len(column) != len(x):
                raise UserError(f"batches: batch {number} has {len(x)} samples but {len(column)} {word}.")
        yield Batch(x, *columns)


def _column(part: Any) -> np.ndarray | None:
    if isinstance(part, Tensor):
        part = part.detach().cpu().numpy()
    if isinstance(part, list | tuple) and part and isinstance(part[0], str | int):
        part = np.asarray(part)
    return part if isinstance(part, np.ndarray) and part.ndim in (1, 2) else None


class Supply:
    """Batches looked at once before they are used: `first` is the first one, and iterating gives all of them.

    A generator can be iterated once (`once`); anything else anew for every pass. Raises UserError when there is none.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches
        walk = iter(batches)
        self.once = walk is batches
        head = list(islice(walk, 1))
        if not head:
            raise UserError("batches: there were none.")
        self.first = next(unpacked(head))
        self._begun: Iterator[Any] | None = chain(head, walk)

    def __iter__(self) -> Iterator[Batch]:
        walk, self._begun = self._begun, None
        return unpacked(self._batches if walk is None else walk)


def fingerprints(x: Tensor) -> np.ndarray:
    """A 64-bit number per sample (n,), uint64, from up to 512 of its values: equal for equal samples."""
    rows = x.detach().reshape(len(x), -1)
    step = max(1, -(-rows.shape[1] // VALUES))
    values = rows[:, ::step].to("cpu", torch.float32).contiguous().numpy()
    digests = b"".join(blake2b(row.tobytes(), digest_size=8).digest() for row in values)
    return np.frombuffer(digests, dtype=np.uint64)


@dataclass
class Order:
    """Which samples came, in which order; `check` compares a later pass with the first."""

    seen: list[np.ndarray] = field(default_factory=list)
    told: list[np.ndarray | None] = field(default_factory=list)

    def note(self, batch: Batch) -> None:
        self.seen.append(fingerprints(batch.x))
        self.told.append(batch.labels)

    @property
    def samples(self) -> int:
        return sum(map(len, self.seen))

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of all samples, None unless every batch had some."""
        known = [part for part in self.told if part is not None]
        return np.concatenate(known) if known and len(known) == len(self.told) else None

    def check(self, number: int, x: Tensor) -> None:
        """Raise UserError unless batch `number` (from 0) of this pass is the one of the first."""
        if number >= len(self.seen) or not np.array_equal(self.seen[number], fingerprints(x)):
            raise UserError(
                f"batches: batch {number + 1} differs from pass to pass; give a list of batches, or a loader that "
                "neither shuffles nor augments."
            )
