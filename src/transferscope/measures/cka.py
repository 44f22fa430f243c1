"""CKA of every pair of layers: unbiased and streamed over batches with standard errors, or exact on all samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transferscope.devices import sum_type
from transferscope.measures.gram import Kernel, as_rows, full_precision, kernel_gram, upper

Array = NDArray[np.float64]
SMALLEST = 4  # HSIC_1 divides by n - 3
GROUPS = 32  # groups of batches kept for the jackknife: bounds memory, whatever the number of batches


@dataclass(frozen=True)
class CKA:
    """CKA of every layer with every layer, (L, L); NaN in rows and columns whose `defined` (L,) is False.

    `stderr` (L, L) is NaN where it cannot be had. Values are not clamped: an unbiased estimate of 0 is often negative.
    """

    matrix: Array
    stderr: Array
    defined: NDArray[np.bool_]
    layers: tuple[str, ...]
    samples: int
    batches: int
    estimator: str

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the layers whose features were constant over every batch: their CKA has no value."""
        return tuple(name for name, ok in zip(self.layers, self.defined, strict=True) if not ok)

    def mean(self) -> float | None:
        """Mean of the map over defined pairs; None when there is none."""
        kept = self.matrix[np.ix_(self.defined, self.defined)]
        return float(kept.mean()) if kept.size else None


@final
class MinibatchCKA:
    """Unbiased minibatch CKA (Nguyen et al. 2021, eqs. 2-3) of all pairs among `layers`, of one or many networks.

    In a batch call `put` once per layer (from a forward hook if you like: only the Gram is kept), then `step`. HSIC_1
    of a batch is the inner product of U-centred Grams over n (n - 3); batches are weighted by n (n - 3), so raw inner
    products are summed, and roots are taken last. Memory: layers x n^2 / 2 floats plus 32 layer maps.
    """

    def __init__(self, layers: Sequence[str], kernel: Kernel = "linear", bandwidth: float = 1.0) -> None:
        self.layers = tuple(layers)
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise ValueError("CKA needs at least one layer and different names for all.")
        self.kernel: Kernel = kernel
        self.bandwidth = bandwidth
        self.samples = 0
        self.batches = 0
        self._groups: list[tuple[int, Array]] = []  # (batches, summed inner products)
        self._rows: Tensor | None = None
        self._scales: dict[int, Tensor] = {}
        self._size = 0

    def put(self, layer: int, features: Tensor) -> None:
        """Features (n, ...) of layer number `layer` on the current batch; n >= 4 and the same for all layers.

        Raises ValueError on a smaller batch, another n, or a second call for one layer in one batch.
        """
        n = len(features)
        if n < SMALLEST:
            raise ValueError(f"unbiased CKA needs batches of at least {SMALLEST} samples, this one has {n}.")
        if layer in self._scales:
            raise ValueError(f"layer '{self.layers[layer]}' ran twice in one batch: give each call its own name.")
        if self._scales and n != self._size:
            raise ValueError(f"layer '{self.layers[layer]}' has {n} rows where others have {self._size}.")
        rows = self._room(n, features.device)
        gram, varies = kernel_gram([as_rows(features)], self.kernel, self.bandwidth)
        _u_centre(gram)
        self._scales[layer] = _pack(gram, varies, rows[layer])

    def packed(self) -> tuple[Tensor, Tensor]:
        """The Grams of the batch under way, before `step`: U-centred upper triangles (L, n (n - 1) / 2) with a largest
        entry of 1, and their scales (L,). What `put_packed` of another accumulator takes, in another process even."""
        missing = [i for i in range(len(self.layers)) if i not in self._scales]
        if missing or self._rows is None:
            raise ValueError(f"no features in this batch from: {', '.join(self.layers[i] for i in missing)}.")
        return self._rows, torch.stack([self._scales[i] for i in range(len(self.layers))])

    def put_packed(self, rows: Tensor, scales: Tensor, n: int, start: int = 0) -> None:
        """Instead of `put`: the packed Grams of layers `start`, `start` + 1, ... on a batch of n samples."""
        self._room(n, rows.device)[start : start + len(rows)] = rows
        self._scales |= {start + i: scale for i, scale in enumerate(scales)}

    def _room(self, n: int, device: torch.device) -> Tensor:
        pairs = n * (n - 1) // 2
        if self._rows is None or self._rows.shape[1] != pairs or self._rows.device != device:
            self._rows = torch.empty(len(self.layers), pairs, dtype=torch.float32, device=device)
        self._size = n
        return self._rows

    def step(self) -> None:
        """Close the batch. Raises ValueError naming layers that did not run or whose features are not finite."""
        missing = [name for i, name in enumerate(self.layers) if i not in self._scales]
        if missing or self._rows is None:
            self._scales.clear()
            raise ValueError(f"no features in this batch from: {', '.join(missing)}.")
        scales = torch.stack([self._scales[i] for i in range(len(self.layers))])
        self._scales.clear()
        scale = _finite_scales(scales, self.layers)
        self._absorb(1, 2 * _products(self._rows) * np.outer(scale, scale))
        self.samples += self._size
        self.batches += 1

    def result(self) -> CKA:
        """The map so far. Standard errors: delete-one-group jackknife over batches (several passes over the same
        samples make them too small); NaN with fewer than two batches."""
        if not self._groups:
            raise ValueError("CKA was given no batch.")
        sums = np.stack([s for _, s in self._groups])
        total = sums.sum(0)
        matrix, defined = _ratio(total)
        stderr = np.full_like(matrix, np.nan)
        g = len(sums)
        if g > 1:
            without = np.stack([_ratio(total - s)[0] for s in sums])
            stderr = np.sqrt((g - 1) / g * np.square(without - without.mean(0)).sum(0))
        return CKA(
            matrix, stderr, defined, self.layers, self.samples, self.batches, f"unbiased minibatch {self.kernel}"
        )

    def _absorb(self, count: int, sums: Array) -> None:
        """A new group while there is room, else into the group of the fewest batches, so that groups stay even."""
        if len(self._groups) < GROUPS:
            self._groups.append((count, sums))
        else:
            i = min(range(GROUPS), key=lambda j: self._groups[j][0])
            self._groups[i] = (self._groups[i][0] + count, self._groups[i][1] + sums)


