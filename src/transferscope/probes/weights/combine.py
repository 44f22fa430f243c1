"""Weighted sums of the weights of several networks, with what every walk through weight space has to refuse."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from transferscope.devices import exact
from transferscope.errors import UserError, a_kind
from transferscope.probes.inputs.weights import read_weights

State = Mapping[str, Tensor]
Net = nn.Module | State | str | Path
REMEDY = "give networks of one architecture, with heads of one width"


def networks(word: str, given: Mapping[str, Any]) -> None:
    """Raise UserError, opening with `word`, unless all that is given (by the names in messages) are networks."""
    for called, net in given.items():
        if not isinstance(net, nn.Module):
            kind = f"the class {net.__name__}" if isinstance(net, type) else a_kind(net)
            way = "; load the weights into one first" if isinstance(net, str | Path | Mapping) else ""
            raise UserError(f"{word}: {called} is {kind}, not a network (a torch.nn.Module){way}.")
        if any(is_lazy(tensor) for tensor in (*net.parameters(), *net.buffers())):
            raise UserError(f"{word}: {called} has lazy layers without weights; run it once on some images.")


def opened(word: str, given: Mapping[str, Net], like: nn.Module | None = None) -> tuple[nn.Module, dict[str, State]]:
    """The network whose form (architecture, device and type) is used, and the state of each that is given, by name.

    The form is that of `like`, else of the first network in `given`, whose names are those in messages. Weights
    files (`a.ckpt#teacher`), and dictionaries without a name of the form, are read as `read_weights` does. Nothing
    given is copied or changed. Raises UserError, opening with `word`, for what is none of these, where no network is
    given, and where `read_weights` does.
    """
    nets = {called: one for called, one in given.items() if not isinstance(one, Mapping | str | Path)}
    networks(word, nets if like is None else {**nets, "like": like})
    form = next(iter(nets.values()), None) if like is None else like
    if form is None:
        *most, last = given
        names = f"{most[0]} to {last}" if len(most) > 3 else f"{', '.join(most)} and {last}" if most else last
        what = "state dict" if all(isinstance(one, Mapping) for one in given.values()) else "weights file"
        verb = f"are {what}s" if most else f"is a {what}"
        raise UserError(f"{word}: {names} {verb}; give like=NETWORK, a network of {'their' if most else 'its'} form.")
    own = form.state_dict()
    states: dict[str, State] = {}
    for called, one in given.items():
        try:
            if isinstance(one, nn.Module) or (isinstance(one, Mapping) and not (one and own.keys().isdisjoint(one))):
                states[called] = _state_of(one)
            else:
                states[called] = read_weights(one, like=form)[0]
        except UserError as error:
            raise UserError(f"{word}: {called}: {str(error).removeprefix('weights: ')}") from error
    return form, states


def built(word: str, given: Mapping[str, Net], like: nn.Module | None = None) -> dict[str, nn.Module]:
    """`given` as networks that can be run: those that are some as they are, weights files and dictionaries as copies of
    the form (see `opened`) that hold their values. Raises UserError where `opened` does, and for weights that lack a
    tensor of the form."""
    if all(isinstance(one, nn.Module) for one in given.values()):
        networks(word, given if like is None else {**given, "like": like})
        return {called: one for called, one in given.items() if isinstance(one, nn.Module)}
    form, states = opened(word, given, like)
    found: dict[str, nn.Module] = {}
    for called, one in given.items():
        if isinstance(one, nn.Module):
            found[called] = one
            continue
        remedy = "give like=NETWORK, a network of its form"
        same_architecture(word, form, {called: states[called]}, remedy=remedy)
        found[called] = copy.deepcopy(form)
        found[called].load_state_dict(states[called])
    return found


def same_architecture(
    word: str,
    form: nn.Module | State,
    states: Mapping[str, State],
    names: Iterable[str] | None = None,
    *,
    remedy: str = REMEDY,
) -> None:
    """Raise UserError, opening with `word`, unless all `states` (by the names they are called in messages) are finite
    and have the tensors of `form` in its shapes: those in `names`, or all and no others; the first that differs is
    named. `remedy` says what to do about another shape."""
    own = {name: tensor for name, tensor in _state_of(form).items() if isinstance(tensor, Tensor)}
    asked = list(own) if names is None else [name for name in names if name in own]
    for called, state in states.items():
        odd = [name for name, tensor in state.items() if name not in own and isinstance(tensor, Tensor)]
        for name in asked if names is not None else [*asked, *odd]:
            if not alike(state, own, name):
                other = next((one for one, given in states.items() if alike(given, own, name)), "the network")
                here, there = _shape(own, name), _shape(state, name)
                raise UserError(f"{word}: '{name}' is {here} in {other} and {there} in {called}; {remedy}.")
            # A sum is finite only where all its terms are, and is far quicker than asking them one by one.
            value = state[name].detach()
            if value.is_floating_point() and not bool(value.sum().isfinite() or value.isfinite().all()):
                raise UserError(f"{word}: '{name}' holds NaN or infinite values in {called}; its training diverged.")


def alike(a: State, b: State, name: str) -> bool:
    """Whether a tensor has one shape in both states, or is in neither."""
    return _shape(a, name) == _shape(b, name)


def _shape(state: State, name: str) -> str:
    tensor = state.get(name)
    return str(list(tensor.shape)) if isinstance(tensor, Tensor) else "missing"


def _state_of(net: nn.Module | State) -> State:
    return net if isinstance(net, Mapping) else net.state_dict()


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
        total = exact(tensor.detach()) * used[0][1]
        for state, w in used[1:]:
            total += exact(state[name].detach()).to(total.device) * w
        out[name] = total.to(tensor)
    return out


def trained(net: nn.Module) -> list[str]:
    """Names of the parameters, tied ones once: the axes of the space that networks are points of."""
    return [name for name, p in net.named_parameters() if p.is_floating_point()]


def inner(a: State, b: State, c: State, d: State, names: Sequence[str]) -> float:
    """The inner product of (b - a) with (d - c) over the named tensors, in float64."""
    total = 0.0
    for name in names:
        first, second = (exact(y[name].detach()) - exact(x[name].detach()) for x, y in ((a, b), (c, d)))
        total += float(torch.dot(first.flatten(), second.to(first.device).flatten()))
    return total


def arrays(state: State) -> dict[str, np.ndarray]:
    """A state dict as numpy arrays on the CPU, bfloat16 and float16 widened to float32."""
    found = {}
    for name, tensor in state.items():
        wide = tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
        found[name] = wide.detach().cpu().numpy().copy()
    return found
