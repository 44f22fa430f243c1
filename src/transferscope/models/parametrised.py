"""The weights a network computes with where they are made from other tensors: weight norm, spectral norm, pruning."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from transferscope.errors import UserError

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Made:
    """A weight `name` that `make` computes from the tensors named in `sources`, given in that order."""

    name: str
    sources: tuple[str, ...]
    make: Callable[..., Tensor]


def effective(net: nn.Module, state: State) -> dict[str, Tensor]:
    """`state` with every such weight of `net` under its own name in the place of what it is made from."""
    found = dict(state)
    with torch.no_grad():
        for made in _made(net):
            if all(name in found for name in made.sources):
                found[made.name] = made.make(*(found.pop(name) for name in made.sources))
    return found


def effective_names(net: nn.Module) -> tuple[str, ...]:
    """Names of the float parameters in the order of definition, weights that are made under their own names."""
    own = {source: made.name for made in _made(net) for source in made.sources}
    return tuple(dict.fromkeys(own.get(n, n) for n, p in net.named_parameters() if p.is_floating_point()))


def finite(what: str, names: Iterable[str], *states: State) -> None:
    """Raise UserError, naming the first, where a state's tensor of these names holds NaN or infinite values."""
    for name in names:
        for state in states:
            if name in state and not bool(state[name].isfinite().all()):
                raise UserError(f"{what}: '{name}' holds NaN or infinite values; this network has diverged.")


def _made(net: nn.Module) -> Iterator[Made]:
    for name, module in net.named_modules():
        prefix = f"{name}." if name else ""
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, WeightNorm):
                at = prefix + hook.name
                yield Made(at, (f"{at}_v", f"{at}_g"), lambda v, g, dim=hook.dim: torch._weight_norm(v, g, dim))
            elif isinstance(hook, SpectralNorm):
                at = prefix + hook.name
                yield Made(at, (f"{at}_orig", f"{at}_u", f"{at}_v"), lambda w, u, v, how=hook: _divided(w, u, v, how))
            elif isinstance(hook, prune.BasePruningMethod):
                at = prefix + hook._tensor_name
                yield Made(at, (f"{at}_orig", f"{at}_mask"), lambda w, mask: w * mask.to(w.dtype))
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            for tensor, way in module.parametrizations.items():
                inside = [n for n, t in way.state_dict().items() if isinstance(t, Tensor)]
                at = f"{prefix}parametrizations.{tensor}."
                yield Made(prefix + tensor, tuple(at + n for n in inside), _filled(way, inside))


def _divided(w: Tensor, u: Tensor, v: Tensor, how: SpectralNorm) -> Tensor:
    return w / torch.dot(u, torch.mv(how.reshape_weight_to_matrix(w), v))


def _filled(way: nn.Module, names: list[str]) -> Callable[..., Tensor]:
    def make(*tensors: Tensor) -> Tensor:
        twin = copy.deepcopy(way).eval()
        for name, tensor in zip(names, tensors, strict=True):
            place, _, last = name.rpartition(".")
            held = getattr(twin.get_submodule(place), last)
            held.data = tensor.detach().clone()
        found: Tensor = twin()
        return found.detach()

    return make
