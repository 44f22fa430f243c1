"""CKA of every layer of one network against every layer of another, of many networks, in one pass over the data."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures.cka import CKA, FullCKA, MinibatchCKA
from transferscope.measures.gram import Kernel
from transferscope.measures.mixing import unshuffled
from transferscope.probes import result
from transferscope.probes.features import MEMORY, How, Mode, Tap, gathered, same_device, undisturbed
from transferscope.probes.layers import Layers, Pool
from transferscope.probes.samples import Supply

Array = NDArray[np.float64]
Estimator = Literal["unbiased", "biased", "unbiased-full"]
ESTIMATORS = ("unbiased", "biased", "unbiased-full")


@dataclass(frozen=True)
class Similarity:
    """CKA of layers of network a (rows) with layers of network b (columns).

    `matrix` and `stderr` are (La, Lb); NaN where a layer's features are constant (those layers are in `undefined_a`,
    `undefined_b`), and `stderr` also where it cannot be had. Values are not clamped: an unbiased estimate of 0 is
    often negative. `other` is the map by the other full-batch estimator, empty (0, 0) for a minibatch estimate.
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
            {"layer_a": a, "layer_b": b, "cka": result.number(self.matrix[i, j]),
             "stderr": result.number(self.stderr[i, j])}
            for i, a in enumerate(self.layers_a)
            for j, b in enumerate(self.layers_b)
        ]  # fmt: skip
        schema = {"layer_a": pl.String, "layer_b": pl.String, "cka": pl.Float64, "stderr": pl.Float64}
        return pl.DataFrame(rows, schema=schema)

    def chart(self) -> Any:
        """Heat map, layers in execution order."""
        return charts.heat(
            self.table(), "layer_b", "layer_a", "cka", domain=(0, 1), x_title="layer of b", y_title="layer of a",
            value_title="CKA", title=f"CKA, {self.estimator}, {self.samples} samples",
        )  # fmt: skip

    def save(self, path: Path | str) -> None:
        """Write to one `.safetensors` file; `transferscope.load(path)` reads it."""
        result.save(self, path)


@dataclass(frozen=True)
class SimilarityMatrix:
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

    def pair(self, a: int | str, b: int | str) -> Similarity:
        """The map of one network against another (or itself), by number or name."""
        i, j = self._place(a), self._place(b)
        starts = np.cumsum([0, *map(len, self.layers)])
        cut = np.ix_(range(starts[i], starts[i + 1]), range(starts[j], starts[j + 1]))
        return Similarity(
            self.matrix[cut], self.stderr[cut], self.other[cut] if self.other.size else self.other,
            self.layers[i], self.layers[j], self.samples, self.batches, self.estimator, self.pool,
            self.undefined[i], self.undefined[j], self.skipped[i], self.skipped[j],
        )  # fmt: skip

    def _place(self, network: int | str) -> int:
        if isinstance(network, str):
            if network not in self.networks:
                raise UserError(f"There is no network '{network}' here; there are {', '.join(self.networks)}.")
            return self.networks.index(network)
        return range(len(self.networks))[network]

    def table(self) -> pl.DataFrame:
        """One row per pair of layers of every pair of networks: a, b, layer_a, layer_b, cka, stderr."""
        count = range(len(self.networks))
        parts = [
            self.pair(i, j).table().select(pl.lit(self.networks[i]).alias("a"), pl.lit(self.networks[j]).alias("b"), pl.all())
            for i in count
            for j in count
            if i <= j
        ]  # fmt: skip
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

    def save(self, path: Path | str) -> None:
        """Write to one `.safetensors` file; `transferscope.load(path)` reads it."""
        result.save(self, path)


def similarity(
    net_a: nn.Module,
    net_b: nn.Module,
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = None,
    estimator: Estimator = "unbiased",
    kernel: Kernel = "linear",
    *,
    layers_b: Layers | None = None,
    bandwidth: float = 1.0,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    memory: int = MEMORY,
) -> Similarity:
    """CKA of every layer of `net_a` against every layer of `net_b`; both networks see each batch once.

    `batches` are tensors (n, ...) or tuples (x, labels, ...), of any length but n >= 4 each. `layers` (and `layers_b`,
    if other names are wanted of b) is as in `layers.wanted`, `pool` as in `layers.pooled`.

    `estimator`: "unbiased" is minibatch CKA (Nguyen et al. 2021, eqs. 2-3), one pass in memory that does not depend on
    the number of samples, with a standard error by jackknife over batches; batches must be shuffled. "biased"
    (Kornblith et al. 2019) and "unbiased-full" compare all samples at once: exact, both in the same work (the one not
    asked for is `other`), in as many passes as `memory` bytes of activations demand, plus layers x samples^2 / 2
    floats. `kernel` "rbf" takes `bandwidth` as a fraction of the median distance.

    Networks are run in eval mode unless `mode` is "as found", in `precision` "float32" or "bfloat16"; flags, buffers
    and random state are as found afterwards. Raises UserError for batches that are too small or sorted by class, and
    for layers that cannot be read (see `features.Tap`).
    """
    how = How(pool, mode, precision, seed)
    if net_a is net_b and layers_b is None:  # one network against itself runs once
        return _measured({"a": net_a}, [layers], batches, how, estimator, kernel, bandwidth, memory).pair(0, 0)
    wanted = [layers, layers if layers_b is None else layers_b]
    return _measured({"a": net_a, "b": net_b}, wanted, batches, how, estimator, kernel, bandwidth, memory).pair(0, 1)


