"""Where a pass through a network can start for each of its blocks: traced and tried on a few samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from transferscope.devices import exact
from transferscope.models.blocks import Block, parameters_of
from transferscope.models.build import seeded
from transferscope.models.outputs import answering, logits_of
from transferscope.models.precision import running
from transferscope.probes.passes.folding import Folding, foldable
from transferscope.probes.passes.tracing import (
    AllKept,
    Call,
    Drift,
    Kept,
    Reads,
    Replay,
    Script,
    Spot,
    Trace,
    script,
    storage,
    takeable,
    taken,
)
from transferscope.probes.running import device_of, fed
from transferscope.random_streams import stream, stream_seed

CLOSE = {"float32": 1e-5, "bfloat16": 2e-2}  # of the largest output or of 1: how far a tried block may be off
NONE: frozenset[Spot] = frozenset()


@dataclass(frozen=True)
class Variant:
    """Values for some tensors of a network, ready to run with: the block to start at, what to swap, folded layers."""

    block: str | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    layers: Mapping[str, nn.Module] = field(default_factory=dict)


@dataclass(frozen=True)
class EntryPoint:
    """How a pass starts at a block: the moment its tensors are first read, the calls to answer, and of what these
    returned the tensors that are read (`live`; every answered call is marked by leaf -1) and written into (`lent`)."""

    moment: float = 0.0
    part: Script = field(default_factory=Script)
    live: frozenset[Spot] = NONE
    lent: frozenset[Spot] = NONE


class Passes:
    """Forward passes of a network in eval mode with some tensors changed, whole or starting at a block.

    `entries` per block name, `why` for blocks that need full passes, `bytes`: memory (an id, bytes per sample) of each
    tensor that a call returned; `rowed`: those that have a row per sample. With `folds` norms are folded where they
    can be. Use inside `undisturbed` and `no_grad`.
    """

    def __init__(
        self, net: nn.Module, cut: Sequence[Block], example: Tensor, precision: str, seed: int, *, folds: bool = True
    ) -> None:
        self.net, self.precision, self.seed, self.device = net, precision, seed, device_of(net)
        self.tensors: dict[str, Tensor] = {
            **dict(net.named_parameters(remove_duplicate=False)),
            **dict(net.named_buffers(remove_duplicate=False)),
        }
        self._modules = takeable(net)
        self.folding = Folding(net, (), torch.float32)  # nothing
        self.writes = False  # into its input
        self.calls: list[Call] = []
        self.copied = NONE
        self.why: dict[str, str] = {}
        self.entries: dict[str, EntryPoint] = {}
        with answering(example, "the first samples"):
            trace = self._traced(example)
        self.calls, self.copied = trace.calls, trace.changed()
        self.bytes: dict[Spot, tuple[int, float]] = {}
        self.rowed: frozenset[Spot] = frozenset(
            (number, j)
            for number, leaves in enumerate(trace.outputs)
            for j, leaf in enumerate(leaves)
            if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == len(example)
        )
        for number, leaves in enumerate(trace.outputs):
            for j, leaf in enumerate(leaves):
                if isinstance(leaf, Tensor):
                    spot = (number, j)
                    memory = -1 - len(self.bytes) if spot in self.copied else storage(leaf)
                    self.bytes[spot] = memory, leaf.nbytes / len(example)
        if folds:
            self.folding = self._folded(example, cut)
        everything = frozenset(self.bytes) | {(number, -1) for number in range(len(self.calls))}
        whole = self.replay(EntryPoint(), {}, Variant(), everything)
        with suppress(AllKept):
            self.forward(example, 0, Variant(), whole)
        for block in cut:
            tensors = [self.tensors[name] for name in parameters_of(block, self.tensors)]
            ticks = [tick for t in tensors if storage(t) for tick in trace.reads.seen.get(storage(t), [])]
            moment = min(ticks, default=float("inf"))
            self.entries[block.name] = EntryPoint(moment, script(self.calls, moment))
            if not self.calls:
                self.why[block.name] = "the network runs as one piece, none of its modules can be called apart"
            if self.entries[block.name].part.skipped:
                self._try(block, example, whole.store)

    def forward(
        self, x: Tensor, number: int, variant: Variant, handler: Any, *, reads: Reads | None = None, precision: str = ""
    ) -> Tensor:
        """The network's logits for batch `number`, whose calls `handler` answers."""
        x = fed(x, self.net)
        if self.writes:
            x = x.clone()
        if self.folding.pairs and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with ExitStack() as stack:
            stack.enter_context(seeded(stream_seed(self.seed, "probe", number), self.device))
            # Anew for every pass: autocast remembers casts of weights until its end.
            stack.enter_context(running(precision or self.precision, str(self.device)))
            stack.enter_context(swapped_in(self.tensors, variant.tensors))
            stack.enter_context(taken(self._modules, handler))
            if reads is not None:
                stack.enter_context(reads)
            return logits_of(self.net(x), len(x))

    def replay(
        self, entry: EntryPoint, cache: Mapping[int, Kept], variant: Variant, record: frozenset[Spot] = NONE
    ) -> Replay:
        """The handler of a pass that goes `way` on what `cache` holds, keeping what `record` names."""
        compute = self.folding.compute(variant.layers)
        return Replay(
            self.calls, entry.part, cache, entry.live, entry.lent, record=record, copied=self.copied, compute=compute
        )

    def variant(self, state: Mapping[str, Tensor], block: str | None = None, *, plain: bool = False) -> Variant:
        """`state`'s values on the device, in the dtypes and layouts of the network's own; folded unless plain."""
        values = {name: value.detach().to(self.device) for name, value in state.items()}
        layers = {} if plain else self.folding.of(values)
        inside = frozenset[str]() if plain else self.folding.names
        tensors = {n: torch.empty_like(self.tensors[n]).copy_(v) for n, v in values.items() if n not in inside}
        return Variant(block, tensors, layers)

    def _traced(self, x: Tensor) -> Trace:
        x = x.clone()
        trace = Trace(Reads())
        version = x._version
        self.forward(x, 0, Variant(), trace, reads=trace.reads)
        self.writes = x._version != version
        return trace

    def _folded(self, x: Tensor, cut: Sequence[Block]) -> Folding:
        """All foldable pairs that lie in one block, folded: to start at a block is to compute both of a pair."""
        found = foldable(self.net, lambda: self.forward(x, 0, Variant(), _plainly, precision="float32"))
        groups = [frozenset(parameters_of(block, self.tensors)) for block in cut]
        own = [
            p
            for p in found
            if self.tensors[f"{p.layer}.weight"].dtype in (torch.float32, torch.float64)
            and any({f"{p.layer}.weight", f"{p.norm}.running_mean"} <= names for names in groups)
        ]
        return Folding(self.net, own, torch.bfloat16 if self.precision == "bfloat16" else torch.float32)

    def _try(self, block: Block, x: Tensor, cache: Mapping[int, Kept]) -> None:
        """Find what a pass that starts at the block reads and writes, then compare one with a full pass."""
        entry = self.entries[block.name]
        answered = entry.part.skipped
        own = {
            i: Kept([leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in cache[i].leaves], cache[i].spec)
            for i in answered
        }
        spots = {(i, j): t for i in answered for j, t in enumerate(own[i].leaves) if isinstance(t, Tensor)}
        versions = {spot: tensor._version for spot, tensor in spots.items()}
        reads, every = Reads(), frozenset(spots)
        try:
            handler = self.replay(EntryPoint(entry.moment, entry.part, every), own, Variant())
            out = self.forward(x, 0, Variant(), handler, reads=reads)
            read = {*reads.seen, *(storage(leaf) for leaf in tree_leaves(out) if isinstance(leaf, Tensor))}
            live = frozenset(spot for spot, tensor in spots.items() if storage(tensor) in read)
            lent = frozenset(spot for spot, tensor in spots.items() if tensor._version != versions[spot])
            entry = EntryPoint(entry.moment, entry.part, live | {(i, -1) for i in answered}, lent)
            self.entries[block.name] = entry
            variant = self.variant(moved(block, self.tensors))
            gap = off(
                self.forward(x, 0, variant, self.replay(EntryPoint(), {}, variant)),
                self.forward(x, 0, variant, self.replay(entry, cache, variant)),
            )
        except Drift:
            self.why[block.name] = "its passes do not call the same modules in the same order"
        except Exception as error:  # whatever the network's own code does with what it is handed
            self.why[block.name] = f"a pass that starts there fails ({type(error).__name__}: {error})"
        else:
            if not gap <= CLOSE[self.precision]:
                self.why[block.name] = f"a pass that starts there is off by {gap:.1g} of the largest output"


