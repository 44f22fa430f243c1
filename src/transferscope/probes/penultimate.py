"""Penultimate features: what goes into a network's classifier head, and what comes out of it, in one pass."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.precision import running
from transferscope.probes.distance import classifier
from transferscope.probes.features import device_of, undisturbed
from transferscope.probes.samples import unpacked


@dataclass(frozen=True)
class Penultimate:
    """`features` (n, d) float32: the head's input, averaged over positions or tokens where it has any; `logits` (n, k)
    float32: the network's output; `labels` (n,) or (n, classes), empty (0,) when the batches had none."""

    features: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[Any]


@torch.no_grad()
def penultimate(
    net: nn.Module, batches: Iterable[Any], *, head: str | Sequence[str] | None = None, precision: str = "float32"
) -> Penultimate:
    """Run `net` once over `batches` (tensors, or tuples (x, labels, ...)) in eval mode, leaving it as found.

    `head` names the classifier's module when it is not found by itself (timm's `get_classifier`, else the last linear
    layer); of several heads the first is read. Raises UserError where there is no head, where it never runs, and for a
    network that does not return (n, k) outputs.
    """
    names = classifier(net) if head is None else (head,) if isinstance(head, str) else tuple(head)
    modules = dict(net.named_modules())
    if not names or names[0] not in modules:
        raise UserError(f"head: {type(net).__name__} has no classifier head that could be found; name it with head=.")
    read: list[Tensor] = []

    def note(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        read[:] = [inputs[0]]

    device = device_of(net)
    features: list[np.ndarray] = []
    logits: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    count = 0
    handle = modules[names[0]].register_forward_pre_hook(note)
    try:
        with undisturbed([net], "eval"), running(precision, str(device)):
            for batch in unpacked(batches):
                read.clear()
                out = net(batch.x.to(device, non_blocking=True))
                if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(batch.x):
                    raise UserError(f"network: {type(net).__name__} should return (samples, outputs).")
                if not read or len(read[0]) != len(batch.x):
                    raise UserError(f"head: '{names[0]}' does not run on one row per sample; name another with head=.")
                features.append(_rows(read[0]).float().cpu().numpy())
                logits.append(out.float().cpu().numpy())
                labels += [batch.labels] if batch.labels is not None else []
                count += 1
    finally:
        handle.remove()
    if not count or len(labels) not in (0, count):
        raise UserError(f"batches: {len(labels)} of {count} batches have labels; give all of them some, or none.")
    known = np.concatenate(labels) if labels else np.zeros(0, dtype=np.int64)
    return Penultimate(np.concatenate(features), np.concatenate(logits), known)


def _rows(x: Tensor) -> Tensor:
    """(n, d) of (n, d), of maps (n, d, height, width) and of tokens (n, tokens, d)."""
    if x.ndim == 4:
        return x.mean((2, 3))
    return x.mean(1) if x.ndim == 3 else x.flatten(1)
