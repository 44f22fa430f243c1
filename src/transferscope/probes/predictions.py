"""Predictions: the outputs of a network on batches, in the order of the batches."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from transferscope.models.precision import running


@torch.no_grad()
def logits(net: nn.Module, batches: Iterable[Tensor], *, device: str = "cpu", precision: str = "float32") -> np.ndarray:
    """Outputs (n, k) in float32 of `net` in eval mode; its training flags are put back, also after an exception."""
    flags = [(module, module.training) for module in net.modules()]
    net.eval()
    found: list[Tensor] = []
    try:
        with running(precision, device):
            for x in batches:
                found.append(net(x.to(device, non_blocking=True)).float())
    finally:
        for module, flag in flags:
            module.training = flag
    return torch.cat(found).cpu().numpy()
