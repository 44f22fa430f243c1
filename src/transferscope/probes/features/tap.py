"""Reading activations while networks run: each layer is handed over inside its hook, and nothing is left changed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.build import seeded
from transferscope.models.outputs import RAISED, answering, tensors_of
from transferscope.models.precision import running
from transferscope.probes.features.layers import Layers, Pool, Wanted, pooled, real_tokens, wanted
from transferscope.probes.running import Mode, device_of, fed
from transferscope.random_streams import stream_seed

TRIAL = 2  # samples of the first batch that show which layers run, how often and in which order


class _AllRead(Exception):
    """Raised in a hook when nothing after it is wanted: the rest of the forward pass would be for nothing."""


@dataclass(frozen=True)
class Slot:
    """One layer to read: its name, the module it is the output of, and which of its calls (from 1) in a pass."""

    name: str
    module: str
    call: int


@dataclass(frozen=True)
class How:
    """How networks are run and read. "as found" keeps training flags (dropout then draws from `seed`), else eval."""

    pool: Pool = None
    mode: Mode = "eval"
    precision: str = "float32"
    seed: int = 0

    @property
    def words(self) -> str:
        """The pooling by name."""
        return self.pool if isinstance(self.pool, str) else "none" if self.pool is None else "a function"

    def __post_init__(self) -> None:
        if self.mode not in ("eval", "as found"):
            raise UserError(f"mode: '{self.mode}' is neither 'eval' nor 'as found'.")
        if self.precision not in ("float32", "bfloat16"):
            raise UserError(f"precision: '{self.precision}' is neither 'float32' nor 'bfloat16'.")


Take = Callable[[int, Tensor], None]  # (number of the slot, features (n, ...) pooled)


class Tap:
    """The layers of one network that are read. Use inside `undisturbed`.

    A module that runs several times in a pass is one layer per call, named `name#1`, `name#2`, ...; one that never
    runs, or does not give one row per sample, is refused when it was asked for by its name and left out (and listed
    in `skipped`, with the reason) when it came by a pattern, as a leaf or as a block.
    """

    def __init__(self, net: nn.Module, layers: Layers, how: How, example: Tensor) -> None:
        self.net, self.how = net, how
        self.device = device_of(net)
        self.slots, self.skipped = self._trial(wanted(net, layers), example[:TRIAL])

    def run(self, x: Tensor, take: Take, only: frozenset[int] | None = None, number: int = 0) -> None:
        """One forward pass of batch `number`; `take` gets every slot (those in `only`) as soon as it is computed."""
        slots = {(s.module, s.call): i for i, s in enumerate(self.slots) if only is None or i in only}
        most = {s.module: max(t.call for t in self.slots if t.module == s.module) for s in self.slots}
        left = len(slots)

        def hand(module: str, call: int, output: Any) -> None:
            nonlocal left
            if call > most[module]:
                raise UserError(f"layers: '{module}' ran {call} times in a batch, {most[module]} times before.")
            if (module, call) not in slots:
                return
            features = _tensor(output)
            if features is None or len(features) != len(x):
                raise UserError(f"layers: '{module}' does not give one row for each of the {len(x)} samples.")
            rows = self._pooled(module, features, x)
            if not isinstance(rows, Tensor) or not rows.ndim or len(rows) != len(x):
                raise UserError(f"pool: '{module}' comes out without one row for each of the {len(x)} samples.")
            take(slots[module, call], rows)
            left -= 1
            if not left:
                raise _AllRead

        self._forward(x, {module for module, _ in slots}, hand, number)
        if left:
            raise UserError("layers: some ran in the first batch but not in every later one; leave those out.")

    def _forward(self, x: Tensor, modules: Iterable[str], hand: Callable[[str, int, Any], None], number: int) -> None:
        calls: dict[str, int] = {}
        named = dict(self.net.named_modules())

        def hook(name: str) -> Callable[..., None]:
            def read(_: nn.Module, __: Any, output: Any) -> None:
                calls[name] = calls.get(name, 0) + 1
                hand(name, calls[name], output)

            return read

        handles = [named[name].register_forward_hook(hook(name)) for name in modules]
        try:
            with (
                torch.no_grad(),
                seeded(stream_seed(self.how.seed, "probe", number), self.device),
                running(self.how.precision, str(self.device)),
            ):
                x = fed(x, self.net)
                with answering(x, f"batch {number + 1}"):
                    self.net(x)
        except _AllRead:
            pass
        finally:
            for handle in handles:
                handle.remove()

    def _pooled(self, module: str, features: Tensor, x: Tensor) -> Tensor:
        try:
            return pooled(features, self.how.pool, tuple(x.shape[2:]) if x.ndim == 4 else None, real_tokens(x))
        except RAISED as error:  # of a function of the user's
            shape = tuple(features.shape)
            raise UserError(f"pool: it fails on the features {shape} of '{module}': {error}.") from error

    def _trial(self, asked: tuple[Wanted, ...], example: Tensor) -> tuple[tuple[Slot, ...], tuple[str, ...]]:
        order: list[tuple[str, bool]] = []  # every call in order: its module, whether it gives one row per sample

        def note(module: str, _: int, output: Any) -> None:
            features = _tensor(output)
            order.append((module, features is not None and len(features) == len(example)))

        self._forward(example, {m for one in asked for m in one.modules}, note, 0)
        last = {module: place for place, (module, _) in enumerate(order)}
        found: list[tuple[int, Slot]] = []
        skipped: list[str] = []
        for one in asked:
            ran = [module for module in one.modules if module in last]
            module = max(ran, key=lambda m: last[m]) if ran else ""
            places = [place for place, (name, _) in enumerate(order) if name == module]
            if not places or not all(order[place][1] for place in places):
                why = "does not give one row per sample" if places else "never runs"
                if one.must:
                    raise UserError(f"layers: '{one.name}' {why}; leave it out.")
                skipped.append(f"{one.name}: {why}")
                continue
            for call, place in enumerate(places, 1):
                name = one.name if len(places) == 1 else f"{one.name}#{call}"
                found.append((place, Slot(name, module, call)))
        if not found:
            raise UserError(f"layers: none of them can be read ({'; '.join(skipped[:3])}).")
        return tuple(slot for _, slot in sorted(found, key=lambda pair: pair[0])), tuple(skipped)


def _tensor(output: Any) -> Tensor | None:
    """The tensor a module returned, or the first of several (attention modules return their weights beside it)."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    found = next(iter(tensors_of(output)), None)
    return found if found is not None and found.ndim > 1 else None
