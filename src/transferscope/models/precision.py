"""Precision and memory layout: how a network is made ready for fast arithmetic, and the context it runs in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def prepare(net: nn.Module, precision: str, device: str) -> nn.Module:
    """Move `net` to `device` in channels-last layout; with bfloat16 on a CPU, keep depthwise convolutions in float32.

    The CPU's bfloat16 depthwise kernels are several times slower than its float32 ones, which would cost networks such
    as EfficientNet more than the other layers gain.
    """
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if precision == "bfloat16" and torch.device(device).type == "cpu":
        for module in net.modules():
            if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
                module.forward = _in_float32(module.forward)  # type: ignore[method-assign]
    return net


def running(precision: str, device: str) -> AbstractContextManager[Any]:
    """The context of every forward pass: autocast to bfloat16, or nothing."""
    if precision == "bfloat16":
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    return nullcontext()


def _in_float32(forward: Any) -> Any:
    def call(x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return forward(x.float())

    return call
