"""Precision and memory layout: how a network is made ready for fast arithmetic, and the context it runs in."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn

from transferscope.errors import UserError
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
    """The context of every forward pass: autocast to bfloat16, or none, whatever the caller has switched on.

    UserError where torch would go on in float32 without saying so (torch 2.5 on Apple's GPUs).
    """
    kind = torch.device(device).type
    if precision == "bfloat16":
        if not _autocasts(kind):
            raise UserError(
                f"recipe.precision: torch {torch.__version__} does not compute in bfloat16 on '{device}'; write "
                "float32, or install a newer torch."
            )
        return torch.autocast(kind, dtype=torch.bfloat16)
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


@cache
def _autocasts(kind: str) -> bool:
    """Whether an autocast to bfloat16 is one: torch warns, and does nothing, where it knows of none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autocast(kind, dtype=torch.bfloat16):
            return torch.is_autocast_enabled(kind)
