"""Convolution and batch norm as one convolution, for evaluation only: found in a trace, never written to a network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.probes.calls import Trace, storage

OWN = ("torch.nn.modules.conv", "transferscope.models.depthwise", "transferscope.models.smallmaps")


@dataclass(frozen=True)
class Pair:
    """A convolution and the batch norm that alone reads what it returns, by the names of their modules."""

    conv: str
    norm: str

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all that the folded kernel is made of."""
        of_norm = ("weight", "bias", "running_mean", "running_var")
        return (f"{self.conv}.weight", f"{self.conv}.bias", *(f"{self.norm}.{name}" for name in of_norm))


def pairs(net: nn.Module, trace: Trace) -> tuple[Pair, ...]:
    """Every pair of which both modules run once in the traced pass."""
    named, found = dict(net.named_modules()), []
    times: dict[str, int] = {}
    for call in trace.calls:
        times[call.module] = times.get(call.module, 0) + 1
    makers = {
        storage(leaves[0]): number
        for number, leaves in enumerate(trace.outputs)
        if _convolution(named[trace.calls[number].module]) and leaves and isinstance(leaves[0], Tensor)
    }
    for number, call in enumerate(trace.calls):
        maker = makers.get(trace.inputs[number])
        if maker is None or not _norm(named[call.module]):
            continue
        before, made = trace.calls[maker], trace.inputs[number]
        alone = all(t <= before.end or call.begin < t < call.end for t in trace.reads.seen.get(made, []))
        if alone and times[before.module] == times[call.module] == 1:
            found.append(Pair(before.module, call.module))
    return tuple(found)


def folded(pair: Pair, net: nn.Module, tensors: Mapping[str, Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Kernel (k, c, h, w), channels-last, and bias (k,) of the one convolution that does the work of both."""
    norm = net.get_submodule(pair.norm)
    weight, bias, scale, shift, mean, var = (tensors.get(name) for name in pair.tensors)
    assert weight is not None and mean is not None and var is not None
    factor = torch.rsqrt(var + norm.eps)  # type: ignore[operator]
    if scale is not None:
        factor = factor * scale
    offset = (0 if bias is None else bias) - mean
    offset = offset * factor + (0 if shift is None else shift)
    kernel = (weight * factor.view(-1, 1, 1, 1)).to(dtype)
    return kernel.contiguous(memory_format=torch.channels_last), offset.to(dtype)


class Folding:
    """How folded modules compute; what is not folded runs as it is. `kernels`: kernel and bias per convolution."""

    def __init__(self, net: nn.Module, found: Iterable[Pair], dtype: torch.dtype) -> None:
        self.net, self.pairs, self.dtype = net, tuple(found), dtype
        self._convs = {pair.conv: net.get_submodule(pair.conv) for pair in self.pairs}
        self._norms = {pair.norm: net.get_submodule(pair.norm) for pair in self.pairs}
        held = {name: tensor.detach() for name, tensor in net.state_dict().items()}
        self.kernels = {pair.conv: folded(pair, net, held, dtype) for pair in self.pairs}

    def of(self, state: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """The kernels that differ when the tensors of `state` take their values."""
        touched = [pair for pair in self.pairs if any(name in state for name in pair.tensors)]
        if not touched:
            return {}
        held = {name: tensor.detach() for name, tensor in self.net.state_dict().items()}
        return {pair.conv: folded(pair, self.net, {**held, **state}, self.dtype) for pair in touched}

    @property
    def names(self) -> frozenset[str]:
        """Tensors that only enter through a kernel."""
        return frozenset(name for pair in self.pairs for name in pair.tensors)

    def compute(
        self, kernels: Mapping[str, tuple[Tensor, Tensor]]
    ) -> Callable[[str, Callable[..., Any]], Callable[..., Any]]:
        """For a replay: the forward that a module runs instead of its own, `kernels` before those of the network."""

        def choose(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
            if name in self._convs:
                kernel, bias = kernels.get(name) or self.kernels[name]
                conv = self._convs[name]
                return lambda x: conv._conv_forward(x.to(kernel.dtype), kernel, bias)  # type: ignore[operator]
            if name in self._norms:
                norm = self._norms[name]
                drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)
                if drop is None or act is None:
                    return lambda x: x
                return lambda x: act(drop(x))
            return forward

        return choose


def within(found: Sequence[Pair], groups: Iterable[Iterable[str]]) -> tuple[Pair, ...]:
    """Those pairs that lie in one group of tensor names each."""
    sets = [frozenset(group) for group in groups]
    return tuple(p for p in found if any(f"{p.conv}.weight" in s and f"{p.norm}.running_mean" in s for s in sets))


def _convolution(module: nn.Module) -> bool:
    """Whether all of a module's forward is nn.Conv2d's own (timm's Conv2dSame pads first, whatever hastens it)."""
    kinds = type(module).__mro__
    if not isinstance(module, nn.Conv2d) or type(module)._conv_forward is not _PLAIN:
        return False
    return all(k.__module__ in OWN for k in kinds[: kinds.index(nn.Conv2d)])


_PLAIN = nn.Conv2d._conv_forward


def _norm(module: nn.Module) -> bool:
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return False
    kind = type(module)
    return kind is nn.BatchNorm2d or (kind.__name__ == "BatchNormAct2d" and kind.__module__.startswith("timm."))
