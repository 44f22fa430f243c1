"""Depthwise convolutions on a CPU: the numbers of `F.conv2d`, with gradients that stay on oneDNN's fast kernels.

Three cases fall back to reference loops, 10 to 100 times slower than the arithmetic needs: the weight gradient of
kernels wider than 3, the weight gradient where the padding is about as large as the map, and the bfloat16 input
gradient of a strided convolution. The same sums are asked for here in a form that the fast kernels take.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDEST = 3  # kernel columns that oneDNN's fast weight gradient takes

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # as F.pad counts them: left, right, top, bottom


def hasten(net: nn.Module) -> None:
    """Let every depthwise convolution of `net` compute through `depthwise_conv2d`; names, weights and hooks are kept.

    Only plain `nn.Conv2d` and timm's `Conv2dSame` with zero padding and no dilation; all others stay as they are.
    """
    for module in net.modules():
        if _fits(module) and (kind := _hastened(type(module))) is not None:  # type: ignore[arg-type]
            module.__class__ = kind  # unlike a patched `forward`, this survives copies of the network


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, pads: Pads) -> Tensor:
    """Each channel of `x` (b, c, h, w), padded with zeros, convolved with its own kernel of `weight` (c, 1, kh, kw).

    `pads` (left, right, top, bottom) are smaller than the kernel.
    Inside a CPU autocast it computes in the autocast's type, as `F.conv2d` does there.
    """
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    out: Tensor = _Depthwise.apply(x, weight, bias, stride, pads)
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, pads: Pads) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.pads = stride, pads
        return _forward(x, weight, bias, stride, pads)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # somebody differentiates the gradient: only torch's own operators allow that
            gx, gw = _plain(g, _padded(x, ctx.pads), weight, ctx.stride, (to_x, to_weight))
            gx = None if gx is None else F.pad(gx, [-pad for pad in ctx.pads])
        else:
            g = g.contiguous(memory_format=torch.channels_last)
            gx = input_gradient(g, x, weight, ctx.stride, ctx.pads) if to_x else None
            gw = weight_gradient(g, x, weight, ctx.stride, ctx.pads) if to_weight else None
        return gx, gw, g.sum((0, 2, 3)) if to_bias else None, None, None


def input_gradient(g: Tensor, x: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> Tensor:
    """The gradient (b, c, h, w) for `x`, given that for the output, `g` (b, c, oh, ow)."""
    if (
        x.dtype == torch.bfloat16
        and stride != (1, 1)
        and all(p < k for p, k in zip(pads[::2], weight.shape[:1:-1], strict=True))
    ):
        return _transposed(g, x, weight, stride, pads)
    if _even(pads):
        return _found(_plain(g, x, weight, stride, (True, False), (pads[2], pads[0]))[0])
    whole = _found(_plain(g, _padded(x, pads), weight, stride, (True, False))[0])
    return F.pad(whole, [-pad for pad in pads])


def _transposed(g: Tensor, x: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> Tensor:
    """The transposed convolution written out: zeros between the entries of g, then the mirrored kernel at stride 1."""
    (height, width), (kh, kw) = x.shape[2:], weight.shape[2:]
    spread = _empty(g, height + kh - 1, width + kw - 1).zero_()
    places = spread[:, :, kh - 1 - pads[2] :: stride[0], kw - 1 - pads[0] :: stride[1]]
    rows, columns = (min(there, given) for there, given in zip(places.shape[2:], g.shape[2:], strict=True))
    places[:, :, :rows, :columns] = g[:, :, :rows, :columns]  # the rest of g saw only padding
    return F.conv2d(spread, weight.flip(2, 3), groups=len(weight))


def weight_gradient(g: Tensor, x: Tensor, weight: Tensor, stride: Pair, pads: Pads) -> Tensor:
    """The gradient (c, 1, kh, kw) for `weight`, given that for the output, `g` (b, c, oh, ow)."""
    (height, width), (kh, kw), (oh, ow) = x.shape[2:], weight.shape[2:], g.shape[2:]
    if kw <= WIDEST and _even(pads) and pads[2] < height - 1 and pads[0] < width - 1:
        return _found(_plain(g, x, weight, stride, (False, True), (pads[2], pads[0]))[1])
    (top, bottom), (left, right) = (
        _touching(height, oh, kh, stride[0], pads[2]),
        _touching(width, ow, kw, stride[1], pads[0]),
    )
    found = torch.zeros_like(weight)  # taps that only ever meet padding have no gradient
    strips = -(-(right - left) // WIDEST)
    for strip in range(strips):
        a, b = left + (right - left) * strip // strips, left + (right - left) * (strip + 1) // strips
        seen = _window(x, top - pads[2], a - pads[0], (oh - 1) * stride[0] + bottom - top, (ow - 1) * stride[1] + b - a)
        part = weight[:, :, top:bottom, a:b]
        found[:, :, top:bottom, a:b] = _found(_plain(g, seen, part, stride, (False, True))[1])
    return found


def _touching(size: int, out: int, kernel: int, stride: int, pad: int) -> Pair:
    """The first tap of a kernel that ever meets the image rather than padding, and the end of such taps."""
    first = max(0, pad - (out - 1) * stride)
    return first, min(kernel, max(size + pad, first + 1))


def _window(x: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """``x[:, :, top : top + height, left : left + width]``, channels-last, with zeros where that leaves the image."""
    rows, columns = x.shape[2:]
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return x[:, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
    out = _empty(x, height, width).zero_()
    a, b, c, d = max(top, 0), min(top + height, rows), max(left, 0), min(left + width, columns)
    out[:, :, a - top : b - top, c - left : d - left] = x[:, :, a:b, c:d]
    return out


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, pads: Pads) -> Tensor:
    padding = (pads[2], pads[0]) if _even(pads) else (0, 0)
    return F.conv2d(x if _even(pads) else _padded(x, pads), weight, bias, stride, padding, 1, len(weight))


def _plain(
    g: Tensor, x: Tensor, weight: Tensor, stride: Pair, wanted: tuple[bool, bool], padding: Pair = (0, 0)
) -> tuple[Tensor | None, Tensor | None]:
    """torch's own gradients of a depthwise convolution."""
    gx, gw, _ = torch.ops.aten.convolution_backward(
        g, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), (*wanted, False)
    )
    return gx, gw


