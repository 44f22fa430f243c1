"""A network on fixed batches with what runs before each block kept, so that changing a block costs only what follows.

How it works, for any `nn.Module`: one traced pass tells when each tensor is first read and which modules had returned
by then. A pass with a changed block answers those calls from what they returned before and computes everything else,
so that code between modules (sums, skips over blocks, flattening) runs as always, on right values. Every block is
tried on a few samples against a full pass; where the two differ it gets full passes, and `why` says the reason.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope.errors import UserError, did_you_mean
from transferscope.models.blocks import Block, blocks, parameters_of
from transferscope.models.outputs import logits_of
from transferscope.probes.features.tap import TRIAL, How
from transferscope.probes.inputs.labels import Labels, read_labels, together
from transferscope.probes.inputs.samples import Batch, unpacked
from transferscope.probes.passes.entry_points import NONE, EntryPoint, Passes, Variant
from transferscope.probes.passes.tracing import AllKept, Drift, Kept, Spot
from transferscope.probes.running import undisturbed


class Prefix:
    """A network on fixed batches; `logits` gives its outputs with some tensors of a block changed.

    `batches`: tensors or tuples (x, labels, ids), all held in memory. `cut` is `blocks(net)` unless given. `memory`
    (bytes) bounds what is kept: every block's inputs at once where that fits, else those of the block last asked for,
    for as many batches as fit; so without room for all, ask block by block. Batch norms are folded into their
    convolutions, not touching the network. Always in eval mode; the network is left as found after every call (or at
    the end of `open`). Where its weights become others, say so by `again`.

    `why`: the blocks that get full passes, and for what reason. Raises UserError where there are no batches, or where
    they are nothing of the above.
    """

    def __init__(
        self,
        net: nn.Module,
        batches: Iterable[Any],
        cut: Sequence[Block] | None = None,
        *,
        precision: str = "float32",
        memory: int = 2**30,
        seed: int = 0,
    ) -> None:
        How(None, "eval", precision, seed)  # refuses other precisions
        self.net, self.memory = net, memory
        with undisturbed([net], "eval"):  # a loader draws from the global random state
            self.batches: list[Batch] = list(unpacked(batches))
        if not self.batches:
            raise UserError("batches: there were none.")
        self.blocks: tuple[Block, ...] = tuple(blocks(net) if cut is None else cut)
        self._cache: dict[int, dict[int, Kept]] = {}  # per batch, by number of the call
        self._at: dict[int, frozenset[Spot]] = {}  # per batch, what of it is kept
        self._open = False
        with self.open():
            self._passes = Passes(net, self.blocks, self.batches[0].x[:TRIAL], precision, seed)
        self.why: dict[str, str] = self._passes.why

    @property
    def samples(self) -> int:
        return sum(len(batch.x) for batch in self.batches)

    def labels(self, outputs: int) -> Labels | None:
        """Labels of all samples, in order, for a network of so many outputs; None where no batch brought any."""
        found = together([batch.labels for batch in self.batches])
        first = self.batches[0]
        return None if found is None else read_labels(found, outputs, "batches", first.multilabel, first.metric)

    def block(self, name: Block | str) -> Block:
        """The block of a name. Raises UserError, naming the nearest, where there is none."""
        for block in self.blocks:
            if name in (block, block.name):
                return block
        word = name.name if isinstance(name, Block) else name
        known = did_you_mean(word, [block.name for block in self.blocks])
        raise UserError(f"blocks: the network has no block '{word}'; {known}")

    def names(self, block: Block | str) -> tuple[str, ...]:
        """Names of the floating parameters of a block."""
        trained = [name for name, p in self.net.named_parameters() if p.is_floating_point()]
        return parameters_of(self.block(block), trained)

    def logits(
        self,
        block: Block | str | Sequence[Block | str] | None = None,
        state: Mapping[str, Tensor] | None = None,
        batches: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Outputs (n, k), float32, of all batches (or those numbered) with `state`'s values in the network.

        `block` is (or are) where `state`'s tensors lie; None takes full passes, whatever they are. Without arguments:
        the outputs of the network itself. Raises UserError for a tensor that the network or the blocks lack.
        """
        with self.open():
            return self.run(self.variant(block, state or {}), batches)

    def variant(
        self,
        block: Block | str | Sequence[Block | str] | None,
        state: Mapping[str, Tensor],
        behind: Mapping[str, Tensor] | None = None,
    ) -> Variant:
        """`state` made ready for `run`: worth its while where one variant runs batch by batch.

        `behind` are values for more tensors that are not read before the blocks begin, wherever they lie.
        """
        inside = [
            self.block(b) for b in ([] if block is None else [block] if isinstance(block, Block | str) else block)
        ]
        held, behind = self._passes.tensors, behind or {}
        for name, value in {**state, **behind}.items():
            if name not in held:
                raise UserError(f"weights: the network has no tensor '{name}'; {did_you_mean(name, list(held))}")
            if held[name].shape != value.shape:
                shapes = f"has shape {list(value.shape)}, the network needs {list(held[name].shape)}"
                raise UserError(f"weights: '{name}' {shapes}.")
            if inside and name not in behind and not any(parameters_of(b, [name]) for b in inside):
                raise UserError(f"weights: '{name}' is not a tensor of {', '.join(b.name for b in inside)}.")
        first = min(inside, key=lambda b: self._passes.entries[b.name].moment).name if inside else None
        return self._passes.variant({**state, **behind}, first)

    def again(self) -> None:
        """Begin anew, with the weights that the network has now."""
        self._cache.clear()
        self._at.clear()
        self._passes.folding = self._passes.folding.again()

    def twin(self, batches: Iterable[Any], sight: Any) -> "Prefix":
        """The same network on other batches, run as `sight` says, which stands where a `Folding` stands."""
        other = copy.copy(self)
        other.batches, other._cache, other._at, other.why = list(unpacked(batches)), {}, {}, dict(self.why)
        other._open = False
        other._passes = copy.copy(self._passes)
        other._passes.folding = sight
        return other

    @property
    def called(self) -> list[str]:
        """The module of every call in a pass, in order."""
        return [call.module for call in self._passes.calls]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Around many calls: what makes and leaves the network ready for each of them is done once."""
        if self._open:
            yield
            return
        with undisturbed([self.net], "eval"), torch.no_grad():
            self._open = True
            try:
                yield
            finally:
                self._open = False

    def run(self, variant: Variant, batches: Sequence[int] | None = None) -> np.ndarray:
        """Outputs (n, k), float32, of all batches (or those numbered) with a variant's values in the network."""
        numbers = range(len(self.batches)) if batches is None else batches
        with self.open():
            return np.concatenate([self._one(variant, number) for number in numbers])

    def rows(self, variant: Variant, number: int, rows: NDArray[np.int64]) -> np.ndarray:
        """Outputs of some rows of one batch."""
        with self.open():
            return self._one(variant, number, torch.from_numpy(rows))

    def _one(self, variant: Variant, number: int, rows: Tensor | None = None) -> np.ndarray:
        x, name, passes = self.batches[number].x, variant.block, self._passes
        samples = len(x)
        x = x if rows is None else x[rows.to(x.device)]
        entry = EntryPoint() if name is None or name in self.why else passes.entries[name]
        if name is not None and entry.part.skipped:
            try:
                if self._filled(entry, number) and (cache := self._kept(entry, number, rows, samples)) is not None:
                    before = _versions(cache, entry)
                    out = passes.forward(x, number, variant, passes.replay(entry, cache, variant))
                    if _versions(cache, entry) != before:
                        raise Drift
                    return _rows(out, len(x))
            except Drift:
                self.why[name] = f"batch {number + 1} does not run like the first samples did"
                self._cache.pop(number, None)
                self._at.pop(number, None)
        return _rows(passes.forward(x, number, variant, passes.replay(EntryPoint(), {}, variant)), len(x))

    def _kept(self, entry: EntryPoint, number: int, rows: Tensor | None, samples: int) -> Mapping[int, Kept] | None:
        """What a batch's cache holds of some rows (or all); None where that cannot be told."""
        cache = self._cache[number]
        if rows is None:
            return cache
        place, rowed = rows.to(self._passes.device), self._passes.rowed
        found = {i: cache[i].of(i, place, samples, rowed) for i in entry.part.skipped}
        return None if None in found.values() else found  # type: ignore[return-value]

    def _filled(self, entry: EntryPoint, number: int) -> bool:
        """Whether the batch's cache holds what the way needs, after filling it where memory allows."""
        if entry.live <= self._at.get(number, NONE):
            return True
        entries = [w for name, w in self._passes.entries.items() if name not in self.why]
        wanted: frozenset[Spot] = frozenset().union(*(w.live for w in entries))
        begin, cache = EntryPoint(), dict[int, Kept]()
        if self._room(wanted) * self.samples > self.memory:
            wanted = entry.live
            for other in [n for n, spots in self._at.items() if n != number and spots != wanted]:
                if self._at[other] not in [w.live for w in entries if w.moment <= entry.moment]:
                    del self._cache[other], self._at[other]
            kept = sum(self._room(self._at[n]) * len(self.batches[n].x) for n in self._cache if n != number)
            if kept + self._room(wanted) * len(self.batches[number].x) > self.memory:
                return False
            for earlier in entries:  # what is kept for a block before this one spares the way from there
                if number in self._at and self._at[number] == earlier.live and earlier.moment <= entry.moment:
                    begin, cache = earlier, self._cache[number]
        record = frozenset(spot for spot in wanted if spot[0] not in cache)
        replay = self._passes.replay(begin, cache, Variant(), record)
        if record:
            with suppress(AllKept):
                self._passes.forward(self.batches[number].x, number, Variant(), replay)
            if len(replay.store) < len(replay.wanted):
                raise Drift
        needed = {i for i, _ in wanted}
        self._cache[number] = {i: kept for i, kept in cache.items() if i in needed} | replay.store
        self._at[number] = wanted
        return True

    def _room(self, spots: Iterable[Spot]) -> float:
        """Bytes per sample; tensors that share memory count once."""
        sizes = self._passes.bytes
        return sum(dict(sizes[spot] for spot in spots if spot in sizes).values())


def _versions(cache: Mapping[int, Kept], entry: EntryPoint) -> list[int]:
    tensors = (cache[i].leaves[j] for i, j in entry.live - entry.lent if j >= 0)
    return [tensor._version for tensor in tensors]


def _rows(out: Any, samples: int) -> np.ndarray:
    return logits_of(out, samples).float().cpu().numpy()
