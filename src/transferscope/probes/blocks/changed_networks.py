"""Networks in which some blocks hold other tensors: which blocks can, and how the changed networks score."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from transferscope.errors import UserError, did_you_mean
from transferscope.models.blocks import Block, blocks, parameters_of
from transferscope.models.weights import belongs
from transferscope.probes.batch_norm import BatchNorm, known, statistics_words
from transferscope.probes.blocks.running_statistics import Anew
from transferscope.probes.inputs.samples import unpacked
from transferscope.probes.inputs.weights import classifier
from transferscope.probes.passes.prefix import Prefix
from transferscope.probes.running import Copy, device_of, fed, undisturbed
from transferscope.probes.walks.scored import Scored
from transferscope.probes.walks.states import DATA, States
from transferscope.probes.weights.combine import Net, State, alike, same_architecture


class Trials:
    """A network whose blocks are changed, a few at a time, and scored on the same labelled data sets.

    `data`, `statistics` and `images` as for `states.States`. All running statistics are estimated anew after every
    change and for the unchanged network ("refresh"), or those of a change come with its tensors and all others stay
    ("as found"). Only what follows the first changed block is computed; with `reuse` False all is. `basis` says in
    words which statistics the networks have, `refresh` whether they are estimated. `net` lends its form only
    and is never touched.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Iterable[Any] | Mapping[str, Iterable[Any]],
        *,
        batch_norm: BatchNorm,
        statistics: Iterable[Any] | None,
        precision: str,
        images: int = 250,
        reuse: bool = True,
    ) -> None:
        kind = known("blocks", batch_norm)
        named = data if isinstance(data, Mapping) else {DATA: data}
        read = {str(name): list(unpacked(given, "data", f" of '{name}'")) for name, given in named.items()}
        self.states = States(net, read, statistics=statistics, batch_norm=kind, precision=precision, images=images)
        self.basis = statistics_words("blocks", kind, self.states.has_batch_norm, self.states.measured_words)
        self.refresh = kind == "refresh" and self.states.has_batch_norm
        self._copy = Copy(net, device_of(net))
        self._inputs = [fed(batch.x, self._copy.net) for batches in read.values() for batch in batches]
        with undisturbed([self._copy.net], "eval"):
            self.cut = blocks(self._copy.net, self._inputs[0][:2])
        self._tied, self._reuse, self.precision = tied(net, self.cut), reuse, precision
        self._prefix: Prefix | None = None
        self._anew: Anew | None = None

    def own(self, state: State) -> dict[str, Scored | None]:
        """Every data set under the whole state dict `state` with the running statistics that it brings."""
        try:
            return dict(self.states(state, batch_norm="as found", place="the network's own statistics"))
        except UserError:  # outputs that are not finite
            return dict.fromkeys(self.states.names)

    def on(self, base: State) -> None:
        """Let changes be made to the weights `base` from now on: a whole state dict of the network."""
        self.base: State = {**base, **self._again(base)}
        if not self._reuse:
            return
        self._copy.net.load_state_dict(self.base)
        if self._prefix is not None:
            (self._anew or self._prefix).again()
            return
        self._prefix = Prefix(self._copy.net, self._inputs, self.cut, precision=self.precision)
        if self.refresh:
            self._anew = Anew(self._prefix, self.states.portions, self.precision)

    def __call__(self, inside: Sequence[Block], values: State, place: str) -> dict[str, Scored | None]:
        """Every data set under the base weights with `values`, all of them in the blocks `inside`, in place of theirs.

        None where outputs overflow: a block of another scale can do that to those behind it.
        """
        found: dict[str, Scored | None] = {}
        if self._prefix is None:
            self.states.load({**self.base, **values, **self._again(values)}, place=place)
            for name in self.states.names:
                try:
                    found |= self.states.score({name: slice(None)}, place=place)
                except UserError:  # outputs that are not finite
                    found[name] = None
            return found
        if not values:
            out = self._prefix.logits()
        elif self._anew is not None:
            out = self._prefix.run(self._anew.variant(inside, values))
        else:
            out = self._prefix.logits(inside, values)
        begin = 0
        for name in self.states.names:
            part = out[begin : begin + self.states.count(name)]
            begin += len(part)
            whole = bool(np.isfinite(part).all())
            found[name] = self.states.judge(name, part) if whole else None
        return found

    def _again(self, values: State) -> State:
        """The values of tied tensors under their further names."""
        return {name: values[first] for name, first in self._tied.items() if first in values}


def kept(state: State) -> dict[str, Tensor]:
    """The tensors of a state dict on the CPU, in memory of their own."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


def own_tensors(word: str, called: str, net: nn.Module, given: Net, state: State) -> dict[str, Tensor]:
    """The tensors of `state`, that of `given`, which has to fill all of `net`. Raises UserError, opening with `word`,
    where it does not."""
    own = net.state_dict()
    found = {name: tensor for name, tensor in kept(state).items() if name in own}
    if given is not net:
        same_architecture(word, net, {called: found})
    return found


def trained(net: nn.Module) -> frozenset[str]:
    """Names of the float parameters, tied ones under each name: what distances are taken over."""
    return frozenset(n for n, p in net.named_parameters(remove_duplicate=False) if p.is_floating_point())


def tied(net: nn.Module, cut: Sequence[Block]) -> dict[str, str]:
    """Every further name of a tensor that has several, with its first: the one in the block that comes first."""
    named = (*net.named_parameters(remove_duplicate=False), *net.named_buffers(remove_duplicate=False))
    held, first = dict(named), dict[int, str]()
    names = [name for block in cut for name in parameters_of(block, held)]
    return {name: first[id(held[name])] for name in names if first.setdefault(id(held[name]), name) != name}


def tensors_of(net: nn.Module, cut: Sequence[Block]) -> dict[str, tuple[str, ...]]:
    """Names of the tensors (parameters and buffers) of every block that has some; each tensor once, under one name."""
    state, later = net.state_dict(), tied(net, cut)
    found = {block.name: tuple(n for n in parameters_of(block, state) if n not in later) for block in cut}
    return {name: inside for name, inside in found.items() if inside}


def chosen(cut: Sequence[Block], names: Iterable[str] | None) -> tuple[Block, ...]:
    """The blocks of these names in execution order; all of them for None. UserError for a name there is not."""
    if names is None:
        return tuple(cut)
    wanted, known = list(names), [block.name for block in cut]
    for name in wanted:
        if name not in known:
            raise UserError(f"blocks: there is no block '{name}'; {did_you_mean(name, known)}")
    return tuple(block for block in cut if block.name in wanted)


def possible(
    word: str, net: nn.Module, states: Mapping[str, State], wanted: Sequence[Block]
) -> tuple[tuple[Block, ...], tuple[str, ...]]:
    """The blocks that every state has in the network's shapes, and the names of those of a head of other shapes.

    Raises UserError, opening with `word`, where a tensor outside the head is missing or differs, where one is not
    finite, and where no block is left.
    """
    own, heads = net.state_dict(), classifier(net)
    inside = {block.name: parameters_of(block, own) for block in wanted}
    names = [name for block in inside.values() for name in block]
    other = {
        name for name in names if belongs(name, heads) and not all(alike(state, own, name) for state in states.values())
    }
    same_architecture(word, own, states, [name for name in names if name not in other])
    fit = tuple(block for block in wanted if other.isdisjoint(inside[block.name]))
    if not fit:
        raise UserError("blocks: none of them has the same shapes at the start, so there is nothing to change.")
    return fit, tuple(block.name for block in wanted if block not in fit)
