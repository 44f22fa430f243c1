"""Predictions: the outputs of a network on batches, in the order of the batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.models.build import seeded
from transferscope.models.outputs import answering, logits_of
from transferscope.models.precision import running
from transferscope.probes import result
from transferscope.probes.features.tap import How
from transferscope.probes.inputs.labels import together
from transferscope.probes.inputs.samples import Supply
from transferscope.probes.running import Mode, device_of, fed, precision_notes, undisturbed
from transferscope.probes.weights.combine import Net, built
from transferscope.random_streams import stream_seed


@dataclass(frozen=True)
class Predictions(result.Saved):
    """Outputs of one network on n samples.

    `logits` (n, k) float32. `labels`: (n,) class indices, (n, k) of 0/1 when multi-label, empty (0,) when the batches
    had none (`labels.read_labels` says how they are read). `ids` (n,) the numbers that came with the samples (names as
    64-bit digests), empty when none did. `samples` (n,) uint64 fingerprints of the inputs, by which two networks are
    seen to have met the same ones. `notes`: how the labels were read, and what else is worth knowing.
    """

    logits: NDArray[np.float32]
    labels: NDArray[Any]
    ids: NDArray[Any]
    samples: NDArray[np.uint64]
    notes: tuple[str, ...] = ()

    @property
    def multilabel(self) -> bool:
        return self.labels.ndim == 2

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class of the highest logit (n,); multi-label: 1 where the logit is above 0 (n, k).

        Raises UserError where a logit is NaN: the "highest" would be the first class.
        """
        if lost := int(np.isnan(self.logits).any(1).sum()):
            raise UserError(f"predictions: the outputs of {lost} of {len(self.logits)} samples are NaN.")
        if self.multilabel or self.logits.shape[1] == 1:
            positive: NDArray[np.int64] = (self.logits > 0).astype(np.int64)
            return positive if self.multilabel else positive[:, 0]
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Where prediction and label differ, (n,) or (n, k); not where a label is not known. Raises UserError without
        labels."""
        if not len(self.labels):
            raise UserError("predictions: the batches had no labels, so there is no telling right from wrong.")
        return np.asarray((self.predicted != self.labels) & (self.labels >= 0))

    def table(self) -> pl.DataFrame:
        """One row per sample (multi-label: per sample and label): sample, label, predicted, wrong, logit of it."""
        n, k = self.logits.shape
        if self.multilabel:
            columns = {"sample": np.repeat(np.arange(n), k), "of": np.tile(np.arange(k), n)}
            shown = {"predicted": self.predicted.ravel(), "logit": self.logits.ravel()}
            truth = {"label": self.labels.ravel(), "wrong": self.wrong.ravel()}
            return pl.DataFrame({**columns, **truth, **shown})
        best = {"predicted": self.predicted, "logit": self.logits.max(1)}
        known = {"label": self.labels, "wrong": self.wrong} if len(self.labels) else {}
        return pl.DataFrame({"sample": np.arange(n), **known, **best})

    def chart(self) -> Any:
        """Confusion of classes: share of each true class (rows) given each answer (columns); multi-label: errors."""
        if self.multilabel:
            rows = [{"label": str(j), "error": float(share)} for j, share in enumerate(self.wrong.mean(0))]
            return charts.dots(pl.DataFrame(rows), "label", "error", percent=True, value_title="wrong", bar=True)
        if not len(self.labels):
            raise UserError("predictions: the batches had no labels to draw a confusion of.")
        k = int(max(self.labels.max(), self.predicted.max())) + 1
        counts = np.zeros((k, k))
        np.add.at(counts, (self.labels, self.predicted), 1)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        cells = [{"true": str(i), "answer": str(j), "share": float(shares[i, j])} for i in range(k) for j in range(k)]
        return charts.heat(pl.DataFrame(cells), "answer", "true", "share", domain=(0, 1), percent=True)


def predictions(
    net: Net,
    batches: Iterable[Any],
    *,
    mode: Mode = "eval",
    precision: str = "float32",
    seed: int = 0,
    like: nn.Module | None = None,
) -> Predictions:
    """Outputs of `net` on every sample of `batches`: tensors, or tuples (x, labels, ids) as far as they go.

    Runs in eval mode on the network's own device, leaving the network and the random state as found (`mode` "as found"
    keeps training flags; dropout then draws from `seed`). Raises UserError for a network that does not return (n, k)
    outputs, for batches of which only some have labels or ids, and for labels that are not those of the outputs.
    """
    net = built("predictions", {"net": net}, like)["net"]
    how, device, notes = How(None, mode, precision, seed), device_of(net), precision_notes({"net": net})
    outputs: list[np.ndarray] = []
    ids: list[np.ndarray | None] = []
    with undisturbed([net], mode), torch.no_grad(), running(precision, str(device)):
        supply = Supply(batches)
        for number, batch in enumerate(supply):
            with seeded(stream_seed(how.seed, "probe", number), device), answering(batch.x, f"batch {number + 1}"):
                out = net(fed(batch.x, net))
            outputs.append(logits_of(out, len(batch.x)).float().cpu().numpy())
            ids.append(None if batch.ids is None else _numbers(batch.ids))
    order, none = supply.order, np.zeros(0, dtype=np.int64)
    if len({part.shape[1] for part in outputs}) > 1:
        raise UserError("network: it returned different numbers of outputs for different batches.")
    labels, numbers = order.labels(outputs[0].shape[1]), together(ids, word="ids")
    return Predictions(
        np.concatenate(outputs),
        none if labels is None else labels.values,
        none if numbers is None else numbers,
        np.concatenate(order.seen),
        (*notes, *supply.notes, *(() if labels is None else labels.notes)),
    )


def _numbers(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind in "iu":
        return ids.astype(np.uint64)
    digests = b"".join(blake2b(str(i).encode(), digest_size=8).digest() for i in ids.tolist())
    return np.frombuffer(digests, dtype=np.uint64)


@torch.no_grad()
def logits(net: nn.Module, batches: Iterable[Tensor], *, device: str = "cpu", precision: str = "float32") -> np.ndarray:
    """Outputs (n, k) in float32 of `net` in eval mode; its training flags are put back, also after an exception."""
    flags = [(module, module.training) for module in net.modules()]
    net.eval()
    found: list[Tensor] = []
    try:
        with running(precision, device):
            for x in batches:
                found.append(logits_of(net(x.to(device, non_blocking=True)), len(x)).float())
    finally:
        for module, flag in flags:
            if module.training != flag:  # to set it is dear
                module.training = flag
    return torch.cat(found).cpu().numpy()
