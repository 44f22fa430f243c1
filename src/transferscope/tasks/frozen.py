"""A frozen lower part computed once: what it returns for every image is kept, and training runs from there.

Where only the head or the top blocks are trained, all below gives an image the same features in every epoch, as long as
the image itself comes again. Networks are not cut: a pass runs as always, and calls of modules that had returned before
anything trained was read are answered from what they returned (`probes.passes`). Where all that is trained is the last
module, that module alone is run (`frozen_head`), and runs that have the same part below it share what it is given
(`shared_features`).
"""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from transferscope.data.table import Table
from transferscope.engine.task_context import Work
from transferscope.models.blocks import Block
from transferscope.models.outputs import logits_of
from transferscope.models.precision import running
from transferscope.probes.passes.entry_points import EntryPoint, Passes, Variant
from transferscope.probes.passes.tracing import AllKept, Drift, Kept, takeable, taken
from transferscope.probes.running import undisturbed
from transferscope.tasks import inputs
from transferscope.tasks.costs import EVAL_BATCH
from transferscope.tasks.frozen_features import Features
from transferscope.tasks.frozen_head import Head, head_of
from transferscope.tasks.frozen_images import Images
from transferscope.tasks.recipe import Run

MOST = 2**30  # bytes of features that are kept; a fixed number, so that no result hangs on a machine's memory
TRAINED = "what is trained"

__all__ = ["Drift", "FrozenPart", "Spared", "frozen_part", "spared"]


class FrozenPart:
    """The part of `net` that no training of it changes: `answered` passes skip it.

    `head`: all that is left where this part is known, if that is one module.
    """

    def __init__(self, net: nn.Module, passes: Passes) -> None:
        self.net, self.passes, self.entry = net, passes, passes.entries[TRAINED]
        self.modules, self.rowed = takeable(net), passes.rowed
        self.head: Head | None = None

    @property
    def sample_bytes(self) -> float:
        """Of what is kept of one image."""
        if self.head is not None:
            return self.head.sample_bytes
        sizes = self.passes.bytes
        return sum(dict(sizes[spot] for spot in self.entry.live if spot in sizes).values())

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
            # What is folded would not be trained.
            passes = Passes(net, [Block(TRAINED, tuple(moving))], example, precision, 0, folds=False)
            if TRAINED in passes.why or not passes.entries[TRAINED].part.skipped:
                return None
            part = FrozenPart(net, passes)
            kept = part.returned(example)
            head = head_of(passes, part.entry, moving, example, lambda: _as_in_training(net, frozen))
            _as_in_training(net, frozen)
            with torch.enable_grad(), running(precision, str(example.device)), part.answered(kept):
                logits_of(net(example), len(example))
            part.head = head
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


class Spared:
    """Passes of a training run that skip the frozen part: it was computed once for every look that training has of an
    image, and for what evaluation sees. `seconds` are what the looks took, whoever computed them."""

    def __init__(self, part: FrozenPart, looks: list[Features], seen: list[Features], seconds: float) -> None:
        self.part, self.looks, self.seen, self.seconds = part, looks, seen, seconds

    def outputs(self, x: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """Logits of a training batch. Raises Drift where the network goes another way."""
        kept = self.looks[(epoch - 1) % len(self.looks)].of(rows)
        if (head := self.part.head) is not None:
            return logits_of(head.module(head.given(kept)), len(rows))
        with self.part.answered(kept):
            return logits_of(self.part.net(x), len(x))

    def evaluation(
        self, rows: np.ndarray, batches: Iterable[tuple[Tensor, Any, np.ndarray]]
    ) -> tuple[nn.Module, Generator[Tensor, None, None]]:
        """What is to be run, and on which inputs, for the logits of `rows`, whose images come in `batches`. Each input
        is to be run before the next is asked for."""
        known = next((features for features in self.seen if features.has(rows)), None)
        if known is not None and (head := self.part.head) is not None:
            parts = (rows[start : start + EVAL_BATCH] for start in range(0, len(rows), EVAL_BATCH))
            return head.module, (head.given(known.of(part)) for part in parts)
        return self.part.net, self._answered(batches)

    def _answered(self, batches: Iterable[tuple[Tensor, Any, np.ndarray]]) -> Generator[Tensor, None, None]:
        for x, _, rows in batches:
            known = next((features for features in self.seen if features.has(rows)), None)
            if known is None:
                yield x
            else:
                with self.part.answered(known.of(rows)):
                    yield x


def spared(
    net: nn.Module,
    frozen: Sequence[nn.Module],
    *,
    kind: inputs.Kind,
    table: Table,
    labels: np.ndarray,
    recipe: Run,
    rows: Mapping[str, np.ndarray],
    watched: Mapping[str, np.ndarray],
    work: Work,
) -> Spared | None:
    """The features of the training images in every look, and of those that are tested on and `watched` as evaluation
    sees them; `rows` and `watched` by split.

    None where the frozen part has to be computed for every batch: nothing below what is trained is frozen, images never
    come again or only when training is over, the features would take more than `MOST`, or passes cannot start in the
    middle. A pure function of all but the `work`, wherever a run is taken up again. Raises Interrupted.
    """
    count = inputs.looks(kind, recipe)
    if not frozen or count is None or recipe.epochs - recipe.first_epoch <= count:
        return None
    began = time.perf_counter()
    part = frozen_part(net, frozen, table.example("eval").example(2).to(work.device), recipe.precision)
    if part is None:
        return None
    images = Images(part.head, part, kind, table, labels, recipe, work)
    train = rows["train"]
    plain = count == 1 and images.alike(train)
    room = MOST / max(part.sample_bytes, 1) - count * len(train)
    seen = _besides(train if plain else None, [rows["val"], rows["test"], watched["train"]])
    if len(seen) > room:
        seen = _besides(train if plain else None, [*watched.values()])
    if len(seen) > room:
        return None
    trial = time.perf_counter() - began
    try:
        with undisturbed([net], "eval"):
            looks = [images.seen(train)] if plain else [images.trained(train, number + 1) for number in range(count)]
            every = [images.seen(seen)] if len(seen) else []
    except Drift:
        return None
    known = [features for features, _ in every + (looks if plain else [])]
    return Spared(part, [features for features, _ in looks], known, trial + sum(seconds for _, seconds in looks))


def _besides(known: np.ndarray | None, rows: Sequence[np.ndarray]) -> np.ndarray:
    """All of `rows` once, in order, but for those that are `known`."""
    found = np.unique(np.concatenate(rows))
    return found if known is None else np.setdiff1d(found, known)