def _even(pads: Pads) -> bool:
    return pads[0] == pads[1] and pads[2] == pads[3]


def _padded(x: Tensor, pads: Pads) -> Tensor:
    return F.pad(x, pads) if any(pads) else x


def _empty(like: Tensor, height: int, width: int) -> Tensor:
    size = (*like.shape[:2], height, width)
    return torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


def _found(gradient: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient


def _fits(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels == module.out_channels > 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and all(pad < kernel for pad, kernel in zip(module.padding, module.kernel_size, strict=True))
    )


@cache
def _hastened(kind: type[nn.Module]) -> type[nn.Module] | None:
    """The subclass of a known class of convolutions that goes through `depthwise_conv2d`; None for unknown classes."""
    if kind is nn.Conv2d:
        return _Conv2d
    if kind.__name__ != "Conv2dSame" or not kind.__module__.startswith("timm."):
        return None

    def forward(self: Any, x: Tensor) -> Tensor:
        (height, width), (kh, kw), stride = x.shape[2:], self.weight.shape[2:], self.stride
        down, across = _same(height, kh, stride[0]), _same(width, kw, stride[1])
        pads = (across // 2, across - across // 2, down // 2, down - down // 2)
        return depthwise_conv2d(x, self.weight, self.bias, stride, pads)

    return type(kind.__name__, (kind,), {"forward": forward})


class _Conv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        down, across = (int(pad) for pad in self.padding)
        strides = (self.stride[0], self.stride[1])
        return depthwise_conv2d(input, self.weight, self.bias, strides, (across, across, down, down))


def _same(size: int, kernel: int, stride: int) -> int:
    """All the padding that makes an output of ``ceil(size / stride)``, as TensorFlow counts it."""
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)
