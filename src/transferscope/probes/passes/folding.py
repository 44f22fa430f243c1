"""Batch norm folded into the layer before it, for evaluation: one convolution does the work of both, proved by trial.

With its statistics given, a batch norm multiplies and shifts each channel, which the weight and bias of a convolution
can do as well: the same outputs in fewer passes over memory. `foldable` finds where, `Folding` lets the network run so.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from transferscope.devices import sum_type
from transferscope.probes.passes.tracing import Reads, Trace, storage, takeable, taken

CLOSE = 1e-3  # of the largest output: float32 rounding stays far below, a layer folded wrongly far above
LINEAR = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)  # output channels first in their weights
PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

Forward = Callable[..., Any]


@dataclass(frozen=True)
class NormedLayer:
    """The names of a convolution (or linear layer) and of the batch norm that alone reads what it returns."""

    layer: str
    norm: str

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all that the folded weight and bias are made of."""
        of_norm = ("weight", "bias", "running_mean", "running_var")
        return (f"{self.layer}.weight", f"{self.layer}.bias", *(f"{self.norm}.{name}" for name in of_norm))


@torch.no_grad()
def foldable(net: nn.Module, run: Callable[[], Any]) -> tuple[NormedLayer, ...]:
    """The pairs of `net` that can be folded. `run` gives its outputs, in eval mode and float32, for a few fixed inputs.

    A traced pass shows the pairs: both modules run once, no operator but the norm's reads what the layer returned, and
    no tensor of theirs goes by a second name. Then every batch norm takes random values for a trial (fresh ones hide
    errors): where folding all pairs changes the outputs by more than rounding does, there are none.
    """
    trace = Trace(Reads())
    with taken(takeable(net), trace), trace.reads:
        run()
    found = _pairs(net, trace)
    return found if found and _proved(net, found, run) else ()


class Folding:
    """How `net` runs with pairs folded, their weights in `dtype` (float64 stays); `net` itself is never written to.

    `layers`: by name, the layers that do the work of both with the values `net` had when this was made.
    """

    def __init__(self, net: nn.Module, pairs: Iterable[NormedLayer], dtype: torch.dtype) -> None:
        self.net, self.pairs, self.dtype = net, tuple(pairs), dtype
        self.layers = {pair.layer: folded(pair, net, {}, dtype) for pair in self.pairs}

    @property
    def names(self) -> frozenset[str]:
        """Tensors that only enter through a folded layer."""
        return frozenset(name for pair in self.pairs for name in pair.tensors)

    def again(self) -> "Folding":
        """The same pairs, with the values that the network has now."""
        return Folding(self.net, self.pairs, self.dtype)

    def of(self, state: Mapping[str, Tensor]) -> dict[str, nn.Module]:
        """The layers that differ when the tensors of `state` take their values."""
        touched = [pair for pair in self.pairs if any(name in state for name in pair.tensors)]
        return {pair.layer: folded(pair, self.net, state, self.dtype) for pair in touched}

    def compute(self, layers: Mapping[str, nn.Module]) -> Callable[[str, Forward], Forward]:
        """Which forward a module, given by name and its own, runs instead; `layers` come before the folding's."""
        instead: dict[str, Any] = {pair.norm: rest(self.net.get_submodule(pair.norm)) for pair in self.pairs}
        instead |= {name: _casting(layer) for name, layer in {**self.layers, **layers}.items()}
        return lambda name, forward: instead.get(name, forward)

    def running(self) -> AbstractContextManager[None]:
        """The context in which `net` runs folded."""
        compute = self.compute({})
        modules = {name: self.net.get_submodule(name) for pair in self.pairs for name in (pair.layer, pair.norm)}
        return taken(modules, lambda name, forward, args, kwargs: compute(name, forward)(*args, **kwargs))


