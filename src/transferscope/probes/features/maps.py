"""Layer maps: CKA of the layers of two networks, or of many, as the probes return them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from transferscope import charts
from transferscope.errors import UserError
from transferscope.probes import result

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity(result.Saved):
    """CKA of layers of network a (rows) with layers of network b (columns).

    `matrix` and `stderr` are (La, Lb); NaN where a layer's features are constant (those layers are in `undefined_a`,
    `undefined_b`), and `stderr` also where it cannot be had. Values are not clamped: an unbiased estimate of 0 is
    often negative. `other` is the map by the other full-batch estimator, empty (0, 0) for a minibatch estimate. `notes`
    say what a reader should know of the samples and the networks.
    """

    matrix: Array
    stderr: Array
    other: Array
    layers_a: tuple[str, ...]
    layers_b: tuple[str, ...]
    samples: int
    batches: int
    estimator: str
    pool: str
    undefined_a: tuple[str, ...] = ()
    undefined_b: tuple[str, ...] = ()
    skipped_a: tuple[str, ...] = ()
    skipped_b: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def undefined(self) -> tuple[str, ...]:
        """Layers of either network whose features did not vary, so that their CKA has no value."""
        return tuple(dict.fromkeys((*self.undefined_a, *self.undefined_b)))

    def same(self) -> dict[str, float]:
        """CKA of each layer with the layer of the same name in the other network, where it is defined."""
        columns = {name: j for j, name in enumerate(self.layers_b)}
        found = {name: self.matrix[i, columns[name]] for i, name in enumerate(self.layers_a) if name in columns}
        return {name: float(value) for name, value in found.items() if np.isfinite(value)}

    def mean(self) -> float | None:
        """Mean of the map over defined pairs of layers; None when there is none."""
        kept = self.matrix[np.isfinite(self.matrix)]
        return float(kept.mean()) if kept.size else None

    def table(self) -> pl.DataFrame:
        """One row per pair of layers: layer_a, layer_b, cka, stderr (null where undefined)."""
        rows = [
            {
                "layer_a": a,
                "layer_b": b,
                "cka": result.number(self.matrix[i, j]),
                "stderr": result.number(self.stderr[i, j]),
            }
            for i, a in enumerate(self.layers_a)
            for j, b in enumerate(self.layers_b)
        ]
        schema = {"layer_a": pl.String, "layer_b": pl.String, "cka": pl.Float64, "stderr": pl.Float64}
        return pl.DataFrame(rows, schema=schema)

    def chart(self) -> Any:
        """Heat map, layers in execution order."""
        return charts.heat(
            self.table(),
            "layer_b",
            "layer_a",
            "cka",
            domain=(0, 1),
            x_title="layer of b",
            y_title="layer of a",
            value_title="CKA",
            title=f"CKA, {self.estimator}, {self.samples} samples",
        )


@dataclass(frozen=True)
class SimilarityMatrix(result.Saved):
    """CKA of all layers of all networks, (L, L) with L the number of layers of all networks one after another.

    `layers` has one tuple of names per entry of `networks`; fields else as in `Similarity`.
    """

    matrix: Array
    stderr: Array
    other: Array
    networks: tuple[str, ...]
    layers: tuple[tuple[str, ...], ...]
    samples: int
    batches: int
    estimator: str
    pool: str
    undefined: tuple[tuple[str, ...], ...] = ()
    skipped: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def pair(self, a: int | str, b: int | str) -> Similarity:
        """The map of one network against another (or itself), by number or name."""
        i, j = self._place(a), self._place(b)
        starts = np.cumsum([0, *map(len, self.layers)])
        cut = np.ix_(range(starts[i], starts[i + 1]), range(starts[j], starts[j + 1]))
        return Similarity(
            self.matrix[cut],
            self.stderr[cut],
            self.other[cut] if self.other.size else self.other,
            self.layers[i],
            self.layers[j],
            self.samples,
            self.batches,
            self.estimator,
            self.pool,
            self.undefined[i],
            self.undefined[j],
            self.skipped[i],
            self.skipped[j],
            self.notes,
        )

    def _place(self, network: int | str) -> int:
        if isinstance(network, str):
            if network not in self.networks:
                raise UserError(f"There is no network '{network}' here; there are {', '.join(self.networks)}.")
            return self.networks.index(network)
        return range(len(self.networks))[network]

    def table(self) -> pl.DataFrame:
        """One row per pair of layers of every pair of networks: a, b, layer_a, layer_b, cka, stderr."""
        count = range(len(self.networks))
        pairs = [(i, j) for i in count for j in count if i <= j]
        parts = [
            self.pair(i, j)
            .table()
            .insert_column(0, pl.lit(self.networks[i]).alias("a"))
            .insert_column(1, pl.lit(self.networks[j]).alias("b"))
            for i, j in pairs
        ]
        return pl.concat(parts)

    def chart(self) -> Any:
        """Heat map of all layers of all networks."""
        names = [f"{net} {layer}" for net, of in zip(self.networks, self.layers, strict=True) for layer in of]
        cells = [
            {"a": a, "b": b, "cka": result.number(self.matrix[i, j])}
            for i, a in enumerate(names)
            for j, b in enumerate(names)
        ]
        table = pl.DataFrame(cells, schema={"a": pl.String, "b": pl.String, "cka": pl.Float64})
        return charts.heat(table, "b", "a", "cka", domain=(0, 1), value_title="CKA")
