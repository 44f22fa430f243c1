"""The module calls of a forward pass: traced once, then answered from what they returned before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from transferscope.models.outputs import tensors_of

Spot = tuple[int, int]  # number of a call in a pass, number of a tensor among what it returned
Taken = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Drift(Exception):
    """A pass called other modules, or in another order, than the traced one."""


class AllKept(Exception):
    """Everything that was to be kept is kept: the rest of the pass would be for nothing."""


@dataclass
class Call:
    """One call of a module; begin and end on the clock of the trace."""

    module: str
    begin: int
    end: int = 0


@dataclass(frozen=True)
class Kept:
    """What a call returned, taken apart into its leaves (tensors and whatever else)."""

    leaves: list[Any]
    spec: Any

    def given(self, number: int, live: frozenset[Spot], copied: frozenset[Spot]) -> Any:
        """What to return for it: tensors that nobody will read are NaN without memory, some others are copies."""
        leaves = [
            leaf
            if not isinstance(leaf, Tensor)
            else _empty(leaf)
            if (number, j) not in live
            else leaf.clone()
            if (number, j) in copied
            else leaf
            for j, leaf in enumerate(self.leaves)
        ]
        return tree_unflatten(leaves, self.spec)

    def of(self, number: int, rows: Tensor, samples: int, rowed: frozenset[Spot]) -> "Kept | None":
        """The same of some rows of the batch of `samples`; None where a leaf may hold something else than rows."""
        leaves: list[Any] = []
        for j, leaf in enumerate(self.leaves):
            if not isinstance(leaf, Tensor):
                if (isinstance(leaf, int) and leaf == samples) or tensors_of(leaf):  # of a class of one's own
                    return None
                leaves.append(leaf)
            elif (number, j) in rowed and leaf.shape[0] == samples:
                empty = not any(leaf.stride())
                leaves.append(leaf[: len(rows)] if empty else leaf[rows])
            else:
                return None
        return Kept(leaves, self.spec)


def keep(number: int, out: Any, live: frozenset[Spot], copied: frozenset[Spot]) -> Kept:
    """What call `number` returned, for later; only `live` tensors take memory, `copied` ones are cloned."""
    leaves, spec = tree_flatten(out)
    for j, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            whole = leaf.untyped_storage().nbytes() <= 2 * leaf.numel() * leaf.element_size()
            if (number, j) not in live:
                leaves[j] = _empty(leaf)
            elif (number, j) in copied or not whole:  # a slice would keep all that it was cut from
                leaves[j] = leaf.clone()
    return Kept(leaves, spec)


def _empty(like: Tensor) -> Tensor:
    value = float("nan") if like.is_floating_point() else 0
    return torch.full((), value, dtype=like.dtype, device=like.device).expand(like.shape)


def storage(tensor: Tensor) -> int:
    """What tells two tensors' memory apart; 0 for tensors without any."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes at which ticks of its clock each storage was an argument of an operator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.clock = 0
        self.seen: dict[int, list[int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.clock += 1
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor):
                self.seen.setdefault(storage(leaf), []).append(self.clock)
        return func(*args, **(kwargs or {}))


class Trace:
    """A handler for `taken` that notes every call, its first argument's storage and its outputs, all kept alive."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.calls: list[Call] = []
        self.outputs: list[list[Any]] = []
        self.versions: list[list[int]] = []
        self.inputs: list[int] = []

    def __call__(self, name: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        number = len(self.calls)
        self.reads.clock += 1
        self.calls.append(Call(name, self.reads.clock))
        self.inputs.append(storage(args[0]) if args and isinstance(args[0], Tensor) else 0)
        self.outputs.append([])
        self.versions.append([])
        out = forward(*args, **kwargs)
        self.reads.clock += 1
        self.calls[number].end = self.reads.clock
        leaves = tree_leaves(out)
        self.outputs[number] = leaves
        self.versions[number] = [leaf._version if isinstance(leaf, Tensor) else 0 for leaf in leaves]
        return out

    def changed(self) -> frozenset[Spot]:
        """Returned tensors that something wrote into afterwards."""
        return frozenset(
            (i, j)
            for i, leaves in enumerate(self.outputs)
            for j, leaf in enumerate(leaves)
            if isinstance(leaf, Tensor) and leaf._version != self.versions[i][j]
        )


@dataclass(frozen=True)
class Script:
    """The calls that begin before a moment of a pass: (module, number, whether it is answered from what is kept)."""

    lines: tuple[tuple[str, int, bool], ...] = ()
    begun: int = 0  # calls of a whole pass that begin before the moment, those inside answered calls too

    @property
    def skipped(self) -> tuple[int, ...]:
        return tuple(number for _, number, skip in self.lines if skip)


def script(calls: Sequence[Call], moment: float) -> Script:
    """Which calls to answer so that a pass computes only what comes from `moment` on: the outermost that ended."""
    lines: list[tuple[str, int, bool]] = []
    begun = until = 0  # calls that began; the end of the last answered one
    for number, call in enumerate(calls):
        if call.begin > moment:
            break
        begun += 1
        if call.begin < until:
            continue
        skip = call.end < moment
        lines.append((call.module, number, skip))
        if skip:
            until = call.end
    return Script(tuple(lines), begun)


class Replay:
    """A handler for `taken`: answers the calls of a script from `cache`, keeps what `record` names in `store`."""

    def __init__(
        self,
        calls: Sequence[Call],
        part: Script,
        cache: Mapping[int, Kept],
        live: frozenset[Spot] = frozenset(),
        lent: frozenset[Spot] = frozenset(),
        *,
        record: frozenset[Spot] = frozenset(),
        copied: frozenset[Spot] = frozenset(),
        compute: Callable[[str, Callable[..., Any]], Callable[..., Any]] = lambda name, forward: forward,
    ) -> None:
        self.calls, self.part, self.cache = calls, part, cache
        self.live, self.lent, self.record, self.copied, self.compute = live, lent, record, copied, compute
        self.wanted = {number for number, _ in record}
        self.store: dict[int, Kept] = {}
        self.place, self.next = 0, part.begun

    def __call__(self, name: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.place < len(self.part.lines):
            expected, number, skip = self.part.lines[self.place]
            self.place += 1
            if expected != name:
                raise Drift
            if skip:
                return self.cache[number].given(number, self.live, self.lent)
        else:
            number, self.next = self.next, self.next + 1
            if self.record and (number >= len(self.calls) or self.calls[number].module != name):
                raise Drift
        out = self.compute(name, forward)(*args, **kwargs)
        if number in self.wanted:
            self.store[number] = keep(number, out, self.record, self.copied)
            if len(self.store) == len(self.wanted):
                raise AllKept
        return out


def takeable(net: nn.Module) -> dict[str, nn.Module]:
    """The modules that `taken` can take: all but the network itself and scripted ones."""
    named = {name: module for name, module in net.named_modules() if name}
    return {name: module for name, module in named.items() if not isinstance(module, torch.jit.ScriptModule)}


@contextmanager
def taken(modules: Mapping[str, nn.Module], handler: Taken) -> Iterator[None]:
    """Let `handler` answer every call of these modules; it gets the module's name and forward.

    Hooks still run, around what the handler returns.
    """
    before: list[tuple[nn.Module, Any]] = []

    def instead(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: handler(name, forward, args, kwargs)

    try:
        for name, module in modules.items():
            before.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = instead(name, module.forward)
        yield
    finally:
        for module, own in before:
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own
