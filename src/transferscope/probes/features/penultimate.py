"""Penultimate features: what goes into a network's classifier head, and what comes out of it, in one pass."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.build import seeded
from transferscope.models.outputs import answering, logits_of
from transferscope.models.precision import running
from transferscope.probes import result
from transferscope.probes.features.layers import pooled, real_tokens
from transferscope.probes.inputs.samples import Supply
from transferscope.probes.inputs.weights import classifier
from transferscope.probes.running import device_of, fed, precision_notes, undisturbed
from transferscope.probes.weights.combine import Net, built
from transferscope.random_streams import stream_seed


@dataclass(frozen=True)
class Penultimate(result.Shown):
    """What goes into the classifier head of one network on n samples, and what comes out.

    `features` (n, d) float32: the head's input, averaged over positions or tokens where it has any; `logits` (n, k)
    float32: the network's output; `labels` (n,) or (n, classes), empty (0,) when the batches had none; `samples` (n,)
    uint64 fingerprints of the inputs; `notes`: how the labels were read, and what else is worth knowing; `metric`: what
    judges the task, where the batches say it.
    """

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[Any]
    samples: NDArray[np.uint64]
    notes: tuple[str, ...] = ()
    metric: str | None = None
    scale: tuple[float, ...] | None = None

    def table(self) -> pl.DataFrame:
        """One row per array: what it holds, its shape and its type."""
        arrays = {name: getattr(self, name) for name in ("features", "logits", "labels", "samples")}
        rows = [{"array": name, "shape": str(of.shape), "type": str(of.dtype)} for name, of in arrays.items()]
        return pl.DataFrame(rows)


@torch.no_grad()
def penultimate(
    net: Net,
    batches: Iterable[Any],
    *,
    head: str | Sequence[str] | None = None,
    precision: str = "float32",
    like: nn.Module | None = None,
) -> Penultimate:
    """Run `net` once over `batches` (tensors, or tuples (x, labels, ...)) in eval mode, leaving it as found.

    `head` names the classifier's module when it is not found by itself (timm's `get_classifier`, else the last linear
    layer); of several heads the first is read. Labels are read as they are, the network's outputs being those of
    another task. Raises UserError where there is no head, where it never runs, for a network that does not return
    (n, k) outputs, and for labels that are neither classes nor 0 and 1.
    """
    net = built("penultimate", {"net": net}, like)["net"]
    names = classifier(net) if head is None else (head,) if isinstance(head, str) else tuple(head)
    modules = dict(net.named_modules())
    if not names or names[0] not in modules:
        raise UserError(f"head: {type(net).__name__} has no classifier head that could be found; name it with head=.")
    read: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        read[:] = [inputs[0]]

    device, notes = device_of(net), precision_notes({"net": net})
    features: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    handle = modules[names[0]].register_forward_pre_hook(note)
    try:
        with undisturbed([net], "eval"), running(precision, str(device)):
            supply = Supply(batches)
            for number, batch in enumerate(supply):
                read.clear()
                with seeded(stream_seed(0, "probe", number), device), answering(batch.x, f"batch {number + 1}"):
                    out = logits_of(net(fed(batch.x, net)), len(batch.x))
                if not read or len(read[0]) != len(batch.x):
                    raise UserError(f"head: '{names[0]}' does not run on one row per sample; name another with head=.")
                rows = _rows(read[0], isinstance(modules[names[0]], nn.Linear), real_tokens(batch.x)).float()
                if not bool(rows.isfinite().all()):
                    odd = int((~rows.isfinite()).any(1).nonzero()[0])
                    raise UserError(
                        f"head: the features of sample {odd} (from 0) of batch {number + 1} are NaN or "
                        "infinite; leave it out, or another network."
                    )
                features.append(rows.cpu().numpy())
                logits.append(out.float().cpu().numpy())
    finally:
        handle.remove()
    labels = supply.order.labels()
    return Penultimate(
        np.concatenate(features),
        np.concatenate(logits),
        np.zeros(0, dtype=np.int64) if labels is None else labels.values,
        np.concatenate(supply.order.seen),
        (*notes, *supply.notes, *(() if labels is None else labels.notes)),
        supply.order.metric,
        supply.order.scale,
    )


def _rows(x: Tensor, linear: bool, real: Tensor | None) -> Tensor:
    """(n, d) of what goes into a head: a linear one reads the last dimension, a convolution the second."""
    if linear and x.ndim == 3 and real is not None:
        return pooled(x, "mean", real=real)
    return x.flatten(1, -2).mean(1) if linear and x.ndim > 2 else x.flatten(2).mean(2) if x.ndim > 2 else x
