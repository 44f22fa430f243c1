"""A head by itself: where all that is trained is a network's last module, passes need only what that is given."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from transferscope.models.blocks import Block
from transferscope.models.outputs import logits_of
from transferscope.models.precision import running
from transferscope.models.weights import fingerprint_state
from transferscope.probes.passes.entry_points import CLOSE, NONE, EntryPoint, Passes, Variant, moved, off, swapped_in
from transferscope.probes.passes.tracing import AllKept, Call, Drift, Kept, Spot, keep

ONLY: frozenset[Spot] = frozenset({(0, 0)})


class Head:
    """The `module` of a network that call number `call` of a pass runs: of one tensor it makes the network's logits.

    `sample_bytes`: what it is given for one image.
    """

    rowed = ONLY

    def __init__(self, passes: Passes, call: int) -> None:
        self.passes, self.call = passes, call
        self.name = passes.calls[call].module
        self.module = passes.net.get_submodule(self.name)
        self.sample_bytes = 0.0

    def returned(self, x: Tensor) -> dict[int, Kept]:
        """What the head is given for a batch, as the one thing returned. Raises Drift."""
        reached = _Reached(self.passes.calls, self.call)
        with torch.no_grad(), suppress(AllKept):
            self.passes.forward(x, 0, Variant(), reached)
        if reached.given is None:
            raise Drift
        return {0: keep(0, reached.given, ONLY, NONE)}

    @staticmethod
    def given(kept: Mapping[int, Kept]) -> Tensor:
        """The tensor in what was `returned`."""
        tensor: Tensor = kept[0].leaves[0]
        return tensor

    def fingerprint(self) -> str:
        """Of all tensors of the network besides the head's own, and of where the head is."""
        state = {n: t for n, t in self.passes.net.state_dict().items() if not n.startswith(f"{self.name}.")}
        return f"{fingerprint_state(state)} {self.name} {self.call}"


class _Reached:
    """A handler that lets a pass go the traced way up to one call, and ends it there with what that call is `given`."""

    def __init__(self, calls: Sequence[Call], last: int) -> None:
        self.calls, self.last, self.next = calls, last, 0
        self.given: Tensor | None = None

    def __call__(self, name: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        number, self.next = self.next, self.next + 1
        if number > self.last or self.calls[number].module != name:
            raise Drift
        if number < self.last:
            return forward(*args, **kwargs)
        self.given = _only(args, kwargs)
        raise AllKept


class _Met:
    """A handler that notes what every call of one module is given and returns."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.calls: list[tuple[Tensor, Any]] = []

    def __call__(self, name: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name != self.module:
            return forward(*args, **kwargs)
        given = _only(args, kwargs).clone()
        out = forward(*args, **kwargs)
        self.calls.append((given, out))
        return out


def _only(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    if kwargs or len(args) != 1 or not isinstance(args[0], Tensor):
        raise Drift
    return args[0]


def head_of(
    passes: Passes, entry: EntryPoint, moving: Sequence[str], example: Tensor, train: Callable[[], None]
) -> Head | None:
    """The head of a network in eval mode, if the tensors `moving` are all its own; `train` puts it in that of training.

    None where the head alone is not the rest of a pass, tried on `example` in both modes with other values of `moving`:
    a pass must give the head the same in both, and return what the head does.
    """
    lines = entry.part.lines
    name, number, is_answered = lines[-1] if lines else ("", 0, True)
    if is_answered or not all(tensor.startswith(f"{name}.") for tensor in moving):
        return None
    head, samples, close = Head(passes, number), len(example), CLOSE[passes.precision]
    try:
        given = head.given(head.returned(example))
        variant = passes.variant(moved(Block(name, tuple(moving)), passes.tensors))
        with swapped_in(passes.tensors, variant.tensors), running(passes.precision, str(passes.device)):
            alone = logits_of(head.module(given.clone()), samples)
        for number, mode in enumerate((lambda: None, train)):
            mode()
            met = _Met(name)
            out = passes.forward(example, 0, variant, met)
            ((fed, returned),) = met.calls
            gaps = [off(given, fed), off(logits_of(returned, samples), out), 0.0 if number else off(alone, out)]
            if not max(gaps) <= close:
                return None
    except Exception:  # whatever other people's code does with what it is handed
        return None
    if not given.ndim or len(given) != samples:
        return None
    head.sample_bytes = given.nbytes / samples
    return head
