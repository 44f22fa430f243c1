"""Dense convolutions of small maps, on a CPU, as matrix products, which take half the time of oneDNN's convolutions.

A 3x3 kernel on a 2x2 map meets four pixels and five zeros. There the whole convolution is the matrix (out pixels and
channels) x (in pixels and channels) that the kernel spells out; its gradients are two more products. A 1x1 kernel is a
matrix already, and its product with the pixels is taken while the map is small (`MOST_PIXELS`), in float32 and in
bfloat16.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = 2  # multiplications saved, as a factor, from which spelling out the matrix pays
MOST_PIXELS = 100  # of a map under a 1x1 kernel: below, the product takes 0.5 to 0.9 of the convolution's time

Pair = tuple[int, int]
Place = tuple[int, int, slice, slice, slice, slice]


def hasten(net: nn.Module) -> None:
    """Let every plain dense convolution of `net` be a matrix product where its map is small; all else is kept."""
    for module in net.modules():
        if type(module) is nn.Conv2d and module.groups == 1 and _zero_padded(module):
            if max(module.kernel_size) > 1:
                module.__class__ = SmallMapConv2d  # unlike a patched `forward`, this survives copies of the network
            elif module.stride == (1, 1):
                module.__class__ = PointwiseConv2d


def is_small(x: Tensor, weight: Tensor) -> bool:
    """Whether the map of `x` (b, c, h, w) has at most half as many pixels as the kernel of `weight` has taps."""
    return GAIN * x.shape[2] * x.shape[3] <= weight.shape[2] * weight.shape[3]


def is_few_pixels(x: Tensor) -> bool:
    """Whether `x` (b, c, h, w) is small enough for a product with a 1x1 kernel: on a CPU whose torch has MKL, float32
    or inside an autocast its type, with the channels of a pixel side by side, so that nothing is copied.
    """
    autocast = torch.is_autocast_enabled("cpu")
    return (
        x.device.type == "cpu"
        and (x.dtype == torch.float32 or (autocast and x.dtype == torch.get_autocast_dtype("cpu")))
        and x.dim() == 4
        and x.shape[2] * x.shape[3] <= MOST_PIXELS
        and x.permute(0, 2, 3, 1).is_contiguous()
        and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    )


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair) -> Tensor:
    """`F.conv2d` of x (b, c, h, w) and weight (k, c, kh, kw); in the autocast's type inside a CPU autocast."""
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        x, weight = x.to(kind), weight.to(kind)
    out: Tensor = _Spelled.apply(x, weight, stride, padding)
    return out if bias is None else out + bias.to(out.dtype).view(1, -1, 1, 1)


class _Spelled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        out = _out_size(x, weight, stride, padding)
        matrix = _matrix(x, weight, stride, padding)
        ctx.save_for_backward(x, weight, matrix)
        ctx.stride, ctx.padding = stride, padding
        with torch.autocast("cpu", enabled=False):
            return (_flat(x) @ matrix.t()).view(len(x), *out, len(weight)).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight, matrix = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates the gradient: only torch's own operators allow that
            gx, gw = torch.ops.aten.convolution_backward(
                g,
                x,
                weight,
                None,
                ctx.stride,
                ctx.padding,
                (1, 1),
                False,
                (0, 0),
                1,
                (*ctx.needs_input_grad[:2], False),
            )[:2]
            return gx, gw, None, None
        rows, (height, width) = _flat(g), x.shape[2:]
        gx = gw = None
        if ctx.needs_input_grad[0]:
            gx = (rows @ matrix).view(len(x), height, width, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            gw = _kernel(rows.t() @ _flat(x), x, weight, ctx.stride, ctx.padding)
        return gx, gw, None, None


def _flat(x: Tensor) -> Tensor:
    """(b, c, h, w) as (b, h * w * c): no copy when the layout is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1)


def _matrix(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The kernel spelled out, (oh * ow * k, h * w * c)."""
    (height, width), (kept, channels), out = x.shape[2:], weight.shape[:2], _out_size(x, weight, stride, padding)
    kernel = weight.detach().permute(0, 2, 3, 1)
    matrix = torch.zeros((*out, kept, height, width, channels), dtype=weight.dtype)
    for i, j, rows, columns, down, across in _places(x, weight, stride, padding):
        matrix[i, j, :, rows, columns] = kernel[:, down, across]
    return matrix.view(out[0] * out[1] * kept, -1)


def _kernel(matrix: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
    """The transpose of `_matrix`: each tap's sum over the places where it was written, added up in at least float32."""
    (height, width), (kept, channels, kh, kw) = x.shape[2:], weight.shape
    parts = matrix.view(*_out_size(x, weight, stride, padding), kept, height, width, channels)
    exact = torch.promote_types(weight.dtype, torch.float32)
    total = torch.zeros((kept, kh, kw, channels), dtype=exact)
    for i, j, rows, columns, down, across in _places(x, weight, stride, padding):
        total[:, down, across] += parts[i, j, :, rows, columns]
    return total.permute(0, 3, 1, 2).to(weight.dtype)


def _places(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Iterator[Place]:
    """For every output pixel: the rows and columns of the map it sees, and the taps it sees them through."""
    (height, width), (kh, kw), (oh, ow) = x.shape[2:], weight.shape[2:], _out_size(x, weight, stride, padding)
    for i in range(oh):
        rows, down = _seen(i * stride[0] - padding[0], height, kh)
        for j in range(ow):
            columns, across = _seen(j * stride[1] - padding[1], width, kw)
            yield i, j, rows, columns, down, across


def _seen(start: int, size: int, kernel: int) -> tuple[slice, slice]:
    """The pixels below a kernel whose first tap lies at `start`, and those taps."""
    first, end = max(0, start), min(size, start + kernel)
    return slice(first, end), slice(first - start, end - start)


def _out_size(x: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Pair:
    height, width = (
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(x.shape[2:], weight.shape[2:], stride, padding, strict=True)
    )
    return height, width


def _zero_padded(module: nn.Conv2d) -> bool:
    return (
        module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and all(pad < kernel for pad, kernel in zip(module.padding, module.kernel_size, strict=True))
    )


class SmallMapConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        if input.device.type != "cpu" or input.dim() != 4 or not is_small(input, self.weight):
            return super().forward(input)
        padding = (int(self.padding[0]), int(self.padding[1]))
        return conv2d(input, self.weight, self.bias, (self.stride[0], self.stride[1]), padding)


class PointwiseConv2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        if not is_few_pixels(input):
            return super().forward(input)
        return F.linear(input.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
