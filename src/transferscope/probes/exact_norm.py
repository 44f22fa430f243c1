"""Batch statistics of float32 maps to full precision: torch's own, channels last on a CPU, are off by up to 1e-4.

torch adds up all values of a channel one after the other there; a pairwise sum loses a hundred times less.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mend(net: nn.Module) -> None:
    """Let every plain `nn.BatchNorm2d` of `net` sum exactly while its statistics are re-estimated (momentum 1)."""
    for module in net.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = Exact


class Exact(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        plain = input.dtype != torch.float32 or input.device.type != "cpu" or input.dim() != 4
        if plain or not self.training or self.momentum != 1 or mean is None or var is None:
            return super().forward(input)
        rows = input.permute(0, 2, 3, 1).flatten(0, 2)
        mean.copy_(rows.mean(0))
        squares = (rows - mean).square_().sum(0)
        var.copy_(squares / max(len(rows) - 1, 1))
        return F.batch_norm(input, mean, squares / len(rows), self.weight, self.bias, False, 0.0, self.eps)