@final
class FullCKA:
    """Exact CKA on all `samples` at once, biased (Kornblith et al. 2019) and debiased, of all pairs among `layers`.

    Only packed Grams are kept: layers x samples^2 / 2 floats (1 GB for 120 layers and 2,048 samples).
    """

    def __init__(self, layers: Sequence[str], samples: int, kernel: Kernel = "linear", bandwidth: float = 1.0) -> None:
        if samples < SMALLEST:
            raise ValueError(f"debiased CKA needs at least {SMALLEST} samples, not {samples}.")
        self.layers, self.samples = tuple(layers), samples
        self.kernel: Kernel = kernel
        self.bandwidth = bandwidth
        self._rows: Tensor | None = None
        self._scales: dict[int, Tensor] = {}
        self._diagonals = np.zeros((len(self.layers), samples))

    def put(self, layer: int, chunks: Sequence[Tensor]) -> None:
        """Features of layer number `layer` on all samples, in consecutive chunks (n_i, ...) as the batches came."""
        n = sum(map(len, chunks))
        if n != self.samples:
            raise ValueError(f"layer '{self.layers[layer]}' has {n} rows, not {self.samples}.")
        if self._rows is None:
            self._rows = torch.empty(len(self.layers), n * (n - 1) // 2, dtype=torch.float32, device=chunks[0].device)
        gram, varies = kernel_gram([as_rows(c) for c in chunks], self.kernel, self.bandwidth)
        _double_centre(gram)
        scale = _pack(gram, varies, self._rows[layer])
        self._scales[layer] = scale
        diagonal = gram.diagonal().cpu().double().numpy()
        self._diagonals[layer] = diagonal / float(scale) if float(scale) > 0 else 0.0

    def result(self) -> tuple[CKA, CKA]:
        """The biased and the debiased map. The diagonal k of a centred Gram turns one into the other: with zeroed
        diagonal its row sums are -k, so n (n - 3) HSIC_1 = <K, L> - k.l + tr K tr L / ((n-1)(n-2)) - 2 k.l / (n-2)."""
        missing = [name for i, name in enumerate(self.layers) if i not in self._scales]
        if missing or self._rows is None:
            raise ValueError(f"no features from: {', '.join(missing)}.")
        _finite_scales(torch.stack([self._scales[i] for i in range(len(self.layers))]), self.layers)
        n, k = self.samples, self._diagonals
        off, dots, traces = 2 * _products(self._rows), k @ k.T, np.outer(k.sum(1), k.sum(1))
        debiased = off + traces / ((n - 1) * (n - 2)) - 2 / (n - 2) * dots
        return self._map(off + dots, "biased"), self._map(debiased, "unbiased")

    def _map(self, sums: Array, word: str) -> CKA:
        matrix, defined = _ratio(sums)
        blank = np.full_like(matrix, np.nan)
        return CKA(matrix, blank, defined, self.layers, self.samples, 1, f"{word} full-batch {self.kernel}")


def _u_centre(gram: Tensor) -> None:
    """U-centring in place (Szekely & Rizzo 2014), of which only off-diagonal entries matter afterwards."""
    n = len(gram)
    gram.fill_diagonal_(0)
    means = gram.sum(1, dtype=sum_type(gram.device)) / (n - 2)
    means = (means - means.sum() / (2 * (n - 1))).float()
    gram.sub_(means[:, None]).sub_(means[None])


def _double_centre(gram: Tensor) -> None:
    """H K H in place, H = I - 11'/n."""
    means = gram.mean(1, dtype=sum_type(gram.device))
    means = (means - means.mean() / 2).float()
    gram.sub_(means[:, None]).sub_(means[None])


def _pack(gram: Tensor, varies: Tensor, out: Tensor) -> Tensor:
    """The upper triangle of `gram` in `out`, scaled to a largest entry of 1; returns the scale, 0 if constant."""
    torch.index_select(gram.view(-1), 0, upper(len(gram), gram.device), out=out)
    largest = out.abs().max()
    scale = torch.where(varies | ~torch.isfinite(gram.diagonal().sum()), largest, torch.zeros_like(largest))
    out.mul_(torch.where(scale > 0, 1 / scale, torch.zeros_like(scale)))
    return scale


def _finite_scales(scales: Tensor, layers: Sequence[str]) -> Array:
    values: Array = scales.cpu().double().numpy()
    bad = [name for name, v in zip(layers, values, strict=True) if not np.isfinite(v)]
    if bad:
        raise ValueError(f"features are NaN or infinite in: {', '.join(bad)}.")
    return values


def _products(rows: Tensor, columns: int = 2048) -> Array:
    """Inner products of all rows, (L, L) in float64: float32 within blocks of columns, float64 between them.

    Blocks this short keep CKA within 1e-7 of float64 at no cost; one long float32 product is off by 2e-6.
    """
    total = torch.zeros(len(rows), len(rows), dtype=sum_type(rows.device), device=rows.device)
    with full_precision(rows.device):
        for start in range(0, rows.shape[1], columns):
            block = rows[:, start : start + columns]
            total += block @ block.T
    result: Array = total.cpu().double().numpy()
    return result


def _ratio(sums: Array) -> tuple[Array, NDArray[np.bool_]]:
    """S_ab / sqrt(S_aa S_bb), and which layers have S_aa > 0."""
    own = np.diagonal(sums)
    defined = own > 0
    root = np.sqrt(np.where(defined, own, np.nan))
    return sums / np.outer(root, root), defined
