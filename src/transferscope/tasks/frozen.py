"""A frozen lower part computed once: what it returns for every image is kept, and training runs from there.

Where only the head or the top blocks are trained, all below gives an image the same features in every epoch, as long as
the image itself comes again. Networks are not cut: a pass runs as always, and calls of modules that had returned before
anything trained was read are answered from what they returned (`probes.passes`).
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transferscope.data.table import Table
from transferscope.models.blocks import Block
from transferscope.models.outputs import logits_of, tensors_of
from transferscope.models.precision import running
from transferscope.probes.passes.entry_points import EntryPoint, Passes, Variant
from transferscope.probes.passes.folding import Folding
from transferscope.probes.passes.tracing import AllKept, Drift, Kept, takeable, taken
from transferscope.probes.running import undisturbed
from transferscope.tasks import inputs
from transferscope.tasks.costs import EVAL_BATCH
from transferscope.tasks.recipe import Run

MOST = 2**30  # bytes of features that are kept; a fixed number, so that no result hangs on a machine's memory
TRAINED = "what is trained"

__all__ = ["Drift", "Features", "FrozenPart", "Spared", "frozen_part", "spared"]


class FrozenPart:
    """The part of `net` that no training of it changes: `answered` passes skip it.

    `sample_bytes`: what it returns for one image, as far as what follows reads it.
    """

    def __init__(self, net: nn.Module, passes: Passes) -> None:
        self.net, self.passes, self.entry = net, passes, passes.entries[TRAINED]
        self.modules = takeable(net)
        sizes = passes.bytes
        self.sample_bytes = sum(dict(sizes[spot] for spot in self.entry.live if spot in sizes).values())

    def returned(self, x: Tensor) -> dict[int, Kept]:
        """What the calls of the frozen part return for a batch; the rest of the pass is spared. Raises Drift."""
        replay = self.passes.replay(EntryPoint(), {}, Variant(), self.entry.live)
        with torch.no_grad(), suppress(AllKept):
            self.passes.forward(x, 0, Variant(), replay)
        if len(replay.store) < len(replay.wanted):
            raise Drift
        return replay.store

    @contextmanager
    def answered(self, kept: Mapping[int, Kept]) -> Iterator[None]:
        """Inside, one pass takes what the frozen part returns from `kept`. Raises Drift where it goes another way."""
        with taken(self.modules, self.passes.replay(self.entry, kept, Variant())):
            yield


def frozen_part(net: nn.Module, frozen: Sequence[nn.Module], example: Tensor, precision: str) -> FrozenPart | None:
    """The frozen part of `net`, whose modules `frozen` hold nothing that is trained and stay in eval mode.

    None where there is nothing to spare, or where a pass from there is not what a whole one is: tried on `example`
    (at least 2 inputs), in eval mode and as in training. The network is left as found.
    """
    try:
        with undisturbed([net], "eval"):
            moving = [name for name, p in net.named_parameters() if p.requires_grad]
            moving += _counted(net, frozen, example)
        with undisturbed([net], "eval"), torch.no_grad():
            passes = Passes(net, [Block(TRAINED, tuple(moving))], example, precision, 0)
            passes.folding = Folding(net, (), torch.float32)  # what is folded would not be trained
            if TRAINED in passes.why or not passes.entries[TRAINED].part.skipped:
                return None
            part = FrozenPart(net, passes)
            kept = part.returned(example)
            _as_in_training(net, frozen)
            with torch.enable_grad(), running(precision, str(example.device)), part.answered(kept):
                logits_of(net(example), len(example))
    except (Drift, RuntimeError, ValueError):
        return None
    return part


def _counted(net: nn.Module, frozen: Sequence[nn.Module], example: Tensor) -> list[str]:
    """The names of the buffers that a pass of training writes, as batch norm does its running statistics."""
    _as_in_training(net, frozen)
    before = {name: (id(tensor), tensor._version) for name, tensor in net.named_buffers()}
    with torch.no_grad():
        net(example)
    return [name for name, tensor in net.named_buffers() if before.get(name) != (id(tensor), tensor._version)]


def _as_in_training(net: nn.Module, frozen: Sequence[nn.Module]) -> None:
    net.train()
    for module in frozen:
        module.eval()


class Features:
    """What a frozen part returned for images by the rows of their table, one after another."""

    def __init__(self, part: FrozenPart) -> None:
        self.part = part
        self.kept: dict[int, list[Any]] = {}
        self.specs: dict[int, Any] = {}
        self.places: dict[int, int] = {}

    def fill(self, batches: Iterable[tuple[Tensor, Any, np.ndarray]], count: int) -> None:
        """Go through `batches` of (inputs, labels, rows), `count` images in all. Raises Drift where what is returned
        is not told apart by images."""
        for x, _, rows in batches:
            begin = len(self.places)
            self.places |= {int(row): begin + place for place, row in enumerate(rows)}
            for number, kept in self.part.returned(x).items():
                self._add(number, kept, begin, len(x), count)

    def _add(self, number: int, kept: Kept, begin: int, length: int, count: int) -> None:
        rowed = self.part.passes.rowed
        first = number not in self.kept
        held = self.kept.setdefault(number, [])
        self.specs.setdefault(number, kept.spec)
        for j, leaf in enumerate(kept.leaves):
            if not isinstance(leaf, Tensor):
                if (isinstance(leaf, int) and leaf == length) or tensors_of(leaf):
                    raise Drift
                value: Any = leaf
            elif (number, j) not in rowed or len(leaf) != length:
                raise Drift
            elif not any(leaf.stride()):  # nobody reads it
                value = leaf[:1].expand(count, *leaf.shape[1:])
            elif first:
                layout = torch.channels_last if _is_channels_last(leaf) else torch.contiguous_format
                value = torch.empty(
                    (count, *leaf.shape[1:]), dtype=leaf.dtype, device=leaf.device, memory_format=layout
                )
            else:
                value = held[j]
            if first:
                held.append(value)
            if isinstance(leaf, Tensor):
                if any(leaf.stride()):
                    value[begin : begin + length] = leaf
            elif held[j] != leaf:
                raise Drift

    def of(self, rows: np.ndarray) -> dict[int, Kept]:
        """What the part returned for these rows, in memory of its own."""
        places = torch.tensor([self.places[int(row)] for row in rows])
        return {
            number: Kept([_rows(leaf, places) for leaf in leaves], self.specs[number])
            for number, leaves in self.kept.items()
        }


def _rows(leaf: Any, places: Tensor) -> Any:
    if not isinstance(leaf, Tensor):
        return leaf
    if not any(leaf.stride()):
        return leaf[:1].expand(len(places), *leaf.shape[1:])
    places = places.to(leaf.device)
    if _is_channels_last(leaf):  # which indexing would undo
        return leaf.permute(0, 2, 3, 1)[places].permute(0, 3, 1, 2)
    return leaf[places]


def _is_channels_last(leaf: Tensor) -> bool:
    return leaf.ndim == 4 and leaf.is_contiguous(memory_format=torch.channels_last)


class Spared:
    """Passes of a training run that skip the frozen part: it was computed once for every look that training has of an
    image, and for what evaluation sees."""

    def __init__(self, part: FrozenPart, looks: list[Features], seen: Features) -> None:
        self.part, self.looks, self.seen = part, looks, seen

    def training(self, rows: np.ndarray, epoch: int) -> AbstractContextManager[None]:
        """The context of the pass of a training batch."""
        return self.part.answered(self.looks[(epoch - 1) % len(self.looks)].of(rows))

    def evaluation(self, batches: Iterable[tuple[Tensor, Any, np.ndarray]]) -> Generator[Tensor, None, None]:
        """The inputs of `batches`, each to be run before the next is asked for."""
        for x, _, rows in batches:
            if all(int(row) in self.seen.places for row in rows):
                with self.part.answered(self.seen.of(rows)):
                    yield x
            else:
                yield x


def spared(
    net: nn.Module,
    frozen: Sequence[nn.Module],
    *,
    kind: inputs.Kind,
    table: Table,
    labels: np.ndarray,
    recipe: Run,
    rows: np.ndarray,
    watched: np.ndarray,
    device: str,
    going: Callable[[], None],
) -> Spared | None:
    """The features of the training `rows` in every look, and of the `watched` rows as evaluation sees them.

    None where the frozen part has to be computed for every batch: nothing below what is trained is frozen, images never
    come again or only when training is over, the features would take more than `MOST`, or passes cannot start in the
    middle. `going` is called before every batch. A pure function of all else, wherever a run is taken up again.
    """
    count = inputs.looks(kind, recipe)
    if not frozen or count is None or recipe.epochs - recipe.first_epoch <= count:
        return None
    example = table.example("eval").example(2).to(device)
    part = frozen_part(net, frozen, example, recipe.precision)
    if part is None or part.sample_bytes * (count * len(rows) + len(watched)) > MOST:
        return None

    def watched_over(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            going()
            yield batch

    seen, fed = Features(part), inputs.Fed(recipe.mean, recipe.std, recipe.shuffle, recipe.seed, recipe.prepare)
    every = [Features(part) for _ in range(count)]
    try:
        with undisturbed([net], "eval"):
            for number, features in enumerate(every, 1):
                features.fill(
                    watched_over(kind.training(table, rows, labels, recipe, epoch=number, start=0, device=device)),
                    len(rows),
                )
            batches = kind.evaluation(table, watched, labels, fed, batch_size=EVAL_BATCH, device=device)
            seen.fill(watched_over(batches), len(watched))
    except Drift:
        return None
    return Spared(part, every, seen)
