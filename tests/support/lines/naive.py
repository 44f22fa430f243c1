"""The slow way along a line: a new state dict per alpha, a full pass, float64 throughout."""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def state_at(a: nn.Module, b: nn.Module, alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) a + alpha b in float64; integers from a (from b at 1)."""
    other = b.state_dict()
    found = {}
    for name, tensor in a.state_dict().items():
        if tensor.is_floating_point():
            found[name] = (1 - alpha) * tensor.double() + alpha * other[name].double()
        else:
            found[name] = other[name] if alpha == 1 else tensor
    return found


def logits(net: nn.Module, state: dict[str, Tensor], x: Tensor, refresh: Tensor | None = None) -> np.ndarray:
    """Outputs in float64; with `refresh`, batch norm's statistics are those of one training pass of them."""
    slow = copy.deepcopy(net).double()
    slow.load_state_dict(state)
    slow.eval()
    if refresh is not None:
        for module in slow.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = None  # a cumulative average, here over one batch
                module.reset_running_stats()
                module.train()
        with torch.no_grad():
            slow(refresh.double())
        slow.eval()
    with torch.no_grad():
        return slow(x.double()).numpy()


def loss_and_error(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    z = z - z.max(1, keepdims=True)
    losses = np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]
    return float(losses.mean()), float((z.argmax(1) != y).mean())
