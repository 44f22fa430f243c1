"""Is a module of unknown class a normalisation by the mean and variance it keeps, and of which dimension? By trial.

(x - mean) / sqrt(var) does not change when x and the mean are shifted alike, channel by channel, nor when x is spread
twice as far around the mean and the variance is four times as large. A module that has both laws for the channels of
one dimension, and changes with what it keeps, uses it so; for any other class nothing can be said.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from transferscope.models.build import seeded
from transferscope.models.outputs import tensors_of

CLOSE = 0.02  # of the outputs' spread: rounding in half precision and a large eps stay below


@torch.no_grad()
def channel_axis(forward: Callable[[Tensor], Any], mean: Tensor, var: Tensor, x: Tensor) -> int | None:
    """The dimension of `x` that the statistics belong to; None where outputs in eval mode do not depend on them.

    `forward` takes inputs like `x`; `mean` and `var` are the tensors it reads, left as found. Raises LookupError,
    whose words go on "but ...", where they are not used as above.
    """
    count = var.numel()
    if mean.numel() != count or sum(size > 1 for size in var.shape) > 1:
        raise LookupError("not one value of each per channel")
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(x.shape, generator=draw).to(x)
    center, shift = (torch.randn(count, generator=draw).to(x) for _ in range(2))
    spread = (1 + torch.rand(count, generator=draw)).to(x)
    before = mean.clone(), var.clone()

    def run(x: Tensor, center: Tensor, spread: Tensor) -> Tensor:
        mean.copy_(center.view(mean.shape))
        var.copy_(spread.view(var.shape))
        out = forward(x)
        out = out[0] if isinstance(out, tuple | list) and out else out
        if not isinstance(out, Tensor):
            raise LookupError("its outputs are no tensor")
        return out.to(torch.float32)

    try:
        plain = run(inputs, center, spread)
        close = CLOSE * float(plain.std())

        def same(other: Tensor) -> bool:
            return other.shape == plain.shape and bool((other - plain).abs().max() <= close)

        if same(run(inputs, center + shift, spread)) and same(run(inputs, center, 4 * spread)):
            return None
        found = []
        for axis in [d for d in range(x.ndim) if x.shape[d] == count]:
            shape = [1] * x.ndim
            shape[axis] = -1
            middle = center.view(shape)
            if same(run(inputs + shift.view(shape), center + shift, spread)) and same(
                run(middle + 2 * (inputs - middle), center, 4 * spread)
            ):
                found.append(axis)
    finally:
        mean.copy_(before[0])
        var.copy_(before[1])
    if len(found) != 1:
        raise LookupError("its outputs in eval mode are not those of a normalisation of channels by them")
    return found[0]


@torch.no_grad()
def used_unseen(run: Callable[[], Any], tensors: Mapping[str, Tensor], device: torch.device) -> str | None:
    """Which of `tensors`, of modules that were never called, changes the outputs of `run` all the same."""

    def outputs() -> list[Tensor]:
        with seeded(0, device):  # a dropout that is always on draws alike
            return tensors_of(run())

    before = outputs() if tensors else []
    for name, tensor in tensors.items():
        kept = tensor.clone()
        tensor.mul_(2).add_(1)
        after = outputs()
        tensor.copy_(kept)
        if len(before) != len(after) or not all(map(torch.equal, before, after)):
            return name
    return None