@contextmanager
def swapped_in(held: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """These tensors in the place of those `held` by the same names, whose own memory is not touched."""
    before = [(held[name], held[name].data) for name in tensors]
    try:
        for name, tensor in tensors.items():
            held[name].data = tensor
        yield
    finally:
        for own, data in reversed(before):
            own.data = data


def _plainly(name: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A handler that lets every module compute."""
    return forward(*args, **kwargs)


def off(plain: Any, other: Any) -> float:
    """Largest difference of two outputs, relative to the largest value where that is above 1."""
    if not isinstance(plain, Tensor) or not isinstance(other, Tensor) or plain.shape != other.shape:
        return float("inf")
    a, b = exact(plain), exact(other)
    if bool((a.isnan() != b.isnan()).any()):
        return float("inf")
    a, b = a.nan_to_num(), b.nan_to_num()
    return float((a - b).abs().max() / a.abs().max().clamp(min=1.0))


def moved(block: Block, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every floating tensor of the block moved by about a tenth, variances kept positive."""
    found: dict[str, Tensor] = {}
    for name in parameters_of(block, held):
        value = held[name].detach()
        if value.is_floating_point():
            noise = stream(0, "trial", name).standard_normal(tuple(value.shape), dtype=np.float32)
            step = torch.from_numpy(np.tanh(np.asarray(noise))).to(value)
            found[name] = value * (1 + 0.1 * step) if bool(value.any()) else 0.01 * step
    return found
