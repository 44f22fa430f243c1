"""Batch norm folded into the convolution before it: the same outputs in fewer passes over memory, proved on a trial."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from transferscope.probes.exact_norm import Exact

CLOSE = 1e-3  # of the largest output: float32 rounding stays far below, a layer folded wrongly far above
LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # output channels first in their weights


@dataclass(frozen=True)
class Pair:
    """The names of a convolution (or linear layer) and of the batch norm that alone reads its output."""

    linear: str
    norm: str


class Folded:
    """A second view of `net` without the batch norms that can be folded; all other tensors are shared with it.

    Call `fold()` after the values of `net` changed; `folded.net` then gives what `net` gives in eval mode. Where a
    trial with random statistics shows otherwise, nothing is folded and `folded.net` is `net`. `example` are two or
    more inputs on the network's device.
    """

    def __init__(self, net: nn.Module, example: Tensor) -> None:
        self.plain = net
        self.pairs = pairs(net, example)
        if self.pairs and not _proved(net, self.pairs, example):
            self.pairs = ()
        self.net = _without(net, self.pairs) if self.pairs else net

    @torch.no_grad()
    def fold(self, dtype: torch.dtype = torch.float32) -> None:
        """Write the folded weights for the present values of the plain network, in `dtype` (biases too)."""
        for pair in self.pairs:
            linear, norm = self.plain.get_submodule(pair.linear), self.plain.get_submodule(pair.norm)
            assert isinstance(linear, LINEAR) and isinstance(norm, _BatchNorm)
            target = self.net.get_submodule(pair.linear)
            kept = linear.weight.dtype if linear.weight.dtype == torch.float64 else dtype
            if target.weight is linear.weight or target.weight.dtype != kept:
                _own(target, linear.weight, kept)
            scale, shift = _scale_and_shift(linear, norm)
            weight, bias = target.weight, target.bias
            assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
            torch.mul(linear.weight, scale.view(-1, *[1] * (linear.weight.ndim - 1)), out=weight)
            bias.copy_(shift)


def pairs(net: nn.Module, example: Tensor) -> tuple[Pair, ...]:
    """Batch norms whose input is, as one and the same tensor, the output of a convolution; both run once in a pass."""
    made: dict[int, str] = {}
    calls: dict[str, int] = {}
    found: list[Pair] = []
    alive: list[Tensor] = []  # an id is only sure while its tensor lives

    def after_linear(name: str, output: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        made[id(output)] = name
        alive.append(output)

    def before_norm(name: str, given: Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1
        if id(given) in made:
            found.append(Pair(made[id(given)], name))

    handles = []
    for name, module in net.named_modules():
        if isinstance(module, LINEAR) and not hasattr(module, "parametrizations"):
            handles.append(module.register_forward_hook(lambda _, __, out, n=name: after_linear(n, out)))
        elif _replacement(module) is not None:
            handles.append(module.register_forward_pre_hook(lambda _, args, n=name: before_norm(n, args[0])))
    try:
        with torch.no_grad():
            net(example)
    finally:
        for handle in handles:
            handle.remove()
    readers = [pair.linear for pair in found]
    return tuple(p for p in found if calls[p.linear] == calls[p.norm] == 1 and readers.count(p.linear) == 1)


def _replacement(norm: nn.Module) -> nn.Module | None:
    """What is left of a batch norm once its arithmetic sits in the weights; None where that is not known."""
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return None
    if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, Exact):
        return nn.Identity()
    rest = [getattr(norm, part, None) for part in ("drop", "act")]  # timm's norm with the activation inside
    if type(norm).__name__ == "BatchNormAct2d" and all(isinstance(part, nn.Module) for part in rest):
        parts = [part for part in rest if isinstance(part, nn.Module) and not isinstance(part, nn.Identity)]
        return nn.Sequential(*parts) if len(parts) > 1 else parts[0] if parts else nn.Identity()
    return None


def _scale_and_shift(linear: nn.Module, norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Factor and bias per output channel, reckoned in float64, in the type of the weights."""
    weight, bias = linear.weight, linear.bias
    assert isinstance(weight, Tensor) and norm.running_mean is not None and norm.running_var is not None
    assert bias is None or isinstance(bias, Tensor)
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return scale.to(weight.dtype), shift.to(weight.dtype)


def _without(net: nn.Module, found: tuple[Pair, ...]) -> nn.Module:
    shared = {id(t): t for t in (*net.parameters(), *net.buffers())}
    twin = copy.deepcopy(net, shared)
    for pair in found:
        rest = _replacement(twin.get_submodule(pair.norm))
        assert rest is not None
        parent, _, leaf = pair.norm.rpartition(".")
        setattr(twin.get_submodule(parent), leaf, rest)
    return twin


def _own(module: nn.Module, weight: Tensor, dtype: torch.dtype) -> None:
    """Give a layer its own memory for a folded weight and bias."""
    for name, like in (("weight", weight), ("bias", weight.new_empty(len(weight)))):
        module._parameters[name] = nn.Parameter(torch.empty_like(like, dtype=dtype), requires_grad=False)


@torch.no_grad()
def _proved(net: nn.Module, found: tuple[Pair, ...], example: Tensor) -> bool:
    """Whether folding leaves the outputs alone when every batch norm holds random values (fresh ones hide errors)."""
    trial = copy.deepcopy(net)
    draw = torch.Generator().manual_seed(0)
    for norm in trial.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
            n = norm.num_features
            norm.running_mean.copy_(torch.randn(n, generator=draw) / 2)
            norm.running_var.copy_(torch.rand(n, generator=draw) + 0.5)
            if norm.weight is not None:
                norm.weight.copy_(torch.rand(n, generator=draw) + 0.5)
                norm.bias.copy_(torch.randn(n, generator=draw) / 2)
    twin = Folded.__new__(Folded)
    twin.plain, twin.pairs, twin.net = trial, found, _without(trial, found)
    twin.fold()
    wanted, given = trial(example), twin.net(example)
    if not isinstance(wanted, Tensor) or not isinstance(given, Tensor) or not bool(wanted.isfinite().all()):
        return False
    return bool((wanted - given).abs().max() <= CLOSE * wanted.abs().max())
