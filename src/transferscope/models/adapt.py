"""Weights made for other inputs, adapted: channels of the stem, the grid of a position embedding."""

import contextlib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

EMBEDDING = re.compile(r"(^|[._])(pos|position|positional|tokens?|embed|embeddings?)([._]|$)|rel_pos|bias_table")
POSITION = re.compile(r"pos(ition|itional)?_?emb")
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")  # timm's, by file of a network


def stem(net: nn.Module, body: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The tensors of the first layer with a weight matrix, in the order of definition, embeddings of `net` left out."""
    for name, module in net.named_modules():
        own = [f"{name}.{n}" if name else n for n, _ in module.named_parameters(recurse=False)]
        own = [n for n in own if n in body]
        if any(body[n].ndim > 1 and not EMBEDDING.search(n.rpartition(".")[2]) for n in own):
            return tuple(own)
    return ()


def channels(weight: Tensor, wanted: int) -> Tensor:
    """A convolution's weight for `wanted` input channels, from 3 of them as timm's `adapt_input_conv` has it.

    One channel gets the sum over those there were; more get them repeated and cut, scaled by given / wanted, so that
    the outputs keep their size. timm refuses to make 3 of others, and other than 3 into several: there it is our own.
    """
    given = weight.shape[1]
    if wanted == 1:
        return weight.float().sum(1, keepdim=True).to(weight.dtype)
    repeated = weight.float().repeat(1, math.ceil(wanted / given), *(1,) * (weight.ndim - 2))[:, :wanted]
    return (repeated * (given / wanted)).to(weight.dtype)


def adapted(
    net: nn.Module, body: Mapping[str, Tensor], given: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor, str]]:
    """(name, tensor of the right shape, what was done to it) for what of `given` can be made to fit `body`."""
    first = stem(net, body)
    for name, like in body.items():
        tensor = given.get(name)
        if tensor is None or tensor.shape == like.shape or not tensor.is_floating_point():
            continue
        if name in first and _but(1, tensor, like) and like.ndim > 2 and tensor.shape[1] > 0:
            was, now = tensor.shape[1], like.shape[1]
            as_timm = (was == 3 and now != 3) or (now == 1 and was < 3)
            own = "summed" if now == 1 else "repeated, cut and scaled, so that the outputs keep their size"
            how = " as timm does" if as_timm else f": {own}"
            yield name, channels(tensor, now), f"{name} was made for {_count(was)}, adapted to {_count(now)}{how}"
        elif POSITION.search(name) and (resampled := _position(net, tensor, like)) is not None:
            yield name, *resampled
        elif name.endswith("bias_table") and (table := _bias_table(tensor, like)) is not None:
            yield name, table, "relative position bias tables were made for another window, resampled as timm does"


def converted(net: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` after timm's own conversion for this network ({} where it has none, or none for such a file)."""
    for cls in type(net).__mro__:
        module = sys.modules.get(cls.__module__)
        if not cls.__module__.startswith("timm.models."):
            continue
        for name in FILTERS:
            if callable(convert := getattr(module, name, None)):
                return _called(convert, dict(state), net)
    return {}


def _called(convert: Any, state: dict[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    takes_net = convert.__code__.co_argcount > 1
    with contextlib.suppress(Exception), torch.no_grad():  # written for the files that timm publishes, not for any file
        found = convert(state, net) if takes_net else convert(state)
        return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    return {}


def _but(dim: int, a: Tensor, b: Tensor) -> bool:
    """Whether two shapes differ in one dimension at most."""
    return a.ndim == b.ndim and all(a.shape[d] == b.shape[d] for d in range(a.ndim) if d != dim)


def _count(channels: int) -> str:
    return f"{channels} channel" + "s" * (channels != 1)


def _position(net: nn.Module, tensor: Tensor, like: Tensor) -> tuple[Tensor, str] | None:
    """A position embedding ([1,] tokens, width) on another grid, and what was done; None if that is unclear."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    if not _but(like.ndim - 2, tensor, like) or like.ndim not in (2, 3):
        return None
    old, new = tensor.shape[-2], like.shape[-2]
    own = 0 if getattr(net, "no_embed_class", False) else getattr(net, "num_prefix_tokens", None)
    for extra in (1, 0, 2) if own is None else (own,):
        before, after = _square(old - extra), _square(new - extra)
        grid = tuple(getattr(getattr(net, "patch_embed", None), "grid_size", None) or (after, after))
        if before and len(grid) == 2 and math.prod(grid) == new - extra > 0:
            whole = tensor if tensor.ndim == 3 else tensor[None]
            found = resample_abs_pos_embed(
                whole, new_size=list(grid), old_size=[before, before], num_prefix_tokens=extra
            )
            said = f"position embedding of a {before} x {before} grid, resampled to {grid[0]} x {grid[1]} as timm does"
            return found.reshape(like.shape), said
    return None


def _bias_table(tensor: Tensor, like: Tensor) -> Tensor | None:
    """A table (offsets in a window, heads) for another window; None where the windows are not square."""
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

    before, after = _square(tensor.shape[0]), _square(like.shape[0])
    if tensor.ndim != 2 or not _but(0, tensor, like) or not before % 2 or not after % 2:
        return None
    size = (after + 1) // 2
    table: Tensor = resize_rel_pos_bias_table(tensor, new_window_size=(size, size), new_bias_shape=tuple(like.shape))
    return table.reshape(like.shape).to(tensor.dtype)


def _square(count: int) -> int:
    """The side of a square of `count`; 0 where it is none."""
    side = math.isqrt(max(count, 0))
    return side if side * side == count else 0
