"""Low-rank adapters (LoRA, Hu et al. 2022): beside a frozen weight W the product s B A of two thin matrices is trained.

They stand on every linear layer and every convolution without groups below the head, on the joint projection of
torch's multi-head attention too. A, the rank times the fan-in, begins at random (uniform up to 1 / sqrt(fan-in)), B,
the outputs times the rank, at 0: an adapted network begins as the network itself. s is 2 (alpha = 2 rank).

Adapters are further parameters of the layer that they stand on (``weight_lora_a``, ``weight_lora_b``): every tensor of
the network keeps its name.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.build import head_names, seeded
from transferscope.models.outputs import logits_of
from transferscope.models.smallmaps import PointwiseConv2d, SmallMapConv2d
from transferscope.models.weights import belongs
from transferscope.random_streams import stream_seed

SCALE = 2.0
ENDS = ("_lora_a", "_lora_b")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PLAIN = (
    nn.Linear,
    *CONVOLUTIONS,
    SmallMapConv2d,
    PointwiseConv2d,
)  # whose `forward` is linear in the weight, and theirs alone


@dataclass(frozen=True)
class Place:
    """A weight that an adapter stands on: `tensor` of the module `owner`, called `name` in the network.

    Where the owner is a plain layer that is called, the product is computed `beside` it, x A and then B, which spares
    the gradient of W. Else W + s B A is made for every call of `caller`, the module around the owner that is.
    """

    name: str
    owner: nn.Module
    tensor: str
    caller: nn.Module
    beside: bool

    @property
    def weight(self) -> Tensor:
        return self.owner._parameters[self.tensor]  # type: ignore[return-value]

    @property
    def factors(self) -> tuple[nn.Parameter, nn.Parameter]:
        """A (rank, fan-in) and B (outputs, rank)."""
        a, b = (getattr(self.owner, self.tensor + end) for end in ENDS)
        return a, b

    def product(self) -> Tensor:
        """s B A in the weight's shape."""
        a, b = self.factors
        return (SCALE * (b @ a)).view_as(self.weight)

    def branch(self, x: Tensor) -> Tensor:
        """What the adapter adds to the output of a plain layer that is given `x`."""
        a, b = self.factors
        if isinstance(self.owner, nn.Linear):
            return SCALE * F.linear(F.linear(x, a), b)
        layer: Any = self.owner
        shape = (len(a), *layer.weight.shape[1:])
        low = layer._conv_forward(x, a.view(shape), None)
        further = {nn.Conv1d: F.conv1d, nn.Conv3d: F.conv3d}.get(type(layer), F.conv2d)
        return SCALE * further(low, b.view(*b.shape, *[1] * (len(shape) - 2)))


