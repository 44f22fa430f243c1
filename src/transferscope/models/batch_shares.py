"""Shares of a batch: a pass of some of its rows gives them what a pass of the whole batch would have given them.

Batch norm takes its moments over all rows, whichever process has them, with the exact gradient; what is drawn (dropout,
stochastic depth) is drawn for the whole batch and cut. Both are met where torch is called, so that the layers of every
library count, and anybody's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from transferscope.errors import UserError

DROPS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d)
KEY = "resources.gpus_per_run"


class Peers(Protocol):
    """Those who have the other shares: each calls the same in the same order."""

    def gathered(self, values: Tensor) -> Tensor:
        """The `values` of all (shares, ...), in the order of the shares."""
        ...

    def total(self, values: Tensor) -> Tensor:
        """The sum of the `values` of all."""
        ...


@dataclass(frozen=True)
class Share:
    """`rows` of a batch of `images`. Where there are more shares than rows, one stands in for none: it does not
    `count`."""

    rows: slice
    images: int
    counts: bool = True

    def __len__(self) -> int:
        return int(self.rows.stop - self.rows.start)


def share(images: int, number: int, of: int) -> Share:
    """Share `number` (from 0) `of` so many of a batch: rows that follow each other. One without a row is given the
    first, which does not count."""
    first, end = images * number // of, images * (number + 1) // of
    return Share(slice(first, end), images) if first < end else Share(slice(0, 1), images, counts=False)


class WholeBatch(TorchFunctionMode):
    """Inside, a network that is given a share of a batch computes as if it were given the whole.

    Raises UserError where it draws for anything but rows.
    """

    def __init__(self, share: Share, peers: Peers) -> None:
        super().__init__()
        self.share, self.peers = share, peers

    def __torch_function__(
        self, func: Any, types: Iterable[Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm:
            return self._normalised(*args, **kwargs)
        if func in DROPS:
            return self._dropped(func, *args, **kwargs)
        if func is Tensor.bernoulli_:
            return self._drawn(*args, **kwargs)
        return func(*args, **kwargs)

    def _normalised(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """`F.batch_norm`. What keeps no statistics is no norm of images, but of weights (timm's standardised ones)."""
        if not training or running_mean is None or running_var is None:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        if self.share.images * input[0, 0].numel() == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
        with torch.no_grad():
            count, mean, squares = self._moments(input)
            running_mean.mul_(1 - momentum).add_(momentum * mean)
            running_var.mul_(1 - momentum).add_(momentum * squares / (count - 1))
        out: Tensor = _Normalised.apply(input, weight, bias, count, mean, squares / count, eps, self)
        return out

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values a channel, their mean (c,) and their squared deviations from it (c,), over the whole batch."""
        own = x.to(_exact(x))
        var, mean = torch.var_mean(own, _but_channels(x), correction=0)
        count = torch.full_like(mean[:1], x.numel() // x.shape[1])
        found = torch.cat([count, mean, var * count])
        if not self.share.counts:
            found.zero_()
        every = self.peers.gathered(found)
        counts, means, squares = every[:, :1], *every[:, 1:].chunk(2, 1)
        mean = (counts * means).sum(0) / counts.sum()
        return counts.sum(), mean, (squares + counts * (means - mean).square()).sum(0)

    def _dropped(self, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if not training or p == 0.0:
            return func(input, p, training, inplace)
        return input * func(self._whole(input).fill_(1.0), p, True)[self.share.rows]

    def _drawn(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input.copy_(self._whole(input).bernoulli_(*args, **kwargs)[self.share.rows])

    def _whole(self, x: Tensor) -> Tensor:
        """Room for what belongs to all rows where `x` belongs to those of this share."""
        if x.ndim == 0 or len(x) != len(self.share):
            raise UserError(
                f"{KEY}: the network draws random numbers in training for something else than images (a tensor of "
                f"shape {tuple(x.shape)}), which several processes would draw differently; switch it off in "
                "network.options, or train with 1."
            )
        room = x.new_empty((self.share.images, *x.shape[1:]))
        last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        return room.to(memory_format=torch.channels_last) if last else room  # so that places are drawn in one order


class _Normalised(torch.autograd.Function):
    """Batch norm by moments that hang on the inputs of all shares, which the gradient goes by (Ioffe and Szegedy 2015,
    section 3)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        count: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        whole: WholeBatch,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, count, mean, (var + eps).rsqrt())
        ctx.whole = whole
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, count, mean, scale = ctx.saved_tensors
        dims, shape = _but_channels(x), (1, -1, *([1] * (x.ndim - 2)))
        g = gradient.to(mean.dtype)
        seen = (x.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        of_bias, of_weight = g.sum(dims), (g * seen).sum(dims)
        gx = None
        if ctx.needs_input_grad[0]:
            all_bias, all_weight = ctx.whole.peers.total(torch.stack([of_bias, of_weight])) / count
            if weight is not None:
                scale = scale * weight.to(mean.dtype)
            gx = (g - all_bias.view(shape) - seen * all_weight.view(shape)).mul_(scale.view(shape)).to(x.dtype)
            if not ctx.whole.share.counts:
                gx.zero_()
        gw = of_weight.to(weight.dtype) if weight is not None and ctx.needs_input_grad[1] else None
        gb = of_bias.to(gradient.dtype if weight is None else weight.dtype) if ctx.needs_input_grad[2] else None
        return gx, gw, gb, None, None, None, None, None


def _but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.ndim)]


def _exact(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
