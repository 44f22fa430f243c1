"""Grams: what CKA needs of one network, computed once and compared with any other network's at any later time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from transferscope.errors import UserError
from transferscope.measures.cka import SMALLEST, MinibatchCKA
from transferscope.measures.gram import Kernel
from transferscope.probes import result
from transferscope.probes.features.layers import Layers, Pool
from transferscope.probes.features.maps import Similarity
from transferscope.probes.features.similarity import as_matrix, putter, refused, unmixed
from transferscope.probes.features.tap import How, Tap
from transferscope.probes.inputs.samples import Supply
from transferscope.probes.running import Mode, precision_notes, undisturbed
from transferscope.probes.weights.combine import Net, built


@dataclass(frozen=True)
class Grams(result.Saved):
    """The U-centred Gram of each of L layers on each of B batches.

    `packed` (L, sum of n (n - 1) / 2) float32: upper triangles, batch after batch, with a largest entry of 1;
    `scales` (B, L) what they were divided by, 0 where a layer's features were constant; `sizes` (B,) samples in each
    batch; `samples` (n,) uint64 fingerprints of the inputs, by which two networks are seen to have met the same ones.
    """

    packed: NDArray[np.float32]
    scales: NDArray[np.float32]
    sizes: NDArray[np.int64]
    samples: NDArray[np.uint64]
    layers: tuple[str, ...]
    kernel: str
    bandwidth: float
    pool: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def similarity(self, other: "Grams") -> Similarity:
        """CKA of every layer of this network against every layer of the other, as `similarity` would have found it.

        Raises UserError unless both were computed on the same batches, with the same kernel.
        """
        if not np.array_equal(self.sizes, other.sizes) or not np.array_equal(self.samples, other.samples):
            raise UserError("grams: the two were computed on other samples, or on other batches of them.")
        if (self.kernel, self.bandwidth) != (other.kernel, other.bandwidth):
            raise UserError("grams: the two were computed with different kernels.")
        sides = (self, other)
        with refused():
            names = [f"{side}/{name}" for side, of in zip("ab", sides, strict=True) for name in of.layers]
            cka = MinibatchCKA(names, self.kernel, self.bandwidth)  # type: ignore[arg-type]
            ends = np.cumsum([0, *(self.sizes * (self.sizes - 1) // 2)])
            for b, n in enumerate(self.sizes):
                for side, start in zip(sides, (0, len(self.layers)), strict=True):
                    rows = torch.from_numpy(side.packed[:, ends[b] : ends[b + 1]])
                    cka.put_packed(rows, torch.from_numpy(side.scales[b]), int(n), start)
                cka.step()
        pools = self.pool if self.pool == other.pool else f"{self.pool} and {other.pool}"
        notes = tuple(dict.fromkeys((*self.notes, *other.notes)))
        layers, skipped = [of.layers for of in sides], [of.skipped for of in sides]
        return as_matrix(cka.result(), ("a", "b"), layers, skipped, pools, notes=notes).pair(0, 1)

    def table(self) -> pl.DataFrame:
        """One row per layer: layer, whether its features vary."""
        return pl.DataFrame({"layer": self.layers, "varies": (self.scales > 0).any(0)})

    def chart(self) -> Any:
        """CKA of the network's own layers with each other."""
        return self.similarity(self).chart()


def grams(
    net: Net,
    batches: Iterable[Any],
    layers: Layers = "blocks",
    pool: Pool = None,
    kernel: Kernel = "linear",
    *,
    bandwidth: float = 1.0,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    like: nn.Module | None = None,
) -> Grams:
    """The Grams of one network, one pass over shuffled batches; arguments and errors as for `similarity`.

    Memory and file: L n / 2 floats for every sample in batches of n (5 MB for 20 blocks, 1,024 images, batches of 128).
    """
    net = built("grams", {"net": net}, like)["net"]
    how, narrow = How(pool, mode, precision, seed), precision_notes({"net": net})
    parts, scales = [], []
    with undisturbed([net], mode):
        supply = Supply(batches, SMALLEST)
        tap = Tap(net, layers, how, supply.first.x)
        with refused():
            cka = MinibatchCKA([slot.name for slot in tap.slots], kernel, bandwidth)
        for number, batch in enumerate(supply):
            tap.run(batch.x, putter(cka, 0, number), None, number)
            with refused(number):
                rows, scale = cka.packed()
                parts.append(rows.cpu().numpy().copy())
                scales.append(scale.cpu().numpy())
                cka.step()
    unknown = unmixed(supply.order)
    return Grams(
        packed=np.concatenate(parts, axis=1),
        scales=np.stack(scales),
        sizes=np.array([len(part) for part in supply.order.seen]),
        samples=np.concatenate(supply.order.seen),
        layers=tuple(slot.name for slot in tap.slots),
        kernel=kernel,
        bandwidth=bandwidth,
        pool=how.words,
        skipped=tap.skipped,
        notes=(*narrow, *unknown, *supply.notes),
    )
