"""Which axes of which tensors of a network are one and the same set of channels: what may be permuted together.

It is long because one walk knows every operator that it can follow: what is not here is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules import batchnorm, conv, instancenorm, pooling

from transferscope.errors import UserError
from transferscope.measures.matching import PermutedAxis
from transferscope.probes.running import undisturbed

NORMS = (batchnorm._BatchNorm, instancenorm._InstanceNorm)
POOLS = (
    pooling._MaxPoolNd,
    pooling._AvgPoolNd,
    nn.AvgPool2d,
    pooling._AdaptiveAvgPoolNd,
    pooling._AdaptiveMaxPoolNd,
)
PLAIN = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Softplus,
    nn.Softsign,
    nn.Dropout,
    nn.Dropout2d,
    nn.AlphaDropout,
    nn.ZeroPad2d,
    nn.ReflectionPad2d,
    nn.Upsample,
    *POOLS,
)
LEAVES = (conv._ConvNd, nn.Linear, nn.Flatten, nn.GroupNorm, nn.LayerNorm, nn.PReLU, *NORMS, *PLAIN)
# Functions and methods by name: those of one value per entry (or per map), and those that join two values.
SINGLE = frozenset(
    (
        "relu",
        "relu_",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "sigmoid",
        "sigmoid_",
        "tanh",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "softplus",
        "dropout",
        "dropout2d",
        "clamp",
        "clamp_",
        "contiguous",
        "clone",
        "detach",
        "float",
        "neg",
        "abs",
        "exp",
        "sqrt",
        "square",
        "pow",
        "adaptive_avg_pool2d",
        "avg_pool2d",
    )
)
JOINS = frozenset(
    (
        "add",
        "add_",
        "iadd",
        "sub",
        "sub_",
        "isub",
        "mul",
        "mul_",
        "imul",
        "div",
        "truediv",
        "itruediv",
    )
)
FIXED = 0  # the group of everything that keeps its order: inputs and outputs


@dataclass(frozen=True)
class Channels:
    """Groups of channels in execution order, each named after the first weight that puts them out, with their sizes,
    and every axis of every tensor (buffers too) that they permute."""

    groups: tuple[str, ...]
    sizes: tuple[int, ...]
    places: tuple[PermutedAxis, ...]


@dataclass(frozen=True)
class _Flow:
    """A value of the network: the group on its channel axis; `flat` when it is (n, features), None when unknown."""

    group: int
    flat: bool | None = None


@dataclass
class _Ties:
    """Groups that turned out to be one."""

    parents: list[int] = field(default_factory=lambda: [FIXED])
    sizes: list[int] = field(default_factory=lambda: [1])
    names: list[str] = field(default_factory=lambda: [""])

    def new(self, size: int, name: str) -> int:
        self.parents.append(len(self.parents))
        self.sizes.append(size)
        self.names.append(name)
        return len(self.parents) - 1

    def root(self, i: int) -> int:
        while self.parents[i] != i:
            i = self.parents[i]
        return i

    def tie(self, i: int, j: int) -> None:
        low, high = sorted((self.root(i), self.root(j)))
        if low != high and low != FIXED and self.sizes[low] != self.sizes[high]:
            raise UserError(
                f"align: the channels of '{self.names[low]}' ({self.sizes[low]}) and of '{self.names[high]}' "
                f"({self.sizes[high]}) meet in one operation, so they cannot be matched; leave the alignment out."
            )
        self.parents[high] = low


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, module_qualified_name)


def channels(net: nn.Module) -> Channels:
    """The groups of `net`, found by following its channels through a symbolic trace; nothing is run.

    Understood: plain and depthwise convolutions, linear layers, norms per channel, functions per entry, pooling,
    flattening, sums and products (which tie the groups of both sides). Raises UserError naming the operation for
    anything else, and for a network that cannot be traced.
    """
    with undisturbed([net], "eval"):
        try:
            graph = _Tracer().trace(net)
        except Exception as error:  # whatever the network's own code raises when it meets symbols instead of numbers
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(
                f"align: {type(net).__name__} cannot be traced ({reason}); only networks whose forward pass takes the "
                "same way for every input can be aligned."
            ) from None
    return _Walk(net).through(graph)


class _Walk:
    def __init__(self, net: nn.Module) -> None:
        self.net, self.ties = net, _Ties()
        self.state = net.state_dict(keep_vars=True)
        self.outs: dict[int, int] = {}  # module: group of its outputs, the same for every call
        self.axes: dict[tuple[int, int], tuple[int, int]] = {}  # (tensor, axis): its group and length
        self.flows: dict[fx.Node, _Flow | None] = {}

    def through(self, graph: fx.Graph) -> Channels:
        for node in graph.nodes:
            self.flows[node] = self.visit(node)
        names: dict[int, list[str]] = {}
        for name, tensor in self.state.items():
            names.setdefault(id(tensor), []).append(name)
        roots = {self.ties.root(group) for group, _ in self.axes.values()} - {FIXED}
        order = sorted(root for root in roots if self.ties.sizes[root] > 1)
        places = []
        for (tensor, axis), (group, length) in self.axes.items():
            if (root := self.ties.root(group)) in order:
                size = self.ties.sizes[root]
                if length % size:
                    raise UserError(
                        f"align: '{names[tensor][0]}' takes {length} features from {size} channels; leave the "
                        "alignment out for this network."
                    )
                places += [PermutedAxis(name, axis, order.index(root), length // size) for name in names[tensor]]
        if not order:
            raise UserError(f"align: {type(self.net).__name__} has no hidden channels that could be permuted.")
        sizes = tuple(self.ties.sizes[root] for root in order)
        return Channels(tuple(self.ties.names[root] for root in order), sizes, tuple(places))

    def visit(self, node: fx.Node) -> _Flow | None:
        if node.op == "placeholder":
            return _Flow(FIXED)
        given = [flow for one in node.all_input_nodes if (flow := self.flows[one]) is not None]
        if node.op == "get_attr":
            self.number(str(node.target))
            return None
        if node.op == "output":
            for flow in given:
                self.ties.tie(FIXED, flow.group)
            return None
        if not given:
            return None  # sizes and other plain numbers
        if node.op == "call_module":
            return self.module(str(node.target), given)
        return self.function(node, given)

    def number(self, target: str) -> None:
        """Raise UserError unless what the forward pass reads from the network itself is a plain number."""
        value: Any = self.net
        for part in target.split("."):
            value = getattr(value, part)
        if isinstance(value, Tensor) and value.numel() > 1:
            raise UserError(
                f"align: '{target}' is used outside a layer, so which channels it belongs to is unknown; leave the "
                "alignment out for this network."
            )

    def function(self, node: fx.Node, given: list[_Flow]) -> _Flow | None:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        flow, rest = given[0], list(node.args[1:])
        if name in ("size", "dim") or (name == "getattr" and rest[:1] in (["shape"], ["ndim"])):
            return None
        if name in SINGLE or node.target in (F.max_pool2d, F.adaptive_max_pool2d):
            return flow
        if name in JOINS:
            return self.joined(given, str(name))
        if name == "flatten" and (rest or [node.kwargs.get("start_dim")]) in ([1], [1, -1]):
            return _Flow(flow.group, True)
        if name in ("view", "reshape"):
            shape = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
            if len(shape) == 2 and shape[1] == -1:
                return _Flow(flow.group, True)
        if name == "mean":
            over = rest[0] if rest else node.kwargs.get("dim")
            keep = rest[1] if len(rest) > 1 else node.kwargs.get("keepdim", False)
            if isinstance(over, tuple | list) and sorted(int(d) % 4 for d in over) == [2, 3]:
                return _Flow(flow.group, not keep)
        raise _unknown(str(name))

    def joined(self, given: list[_Flow], name: str) -> _Flow:
        first = given[0]
        for other in given[1:]:
            if None not in (first.flat, other.flat) and first.flat != other.flat:
                raise _unknown(f"{name} of a map and a vector")
            self.ties.tie(first.group, other.group)
        return first

    def module(self, path: str, given: list[_Flow]) -> _Flow:
        module, flow = self.net.get_submodule(path), given[0]
        if isinstance(module, PLAIN):
            return flow
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return _Flow(flow.group, True)
        known: dict[type[nn.Module] | tuple[Any, ...], Callable[[Any, str, _Flow], _Flow]] = {
            conv._ConvNd: self.convolution,
            nn.Linear: self.linear,
            (*NORMS, nn.PReLU, nn.GroupNorm, nn.LayerNorm): self.per_channel,
        }
        for kind, handle in known.items():
            if isinstance(module, kind):
                out = handle(module, path, flow)
                self.all_placed(module, path)
                return out
        raise _unknown(f"{type(module).__name__} '{path}'")

    def convolution(self, module: Any, path: str, flow: _Flow) -> _Flow:
        if module.transposed or flow.flat:
            raise _unknown(f"{type(module).__name__} '{path}'")
        if module.groups == 1:
            out = self.outs.setdefault(id(module), self.ties.new(module.out_channels, f"{path}.weight"))
            self.place(module.weight, 1, flow.group)
        elif module.groups == module.in_channels == module.out_channels:
            out = self.outs.setdefault(id(module), flow.group)  # each channel has its own kernel
            self.ties.tie(out, flow.group)
        else:
            raise UserError(
                f"align: '{path}' is a convolution in {module.groups} groups of channels, which matching does not "
                "handle; only ordinary and depthwise convolutions can be aligned."
            )
        self.place(module.weight, 0, out)
        self.place(module.bias, 0, out)
        return _Flow(out, False)

    def linear(self, module: nn.Linear, path: str, flow: _Flow) -> _Flow:
        if flow.flat is False:
            raise _unknown(f"linear layer '{path}' on a map that is not flattened")
        out = self.outs.setdefault(id(module), self.ties.new(module.out_features, f"{path}.weight"))
        self.place(module.weight, 1, flow.group)
        self.place(module.weight, 0, out)
        self.place(module.bias, 0, out)
        return _Flow(out, True)

    def per_channel(self, module: Any, path: str, flow: _Flow) -> _Flow:
        if isinstance(module, nn.GroupNorm) and module.num_groups not in (1, module.num_channels):
            raise _unknown(f"group norm '{path}' in {module.num_groups} groups")
        if isinstance(module, nn.LayerNorm) and (not flow.flat or len(module.normalized_shape) != 1):
            raise _unknown(f"layer norm '{path}'")
        for name in ("weight", "bias", "running_mean", "running_var"):
            tensor = getattr(module, name, None)
            if tensor is not None and tensor.numel() > 1:
                self.place(tensor, 0, flow.group)
        return flow

    def place(self, tensor: Tensor | None, axis: int, group: int) -> None:
        if tensor is None:
            return
        before, _ = self.axes.setdefault((id(tensor), axis), (group, tensor.shape[axis]))
        self.ties.tie(before, group)  # a tensor used twice

    def all_placed(self, module: nn.Module, path: str) -> None:
        for name, tensor in module.state_dict(keep_vars=True).items():
            if tensor.numel() > 1 and not any((id(tensor), axis) in self.axes for axis in (0, 1)):
                raise _unknown(f"'{path}.{name}' of {type(module).__name__}")


def _unknown(what: str) -> UserError:
    return UserError(
        f"align: it is not known what {what} does to the order of channels; leave the alignment out for this network."
    )
