"""Precision and memory layout: how a network is made ready for fast arithmetic, and the context it runs in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from transferscope.models import depthwise, smallmaps


def prepare(net: nn.Module, device: str) -> nn.Module:
    """Move `net` to `device` in channels-last layout and, on a CPU, let it take faster ways to the same convolutions.

    The parameters stay float32 in every precision: see `running`.
    """
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if torch.device(device).type == "cpu":
        depthwise.hasten(net)
        smallmaps.hasten(net)
    return net


def running(precision: str, device: str) -> AbstractContextManager[Any]:
    """The context of every forward pass: autocast to bfloat16, or none, whatever the caller has switched on."""
    kind = torch.device(device).type
    if precision == "bfloat16":
        return torch.autocast(kind, dtype=torch.bfloat16)
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