def similarity_matrix(
    nets: Sequence[nn.Module] | Mapping[str, nn.Module],
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = None,
    estimator: Estimator = "unbiased",
    kernel: Kernel = "linear",
    *,
    bandwidth: float = 1.0,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    memory: int = MEMORY,
) -> SimilarityMatrix:
    """CKA of all layers of all `nets` (a list, or a mapping from name to network), each network run once a batch.

    Arguments and errors as for `similarity`: k networks cost k forward passes, not k (k - 1).
    """
    named = dict(nets) if isinstance(nets, Mapping) else {str(i): net for i, net in enumerate(nets)}
    if not named:
        raise UserError("networks: there are none to compare.")
    how = How(pool, mode, precision, seed)
    return _measured(named, [layers] * len(named), batches, how, estimator, kernel, bandwidth, memory)


def _measured(
    nets: Mapping[str, nn.Module],
    layers: Sequence[Layers],
    batches: Iterable[Any],
    how: How,
    estimator: Estimator,
    kernel: Kernel,
    bandwidth: float,
    memory: int,
) -> SimilarityMatrix:
    if estimator not in ESTIMATORS:
        raise UserError(f"estimator: '{estimator}' is none of {', '.join(ESTIMATORS)}.")
    modules = list(nets.values())
    same_device(modules)
    with undisturbed(modules, how.mode):
        supply = Supply(batches)
        taps = [Tap(net, wanted, how, supply.first.x) for net, wanted in zip(modules, layers, strict=True)]
        names = [f"{name}/{slot.name}" for name, tap in zip(nets, taps, strict=True) for slot in tap.slots]
        if estimator == "unbiased":
            found, other = _minibatch(taps, names, supply, kernel, bandwidth), np.zeros((0, 0))
        else:
            biased, exact = _full(taps, names, supply, kernel, bandwidth, memory)
            found, other = (biased, exact.matrix) if estimator == "biased" else (exact, biased.matrix)
    starts = np.cumsum([0, *(len(tap.slots) for tap in taps)])
    return SimilarityMatrix(
        matrix=found.matrix,
        stderr=found.stderr,
        other=other,
        networks=tuple(nets),
        layers=tuple(tuple(slot.name for slot in tap.slots) for tap in taps),
        samples=found.samples,
        batches=found.batches,
        estimator=found.estimator,
        pool=how.pool if isinstance(how.pool, str) else "none" if how.pool is None else "a function",
        undefined=tuple(
            tuple(slot.name for i, slot in enumerate(tap.slots) if not found.defined[start + i])
            for tap, start in zip(taps, starts[:-1], strict=True)
        ),
        skipped=tuple(tap.skipped for tap in taps),
    )


def _minibatch(taps: Sequence[Tap], names: Sequence[str], supply: Supply, kernel: Kernel, bandwidth: float) -> CKA:
    with _spoken():
        cka = MinibatchCKA(names, kernel, bandwidth)
    starts = np.cumsum([0, *(len(tap.slots) for tap in taps)])
    labels: list[np.ndarray | None] = []
    sizes: list[int] = []
    for number, batch in enumerate(supply):
        if len(batch.x) < 4:
            raise UserError(
                f"batches: batch {number + 1} has {len(batch.x)} samples and unbiased CKA needs 4; drop it or choose "
                "another batch size."
            )
        for i, tap in enumerate(taps):
            tap.run(batch.x, _putter(cka, int(starts[i])), None, number)
        with _spoken():
            cka.step()
        labels.append(batch.labels)
        sizes.append(len(batch.x))
    if all(y is not None and y.ndim == 1 for y in labels):
        sentence = unshuffled(np.concatenate([y for y in labels if y is not None]), sizes)
        if sentence:
            raise UserError(f"batches: {sentence[0].lower()}{sentence[1:-1]} (estimator='unbiased-full').")
    with _spoken():
        return cka.result()


def _putter(cka: MinibatchCKA, start: int) -> Callable[[int, Tensor], None]:
    def put(slot: int, features: Tensor) -> None:
        with _spoken():
            cka.put(start + slot, features)

    return put


def _full(
    taps: Sequence[Tap], names: Sequence[str], supply: Supply, kernel: Kernel, bandwidth: float, memory: int
) -> tuple[CKA, CKA]:
    order = [(t, slot) for t, tap in enumerate(taps) for slot in range(len(tap.slots))]
    cka: FullCKA | None = None
    for whole in gathered(taps, supply, order, memory):
        with _spoken():
            cka = cka or FullCKA(names, sum(map(len, whole.chunks)), kernel, bandwidth)
            cka.put(whole.place, whole.chunks)
    assert cka is not None
    with _spoken():
        return cka.result()


@contextmanager
def _spoken() -> Iterator[None]:
    """What a measure refuses, as a sentence for the user."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"similarity: {error}") from None
