"""Neighbours: how well nearest neighbours in each layer name the class, and how far two layers are by rotation."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures.neighbours import knn_accuracy, squared_distances
from transferscope.measures.procrustes import procrustes as rotation
from transferscope.probes import result
from transferscope.probes.features.gathering import MEMORY, gathered
from transferscope.probes.features.layers import Layers, Pool
from transferscope.probes.features.tap import How, Tap
from transferscope.probes.inputs.labels import Labels
from transferscope.probes.inputs.samples import Order, Supply
from transferscope.probes.running import Mode, precision_notes, same_device, undisturbed
from transferscope.probes.weights.combine import Net, built

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours(result.Saved):
    """`accuracy` (L,) of k-nearest-neighbour votes in each of `layers`; every sample is left out of its own vote.
    `notes`: how the labels were read, and what else is worth knowing."""

    accuracy: Array
    layers: tuple[str, ...]
    k: int
    samples: int
    notes: tuple[str, ...] = ()

    def table(self) -> pl.DataFrame:
        """One row per layer: layer, accuracy."""
        return pl.DataFrame({"layer": self.layers, "accuracy": self.accuracy})

    def chart(self) -> Any:
        """Accuracy by layer, in execution order."""
        return charts.lines(self.table(), "layer", "accuracy", y_title=f"{self.k}-NN accuracy", percent=True)


@dataclass(frozen=True)
class Rotations(result.Saved):
    """Orthogonal Procrustes `distance` (L,) between layers of the same name, in [0, 2]; NaN where one is constant."""

    distance: Array
    layers: tuple[str, ...]
    samples: int
    notes: tuple[str, ...] = ()

    def table(self) -> pl.DataFrame:
        """One row per layer: layer, distance."""
        cells = [result.number(value) for value in self.distance]
        return pl.DataFrame(
            {"layer": self.layers, "distance": cells}, schema={"layer": pl.String, "distance": pl.Float64}
        )

    def chart(self) -> Any:
        """Distance by layer, in execution order."""
        return charts.lines(self.table().drop_nulls(), "layer", "distance", y_title="Procrustes distance")


def neighbours(
    net: Net,
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = "mean",
    *,
    k: int = 5,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    memory: int = MEMORY,
    like: nn.Module | None = None,
) -> Neighbours:
    """k-NN accuracy of every layer (Matsoukas et al. 2022) on batches (x, labels, ...), by Euclidean distance.

    Arguments as for `similarity`. Raises UserError without class labels, and unless 1 <= k < samples.
    """
    net = built("neighbours", {"net": net}, like)["net"]
    narrow = precision_notes({"net": net})
    with undisturbed([net], mode):
        supply = Supply(batches)
        tap = Tap(net, layers, How(pool, mode, precision, seed), supply.first.x)
        found = np.zeros(len(tap.slots))
        y, read = torch.zeros(0, dtype=torch.int64), Labels(np.zeros(0, dtype=np.int64))
        for whole in gathered([tap], supply, [(0, i) for i in range(len(tap.slots))], memory):
            if not len(y):
                read = _classes(supply.order)
                y = torch.from_numpy(np.unique(read.values, return_inverse=True)[1])
            try:
                found[whole.place] = knn_accuracy(squared_distances(whole.chunks, k), y, k)
            except ValueError as error:
                raise UserError(f"neighbours: {error}") from None
    notes = (*narrow, *supply.notes, *read.notes)
    return Neighbours(found, tuple(slot.name for slot in tap.slots), k, len(y), notes)


def _classes(order: Order) -> Labels:
    found = order.labels()
    if found is None or found.values.ndim != 1:
        raise UserError("neighbours: every batch must bring class labels (n,), as (x, labels).")
    return found


def procrustes(
    net_a: Net,
    net_b: Net,
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = "mean",
    *,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    memory: int = MEMORY,
    like: nn.Module | None = None,
) -> Rotations:
    """How far each layer of `net_a` is from the one of that name in `net_b` after the best rotation (Ding et al. 2021).

    Arguments as for `similarity`. Raises UserError where the networks share no layer's name.
    """
    how = How(pool, mode, precision, seed)
    net_a, net_b = built("procrustes", {"net_a": net_a, "net_b": net_b}, like).values()
    narrow = precision_notes({"a": net_a, "b": net_b})
    same_device([net_a, net_b])
    with undisturbed([net_a, net_b], mode):
        supply = Supply(batches)
        taps = [Tap(net, layers, how, supply.first.x) for net in (net_a, net_b)]
        places = [{slot.name: i for i, slot in enumerate(tap.slots)} for tap in taps]
        names = [name for name in places[0] if name in places[1]]
        if not names:
            raise UserError("procrustes: the networks have no layer of the same name; compare them with similarity.")
        order = [(t, places[t][name]) for name in names for t in (0, 1)]  # a layer's two sides one after the other
        found: list[float] = []
        samples, other = 0, torch.zeros(0)
        for whole in gathered(taps, supply, order, memory):
            features = torch.cat(whole.chunks)
            if whole.place % 2:
                samples, value = len(features), rotation(other, features)
                found.append(np.nan if value is None else value)
            other = features
    return Rotations(np.array(found), tuple(names), samples, (*narrow, *supply.notes))
