"""spared: RMSprop whose weight decay spares biases and norms, by two groups of parameters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def build(parameters: "Mapping[str, nn.Parameter]", *, lr: float, weight_decay: float) -> "torch.optim.Optimizer":
    """`torch.optim.RMSprop`; whatever has fewer than two dimensions is not decayed."""
    import torch

    decayed = [p for p in parameters.values() if p.ndim > 1]
    spared = [p for p in parameters.values() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.RMSprop(groups, lr=lr)
