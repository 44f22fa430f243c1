"""Floating-point operations of a forward pass, counted by formula: the same whichever kernels a machine picks."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from transferscope.input_shape import Example

Shape = Sequence[int]
FUSED = (
    "flash_attention_for_cpu",
    "flash_attention",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Two products, of (L, E) with (E, S) and of (L, S) with (S, Ev), for every image and head of the query."""
    *many, length, width = query
    return 2 * math.prod(many) * length * key[-2] * (width + value[-1])


def _recurrent(x: Shape, inner: Shape, recurrent: Shape, *_: Any, **__: Any) -> int:
    """Every step of every sequence times both matrices of a layer."""
    return 2 * math.prod(x[:-1]) * (math.prod(inner) + math.prod(recurrent))


@contextmanager
def counting() -> Iterator[FlopCounterMode]:
    """Count the convolutions and matrix products done inside, a multiply-add counting two; on a CPU, forwards only.

    torch's counter sees kernels, and knows neither a CPU's fused attention and recurrent layers nor the short cuts of
    transformers without gradients: which of them run hangs on the processor and the release of torch.
    """
    known: dict[Any, Any] = {getattr(torch.ops.aten, f"_scaled_dot_product_{name}", None): _attention for name in FUSED}
    known[getattr(torch.ops.aten, "mkldnn_rnn_layer", None)] = _recurrent
    known.pop(None, None)  # another release's
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False, custom_mapping=known) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def forward_flops(net: nn.Module, image: Example) -> dict[nn.Module, float]:
    """Operations on one image like `image` that each module does itself, its children's left out."""
    own: dict[nn.Module, float] = {}
    open_calls: list[tuple[float, list[float]]] = []  # operations before the call, those of its children

    def enter(module: nn.Module, inputs: Any) -> None:
        open_calls.append((float(counter.get_total_flops()), []))

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        before, children = open_calls.pop()
        whole = float(counter.get_total_flops()) - before
        own[module] = own.get(module, 0.0) + whole - sum(children)
        if open_calls:
            open_calls[-1][1].append(whole)

    hooks = [h for m in net.modules() for h in (m.register_forward_pre_hook(enter), m.register_forward_hook(leave))]
    try:
        with counting() as counter, torch.no_grad():
            net(image.example(1))
    finally:
        for hook in hooks:
            hook.remove()
    return {module: flops for module, flops in own.items() if flops}