@torch.no_grad()
def folded(pair: NormedLayer, net: nn.Module, state: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    """A copy of a pair's layer that does the work of both, with `state`'s values before the network's own.

    A channel's factor and shift are reckoned in float64 where the device has it; images' weights are channels-last.
    """
    layer, norm = net.get_submodule(pair.layer), net.get_submodule(pair.norm)
    assert isinstance(norm, _BatchNorm)
    own: tuple[Any, ...] = (layer.weight, layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    weight, bias, scale, shift, mean, var = (state.get(n, t) for n, t in zip(pair.tensors, own, strict=True))
    exact = sum_type(weight.device)
    factor = (var.to(exact) + norm.eps).rsqrt()
    if scale is not None:
        factor = factor * scale.to(exact)
    offset = (-mean.to(exact) if bias is None else bias.to(exact) - mean.to(exact)) * factor
    if shift is not None:
        offset = offset + shift.to(exact)
    kernel = weight * factor.to(weight.dtype).view(-1, *[1] * (weight.ndim - 1))
    twin, kept = copy.copy(layer), torch.float64 if own[0].dtype == torch.float64 else dtype
    layout = torch.channels_last if kernel.ndim == 4 else torch.preserve_format
    made = {"weight": kernel.to(kept, memory_format=layout), "bias": offset.to(weight.dtype).to(kept)}
    twin._parameters = {name: nn.Parameter(tensor, requires_grad=False) for name, tensor in made.items()}
    return twin


def _pairs(net: nn.Module, trace: Trace) -> tuple[NormedLayer, ...]:
    """Every pair that the trace shows."""
    named = dict(net.named_modules())
    times = Counter(call.module for call in trace.calls)
    tensors = (*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False))
    held, uses = dict(tensors), Counter(id(tensor) for _, tensor in tensors)
    makers = {
        storage(leaves[0]): call
        for call, leaves in zip(trace.calls, trace.outputs, strict=True)
        if _linear(named[call.module]) and leaves and isinstance(leaves[0], Tensor)
    }
    found = []
    for call, memory in zip(trace.calls, trace.inputs, strict=True):
        maker = makers.get(memory)
        if not memory or maker is None or rest(named[call.module]) is None:
            continue
        pair = NormedLayer(maker.module, call.module)
        alone = all(t <= maker.end or call.begin < t < call.end for t in trace.reads.seen.get(memory, []))
        once = times[pair.layer] == times[pair.norm] == 1
        if alone and once and all(uses[id(held[name])] == 1 for name in pair.tensors if name in held):
            found.append(pair)
    return tuple(found)


def _linear(module: nn.Module) -> bool:
    """Whether a layer of a known kind owns its weight and bias (parametrized ones do not)."""
    return isinstance(module, LINEAR) and {"weight", "bias"} <= module._parameters.keys()


def rest(norm: nn.Module) -> Forward | None:
    """What a batch norm does besides its arithmetic; None where that is not known."""
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return None
    if type(norm) in PLAIN:
        return lambda x: x
    drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)  # timm's norm with the activation inside
    if type(norm).__name__ == "BatchNormAct2d" and isinstance(drop, nn.Module) and isinstance(act, nn.Module):
        return lambda x: act(drop(x))
    return None


def _casting(layer: nn.Module) -> Forward:
    """A folded layer's forward, without hooks, also right where the network has switched autocast off."""
    dtype: Any = layer.weight.dtype
    return lambda input, *args, **kwargs: layer.forward(input.to(dtype), *args, **kwargs)


def _proved(net: nn.Module, found: tuple[NormedLayer, ...], run: Callable[[], Any]) -> bool:
    """Whether folding leaves the outputs alone when every batch norm holds random values; `net` is left as found."""
    draw = torch.Generator().manual_seed(0)
    before: list[tuple[Tensor, Tensor]] = []

    def put(tensor: Tensor | None, values: Tensor) -> None:
        if tensor is not None:
            before.append((tensor, tensor.data))
            tensor.data = torch.empty_like(tensor).copy_(values)

    try:
        for norm in net.modules():
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
                n = norm.num_features
                put(norm.running_mean, torch.randn(n, generator=draw) / 2)
                put(norm.running_var, torch.rand(n, generator=draw) + 0.5)
                put(norm.weight, torch.rand(n, generator=draw) + 0.5)
                put(norm.bias, torch.randn(n, generator=draw) / 2)
        wanted = run()
        with Folding(net, found, torch.float32).running():
            given = run()
    finally:
        for tensor, data in reversed(before):
            tensor.data = data
    if not isinstance(wanted, Tensor) or not isinstance(given, Tensor) or not bool(wanted.isfinite().all()):
        return False
    return bool((wanted - given).abs().max() <= CLOSE * wanted.abs().max())
