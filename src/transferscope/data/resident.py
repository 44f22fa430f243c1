"""A target's decoded images held on a GPU, so that crops and evaluation never wait for the host."""

from collections.abc import MutableMapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from transferscope import devices
from transferscope.data.levels import bits

SHARE = 0.25  # of the GPU's free memory; several runs may share one GPU

_held: MutableMapping[Any, dict[tuple[str, str], Tensor | None]] = (
    WeakKeyDictionary()
)  # by table, for as long as it lives


def resident(table: Any, which: Literal["train", "eval"], device: torch.device | str) -> Tensor | None:
    """All images (n, S, S, C) of a table as `bits` on a GPU, sent once; None on a CPU, and where they would not fit."""
    if not devices.on_gpu(device):
        return None
    known = _held.setdefault(table, {})
    key = (which, str(device))
    if key not in known:
        known[key] = _sent_once(table.pixels(which), device, SHARE * devices.free_memory(device))
    return known[key]


def _sent_once(pixels: np.ndarray | None, device: torch.device | str, room: float) -> Tensor | None:
    if pixels is None or pixels.nbytes > room:
        return None
    whole = torch.empty(pixels.shape, dtype=bits(np.empty(0, pixels.dtype)).dtype, device=device)
    for start in range(0, len(pixels), 4096):  # in parts: the host never holds the whole of a mapped file
        whole[start : start + 4096] = bits(np.array(pixels[start : start + 4096]))
    return whole


def sent(images: np.ndarray, device: torch.device | str) -> Tensor:
    """Images on `device`, as `levels.bits`; to a GPU with memory of its own they travel pinned, while it computes."""
    tensor = bits(images)
    if not devices.pins(device):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