class Adapters:
    """The adapters of a network, which is frozen but for them and its head; at work until `removed`."""

    def __init__(self, net: nn.Module, places: list[Place]) -> None:
        self.net, self.places, self._resting = net, places, False
        self._hooks = [hook for place in places if place.beside for hook in (_beside(place, self),)]
        for caller in dict.fromkeys(place.caller for place in places if not place.beside):
            inside = [place for place in places if place.caller is caller and not place.beside]
            self._hooks += _within(caller, inside, self)

    @property
    def resting(self) -> bool:
        """Whether the network computes without them."""
        return self._resting

    def state(self) -> dict[str, Tensor]:
        """The network's state under its own names, each product added to its weight."""
        found = {name: tensor for name, tensor in self.net.state_dict().items() if not name.endswith(ENDS)}
        with torch.no_grad():
            for place in self.places:
                found[place.name] = place.weight + place.product()
        return found

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Inside, the network computes with the weights of `state` alone, at the cost of a network without adapters."""
        kept = [place.weight.data for place in self.places]
        with torch.no_grad():
            for place in self.places:
                place.weight.data = place.weight + place.product()
        self._resting = True
        try:
            yield
        finally:
            self._resting = False
            for place, data in zip(self.places, kept, strict=True):
                place.weight.data = data

    def remove(self) -> None:
        """Leave the network as it was before, but for the values of its head."""
        for hook in self._hooks:
            hook.remove()
        for place in self.places:
            for end in ENDS:
                del place.owner._parameters[place.tensor + end]
        self.places = []


def rank_of(trainable: str) -> int | None:
    """The rank of adapters where that is what trains ("lora:4"), else None. UserError for no whole number above 0."""
    word, _, rank = trainable.partition(":")
    if word != "lora":
        return None
    if not rank.isdigit() or int(rank) < 1:
        raise UserError(f"trainable: '{trainable}' should be lora:R with a rank R of 1 or more.")
    return int(rank)


def candidates(net: nn.Module, classes: int) -> list[tuple[str, nn.Module, str]]:
    """The weights below the head that adapters may stand on: (name, the module that owns it, its name there)."""
    heads = head_names(net, classes)
    shared = Counter(id(p) for _, p in net.named_parameters(remove_duplicate=False))
    found = []
    for path, module in net.named_modules():
        tensors: tuple[str, ...] = ()
        if isinstance(module, nn.Linear) or (isinstance(module, CONVOLUTIONS) and module.groups == 1):
            tensors = ("weight",)
        elif isinstance(module, nn.MultiheadAttention):
            tensors = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        for tensor in tensors:
            name, own = f"{path}.{tensor}" if path else tensor, module._parameters.get(tensor)
            if own is not None and shared[id(own)] == 1 and not belongs(name, heads):
                found.append((name, module, tensor))
    return found


def attach(net: nn.Module, rank: int, classes: int, *, example: Tensor, seed: int) -> Adapters:
    """Freeze `net` but for its head, and let adapters of a rank (at most what the weight has) stand below it.

    `example` is a batch of inputs: a pass tells which weights are used, and by a call of which module. A pure function
    of the network, the rank and the seed. UserError where there is no layer for an adapter.
    """
    heads, found = head_names(net, classes), candidates(net, classes)
    used, called = _trial(net, [owner._parameters[tensor] for _, owner, tensor in found], example)  # type: ignore[misc]
    paths = {module: path for path, module in net.named_modules()}
    places = [
        _place(net, paths, called, name, owner, tensor)
        for (name, owner, tensor), seen in zip(found, used, strict=True)
        if seen
    ]
    if not places:
        raise UserError(
            f"trainable: LoRA has no layer to stand on, for {type(net).__name__} has neither a linear layer nor a "
            "convolution without groups below its head."
        )
    for name, p in net.named_parameters():
        p.requires_grad_(belongs(name, heads))
    for place in places:
        weight = place.weight
        outputs, fan_in = len(weight), weight[0].numel()
        size = min(rank, outputs, fan_in)
        with seeded(stream_seed(seed, "lora", place.name)):
            a = torch.empty(size, fan_in).uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        for end, values in zip(ENDS, (a, torch.zeros(outputs, size)), strict=True):
            place.owner.register_parameter(place.tensor + end, nn.Parameter(values.to(weight)))
    return Adapters(net, places)


def _place(
    net: nn.Module, paths: dict[nn.Module, str], called: set[nn.Module], name: str, owner: nn.Module, tensor: str
) -> Place:
    """Around the owner the nearest module that is called; the network itself always is."""
    path, caller = paths[owner], owner
    while caller not in called and path:
        path = path.rpartition(".")[0]
        caller = net.get_submodule(path)
    return Place(name, owner, tensor, caller, beside=caller is owner and type(owner) in PLAIN)


def _trial(net: nn.Module, weights: list[Tensor], example: Tensor) -> tuple[list[bool], set[nn.Module]]:
    """Of each weight whether the output hangs on it, and the modules that are called."""
    called: set[nn.Module] = set()

    def enter(module: nn.Module, inputs: Any) -> None:
        called.add(module)

    training = {module: module.training for module in net.modules()}
    flags = [weight.requires_grad for weight in weights]
    hooks = [module.register_forward_pre_hook(enter) for module in net.modules()]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with torch.enable_grad():
            out = logits_of(net.eval()(example), len(example)).sum()
        gradients = torch.autograd.grad(out, weights, allow_unused=True) if weights else ()
    finally:
        for hook in hooks:
            hook.remove()
        for module, flag in training.items():
            module.training = flag
        for weight, flag in zip(weights, flags, strict=True):
            weight.requires_grad_(flag)
    return [gradient is not None for gradient in gradients], called


def _beside(place: Place, adapters: Adapters) -> Any:
    def add(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return None if adapters.resting else output + place.branch(inputs[0])

    return place.owner.register_forward_hook(add)


def _within(caller: nn.Module, places: list[Place], adapters: Adapters) -> list[Any]:
    kept: list[list[Tensor]] = []  # the frozen weights, of calls that have not returned

    def enter(module: nn.Module, inputs: Any) -> None:
        if adapters.resting:
            return
        kept.append([place.weight for place in places])
        for place in places:
            place.owner._parameters[place.tensor] = place.weight + place.product()  # type: ignore[assignment]

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        if kept:
            for place, weight in zip(places, kept.pop(), strict=True):
                place.owner._parameters[place.tensor] = weight  # type: ignore[assignment]

    return [caller.register_forward_pre_hook(enter), caller.register_forward_hook(leave, always_call=True)]
