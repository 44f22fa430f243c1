"""Which layers of a network to read: the blocks, all leaves, or names and patterns; never a name that is ambiguous."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from transferscope.errors import UserError, did_you_mean
from transferscope.models.blocks import blocks

Layers = Literal["blocks", "leaves"] | str | Sequence[str]
Pool = Literal["mean", "token"] | Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Wanted:
    """One layer asked for: its name, the modules of which the last to run is read, and whether it must be there."""

    name: str
    modules: tuple[str, ...]
    must: bool


def wanted(net: nn.Module, layers: Layers) -> tuple[Wanted, ...]:
    """The layers that `layers` names, in the order of definition.

    "blocks" are those of `models.blocks`, each read where it ends (the output of its last module to run); "leaves" all
    modules without children. Else module names and patterns: `*` stands for anything but a dot, `**` for anything;
    a shortened name (`conv1` for `backbone.conv1`) is taken when only one module ends so. Raises UserError for a name
    or pattern that fits no module and for a shortened name that fits several.
    """
    modules = {name: module for name, module in net.named_modules() if name}
    if isinstance(layers, str) and layers == "blocks":
        cut = [(block.name, tuple(p for p in block.prefixes if p in modules)) for block in blocks(net)]
        return tuple(Wanted(name, inside, False) for name, inside in cut if inside)
    if isinstance(layers, str) and layers == "leaves":
        return tuple(Wanted(n, (n,), False) for n, m in modules.items() if not any(True for _ in m.children()))
    found: dict[str, bool] = {}
    for pattern in [layers] if isinstance(layers, str) else layers:
        for name in _fitting(pattern, modules):
            found[name] = found.get(name, False) or "*" not in pattern
    if not found:
        raise UserError("layers: no layer was named; write 'blocks', 'leaves', or names of modules.")
    return tuple(Wanted(name, (name,), found[name]) for name in modules if name in found)


def _fitting(pattern: str, modules: dict[str, nn.Module]) -> list[str]:
    if pattern in modules:
        return [pattern]
    if "*" in pattern:
        parts = ["[^.]*" if p == "*" else ".*" if p == "**" else re.escape(p) for p in re.split(r"(\*\*|\*)", pattern)]
        hits = [name for name in modules if re.fullmatch("".join(parts), name)]
    else:
        hits = [name for name in modules if name.endswith("." + pattern)]
        if len(hits) > 1:
            shown = ", ".join(hits[:3]) + (", ..." if len(hits) > 3 else "")
            raise UserError(f"layers: '{pattern}' fits {len(hits)} modules ({shown}); write the whole name.")
    if not hits:
        raise UserError(f"layers: no module fits '{pattern}'; {did_you_mean(pattern, list(modules))}")
    return hits


def real_tokens(x: Tensor) -> Tensor | None:
    """Which tokens of a batch of texts (n, t) are no padding, bool (n, t): numbers below 0 are; None where none is, and
    for inputs that are no whole numbers."""
    if x.is_floating_point() or x.is_complex() or x.ndim != 2 or not bool((x < 0).any()):
        return None
    return x >= 0


def pooled(features: Tensor, pool: Pool, space: tuple[int, ...] | None = None, real: Tensor | None = None) -> Tensor:
    """Features (n, ...) of a layer as one row per sample (n, d), ready to be compared.

    None keeps every value; "mean" averages over space or tokens; "token" takes the first (class) token of (n, t, c).
    The mean of (n, t, c) is over tokens; that of four dimensions over the last two (channels first), unless only the
    first two have the proportions of the inputs' `space` (height, width), as in networks that keep channels last; of
    more dimensions over all but the channels, which come first. Two-dimensional features stay as they are. Features of
    texts have a row for every token: those that are not `real` (n, t) are 0, and in no mean. Ask with a function where
    that is wrong. Raises UserError for "token" on anything but tokens.
    """
    if real is not None and features.ndim == 3 and features.shape[1] == real.shape[1] and not callable(pool):
        real = real.to(features.device).unsqueeze(-1)
        features = features.masked_fill(~real, 0.0)
        if pool == "mean":
            return features.sum(1, dtype=torch.float32) / real.sum(1)
    if pool is None:
        return features
    if callable(pool):
        return pool(features)
    if pool not in ("mean", "token"):
        raise UserError(f"pool: '{pool}' is none of None, 'mean', 'token' or a function of the features.")
    if features.ndim == 2:
        return features
    if pool == "token":
        if features.ndim != 3:
            raise UserError(f"pool: 'token' needs features (samples, tokens, channels), not {tuple(features.shape)}.")
        return features[:, 0]
    over = tuple(range(2, features.ndim))
    if features.ndim == 3:
        over = (1,)
    elif features.ndim == 4 and space is not None:
        first, last = features.shape[1:3], features.shape[2:4]
        over = (1, 2) if _shrunk(first, space) and not _shrunk(last, space) else (2, 3)
    return features.mean(over, dtype=torch.float32)


def _shrunk(sides: Sequence[int], space: Sequence[int]) -> bool:
    """Whether a map of these sides can be what strides leave of the inputs' height and width: equal sides of equal
    ones, else in proportion, give or take one."""
    if space[0] == space[1]:
        return sides[0] == sides[1]
    (least, most), (low, high) = (
        (whole / (side + 1), whole / max(side - 1, 0.5)) for side, whole in zip(sides, space, strict=True)
    )
    return least < high and low < most
