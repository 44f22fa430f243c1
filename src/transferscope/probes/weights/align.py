"""Align: one network's hidden channels put in another's order, so that a line between them compares like with like."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.measures.matching import entries, weight_matching
from transferscope.models.weights import distance as l2
from transferscope.probes import result
from transferscope.probes.weights.channels import channels
from transferscope.probes.weights.combine import Net, State, arrays, opened, same_architecture, trained
from transferscope.random_streams import stream

Order = NDArray[np.int64]


@dataclass(frozen=True)
class Alignment(result.Saved):
    """The permutation of b's hidden channels that brings its weights closest to a's; b computes the same afterwards.

    `orders`: one permutation (channels,) per group of channels that move together, named after the first weight that
    puts them out; entry i is the channel of b that takes place i. `objective`: inner product of a's weights with those
    of b, at the start of the search that won (`start`) and after each of its rounds. `before` and `after`: L2 distance
    between the trainable parameters of a and b. The last four say which axis of which tensor a group permutes, and how
    many entries each channel has there.
    """

    orders: Mapping[str, Order]
    objective: NDArray[np.float64]
    before: float
    after: float
    start: str
    tensors: tuple[str, ...]
    axes: tuple[int, ...]
    of: tuple[str, ...]
    repeats: tuple[int, ...]

    def apply(self, state: State) -> dict[str, Tensor]:
        """The state dict `state` of b (or of any network on b's way) with its channels permuted, in new memory."""
        out = {name: tensor.detach().clone() for name, tensor in state.items()}
        for name, axis, group, repeat in zip(self.tensors, self.axes, self.of, self.repeats, strict=True):
            if name not in out or out[name].shape[axis] != len(self.orders[group]) * repeat:
                raise UserError(f"align: '{name}' is missing or of another shape than in the aligned networks.")
            index = torch.from_numpy(entries(self.orders[group], repeat)).to(out[name].device)
            out[name] = out[name].index_select(axis, index)
        return out

    def permuted(self, net: nn.Module) -> nn.Module:
        """A copy of `net` (b) with its channels permuted."""
        twin = copy.deepcopy(net)
        twin.load_state_dict(self.apply(net.state_dict()))
        return twin

    def table(self) -> pl.DataFrame:
        """One row per group in execution order: group, channels, moved (those that changed place), share."""
        rows = []
        for name, order in self.orders.items():
            moved = int((order != np.arange(len(order))).sum())
            rows.append({"group": name, "channels": len(order), "moved": moved, "share": moved / len(order)})
        return pl.DataFrame(rows)

    def chart(self) -> Any:
        """Share of the channels of every group that changed place."""
        return charts.bars(self.table(), "group", "share", percent=True, value_title="channels that changed place")


def align(a: Net, b: Net, *, seed: int = 0, rounds: int = 100, like: nn.Module | None = None) -> Alignment:
    """Match the channels of `b` to those of `a` by their weights (Ainsworth et al. 2023, Git Re-Basin, algorithm 1).

    No data is needed and neither network is changed: `.apply(b.state_dict())` or `.permuted(b)` gives the aligned b,
    whose outputs are those of b. `a` and `b` are networks or state dicts; `like` is a network of their form, needed
    where both are state dicts: its own values do not matter. The groups of channels are found by tracing that form:
    plain, residual and depthwise convolutional networks. `seed` draws the order in which groups are visited. On a line
    between the aligned networks re-estimate batch norm's statistics (`path` does). Raises UserError for networks of
    different architectures or with values that are not finite, and for operations that tracing does not know.
    """
    net, states = opened("align", {"a": a, "b": b}, like)
    a, b = states["a"], states["b"]
    if rounds < 1:
        raise UserError(f"align: rounds must be at least 1, not {rounds}.")
    same_architecture("align", net, states)
    found, names = channels(net), trained(net)
    first, second = (arrays({name: state[name] for name in names}) for state in (a, b))
    matched = weight_matching(first, second, found.places, found.sizes, rng=stream(seed, "align"), rounds=rounds)
    aligned = Alignment(
        orders=dict(zip(found.groups, matched.permutations, strict=True)),
        objective=matched.objective,
        before=l2(a, b, names),
        after=float("nan"),
        start=matched.start,
        tensors=tuple(place.tensor for place in found.places),
        axes=tuple(place.axis for place in found.places),
        of=tuple(found.groups[place.group] for place in found.places),
        repeats=tuple(place.repeat for place in found.places),
    )
    return Alignment(**{**vars(aligned), "after": l2(a, aligned.apply(b), names)})
