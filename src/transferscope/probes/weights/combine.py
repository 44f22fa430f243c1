"""Weighted sums of the weights of several networks, with what every walk through weight space has to refuse."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from transferscope.errors import UserError

State = Mapping[str, Tensor]
Net = nn.Module | State


def networks(word: str, given: Mapping[str, Any]) -> None:
    """Raise UserError, opening with `word`, unless all that is given (by the names in messages) are networks."""
    for called, net in given.items():
        if not isinstance(net, nn.Module):
            kind = f"the class {net.__name__}" if isinstance(net, type) else f"a {type(net).__name__}"
            way = "; load the weights into one first" if isinstance(net, str | Path | Mapping) else ""
            raise UserError(f"{word}: {called} is {kind}, not a network (a torch.nn.Module){way}.")
        if any(is_lazy(tensor) for tensor in (*net.parameters(), *net.buffers())):
            raise UserError(f"{word}: {called} has lazy layers without weights; run it once on some images.")


def opened(word: str, given: Mapping[str, Net], like: nn.Module | None = None) -> tuple[nn.Module, dict[str, State]]:
    """The network whose form (architecture, device and type) is used, and the state of each that is given, by name.

    The form is that of `like`, else of the first network in `given`, whose names are those in messages. Nothing is
    copied or changed. Raises UserError, opening with `word`, for what is neither a network nor a state dict, and where
    no network is given.
    """
    nets = {called: one for called, one in given.items() if not isinstance(one, Mapping)}
    networks(word, nets if like is None else {**nets, "like": like})
    form = next(iter(nets.values()), None) if like is None else like
    if form is None:
        *most, last = given
        names = f"{most[0]} to {last}" if len(most) > 3 else f"{', '.join(most)} and {last}" if most else last
        verb = "are state dicts" if most else "is a state dict"
        raise UserError(f"{word}: {names} {verb}; give like=NETWORK, a network of {'their' if most else 'its'} form.")
    return form, {called: one if isinstance(one, Mapping) else one.state_dict() for called, one in given.items()}


def fitting(word: str, net: nn.Module, states: Mapping[str, State]) -> None:
    """Raise UserError, opening with `word`, unless all `states` (by the names they are called in messages) are finite
    and have the names and shapes of the tensors of `net`; the first that differs is named."""
    like = net.state_dict()
    for called, state in states.items():
        for name, tensor in like.items():
            if name not in state or state[name].shape != tensor.shape:
                there = f"of shape {list(state[name].shape)}" if name in state else "missing"
                raise UserError(
                    f"{word}: '{name}' is {list(tensor.shape)} in one network but {there} in {called}; all must have "
                    "one architecture and heads of one width."
                )
            if state[name].is_floating_point() and not bool(torch.isfinite(state[name]).all()):
                raise UserError(f"{word}: '{name}' holds NaN or infinite values in {called}; its training diverged.")
        if odd := next((name for name in state if name not in like), None):
            raise UserError(f"{word}: '{odd}' of {called} is in no other network; all must have one architecture.")


def combine(states: Sequence[State], weights: Sequence[float]) -> dict[str, Tensor]:
    """The sum of weights[i] * states[i] for every float tensor, added up in float64, in new memory.

    Exactly one of the states where its weight is 1 and all others are 0. Integer buffers come from the first state of
    a weight other than 0.
    """
    used = [(state, float(w)) for state, w in zip(states, weights, strict=True) if w]
    if len(used) == 1 and used[0][1] == 1:
        return {name: tensor.detach().clone() for name, tensor in used[0][0].items()}
    out: dict[str, Tensor] = {}
    for name, tensor in used[0][0].items():
        if not tensor.is_floating_point():
            out[name] = tensor.detach().clone()
            continue
        total = tensor.detach().to(torch.float64) * used[0][1]
        for state, w in used[1:]:
            total += state[name].detach().to(tensor.device, torch.float64) * w
        out[name] = total.to(tensor.dtype)
    return out


def trained(net: nn.Module) -> list[str]:
    """Names of the parameters, tied ones once: the axes of the space that networks are points of."""
    return [name for name, p in net.named_parameters() if p.is_floating_point()]


def inner(a: State, b: State, c: State, d: State, names: Sequence[str]) -> float:
    """The inner product of (b - a) with (d - c) over the named tensors, in float64."""
    total = 0.0
    for name in names:
        first = b[name].detach().to(torch.float64) - a[name].detach().to(torch.float64)
        second = d[name].detach().to(torch.float64) - c[name].detach().to(torch.float64)
        total += float(torch.dot(first.flatten(), second.to(first.device).flatten()))
    return total


def arrays(state: State) -> dict[str, np.ndarray]:
    """A state dict as numpy arrays on the CPU, bfloat16 and float16 widened to float32."""
    found = {}
    for name, tensor in state.items():
        wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
        found[name] = wide.detach().cpu().numpy().copy()
    return found
