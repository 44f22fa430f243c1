"""Features: what a frozen part of a network gave for images, by the rows of their table."""

from collections.abc import Iterable
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from transferscope.models.outputs import tensors_of
from transferscope.probes.passes.tracing import Drift, Kept, Spot


class Source(Protocol):
    """What features are of. `rowed`: the tensors of what it returns that have a row for every image."""

    @property
    def rowed(self) -> frozenset[Spot]: ...

    def returned(self, x: Tensor) -> dict[int, Kept]: ...


class Features:
    """What a `source` returned for images, one after another."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.kept: dict[int, list[Any]] = {}
        self.specs: dict[int, Any] = {}
        self.places: dict[int, int] = {}

    @classmethod
    def of_rows(cls, source: Source, rows: np.ndarray, features: Tensor) -> Self:
        """Those of a source that returns one tensor, of which the rows of the table are known."""
        found = cls(source)
        found.kept, found.specs = {0: [features]}, {0: tree_flatten(features)[1]}
        found.places = {int(row): place for place, row in enumerate(rows)}
        return found

    def fill(self, batches: Iterable[tuple[Tensor, Any, np.ndarray]], count: int) -> None:
        """Go through `batches` of (inputs, labels, rows), `count` images in all. Raises Drift where what is returned
        is not told apart by images."""
        for x, _, rows in batches:
            begin = len(self.places)
            self.places |= {int(row): begin + place for place, row in enumerate(rows)}
            for number, kept in self.source.returned(x).items():
                self._add(number, kept, begin, len(x), count)

    def _add(self, number: int, kept: Kept, begin: int, length: int, count: int) -> None:
        rowed = self.source.rowed
        first = number not in self.kept
        held = self.kept.setdefault(number, [])
        self.specs.setdefault(number, kept.spec)
        for j, leaf in enumerate(kept.leaves):
            if not isinstance(leaf, Tensor):
                if (isinstance(leaf, int) and leaf == length) or tensors_of(leaf):
                    raise Drift
                value: Any = leaf
            elif (number, j) not in rowed or len(leaf) != length:
                raise Drift
            elif not any(leaf.stride()):  # nobody reads it
                value = leaf[:1].expand(count, *leaf.shape[1:])
            elif first:
                layout = torch.channels_last if _is_channels_last(leaf) else torch.contiguous_format
                value = torch.empty(
                    (count, *leaf.shape[1:]), dtype=leaf.dtype, device=leaf.device, memory_format=layout
                )
            else:
                value = held[j]
            if first:
                held.append(value)
            if isinstance(leaf, Tensor):
                if any(leaf.stride()):
                    value[begin : begin + length] = leaf
            elif held[j] != leaf:
                raise Drift

    def only(self) -> Tensor:
        """The one tensor that the source returns, image after image."""
        found: Tensor = self.kept[0][0]
        return found

    def has(self, rows: np.ndarray) -> bool:
        """Whether all these rows are among them."""
        return all(int(row) in self.places for row in rows)

    def of(self, rows: np.ndarray) -> dict[int, Kept]:
        """What the source returned for these rows, in memory of its own."""
        places = torch.tensor([self.places[int(row)] for row in rows])
        return {
            number: Kept([_rows(leaf, places) for leaf in leaves], self.specs[number])
            for number, leaves in self.kept.items()
        }


def _rows(leaf: Any, places: Tensor) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if not any(leaf.stride()):
        return leaf[:1].expand(len(places), *leaf.shape[1:])
    places = places.to(leaf.device)
    if _is_channels_last(leaf):  # which indexing would undo
        return leaf.permute(0, 2, 3, 1)[places].permute(0, 3, 1, 2)
    return leaf[places]


def _is_channels_last(leaf: Tensor) -> bool:
    return leaf.ndim == 4 and leaf.is_contiguous(memory_format=torch.channels_last)
