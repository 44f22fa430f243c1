"""Layers on all samples at once, in bounded memory: as many passes over the batches as that takes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transferscope.errors import UserError
from transferscope.probes.features.tap import Tap
from transferscope.probes.inputs.samples import Supply

MEMORY = 2**29  # bytes of activations held at once where all samples of a layer are needed together


@dataclass(frozen=True)
class Whole:
    """A layer on all samples: its place in the order asked for, and its features in consecutive chunks (n_i, d)."""

    place: int
    chunks: list[Tensor]


def gathered(
    taps: Sequence[Tap], supply: Supply, order: Sequence[tuple[int, int]], memory: int = MEMORY
) -> Iterator[Whole]:
    """Every (tap, slot) of `order` on all samples, in that order, holding about `memory` bytes of features at once.

    Layers that do not fit wait for another pass, for which the batches must come again in the same order: that is
    checked. A single layer is held whole, whatever it takes. Raises UserError for batches that can be had only once,
    and for features that are not finite or differ in size from batch to batch.
    """
    first, waiting = supply.order, list(range(len(order)))
    widths: dict[int, int] = {}  # bytes per sample, known after the first batch
    while waiting:
        later = first.samples > 0
        now = _prefix(waiting, widths, first.samples, memory) if later else waiting
        held: dict[int, list[Tensor]] = {place: [] for place in now}
        for number, batch in enumerate(supply):
            for place, features in _pass(taps, order, held, batch.x, number):
                _fitting(features, held[place], taps[order[place][0]].slots[order[place][1]].name, number)
                held[place].append(features)
                widths[place] = 4 * features.shape[1]
            if len(fitting := _prefix(list(held), widths, first.samples, memory)) < len(held):
                if supply.once:
                    raise UserError(
                        "batches: these layers need more than one pass, and a generator gives only one; "
                        "give a list or a loader, or allow more memory."
                    )
                held = {place: held[place] for place in fitting}  # the others wait for a later pass
        waiting = [place for place in waiting if place not in held]
        for place in list(held):
            yield Whole(place, held.pop(place))


def _pass(
    taps: Sequence[Tap], order: Sequence[tuple[int, int]], held: Iterable[int], x: Tensor, number: int
) -> Iterator[tuple[int, Tensor]]:
    """The features of one batch of every place in `held`."""
    for t, tap in enumerate(taps):
        places = {order[p][1]: p for p in held if order[p][0] == t}
        got: list[tuple[int, Tensor]] = []
        if places:
            tap.run(x, lambda slot, f, got=got: got.append((slot, _kept(f))), frozenset(places), number)  # type: ignore[misc]
        yield from ((places[slot], features) for slot, features in got)


def _fitting(features: Tensor, before: Sequence[Tensor], layer: str, number: int) -> None:
    """Raise UserError unless the features of a batch are finite and as many as those of the batches before."""
    if before and before[0].shape[1] != features.shape[1]:
        raise UserError(
            f"layers: '{layer}' gives {before[0].shape[1]} features a sample at first and {features.shape[1]} in batch "
            f"{number + 1}, as for images of several sizes; resize them to one, or pool='mean'."
        )
    if not bool(features.sum().isfinite() or features.isfinite().all()):  # the sum is the quicker question
        odd = int((~features.isfinite()).any(1).nonzero()[0])
        raise UserError(
            f"layers: '{layer}' is NaN or infinite for sample {odd} (from 0) of batch {number + 1}; leave it out, or "
            "another network."
        )


def _prefix(places: list[int], widths: dict[int, int], samples: int, memory: int) -> list[int]:
    """The first of `places` that fit into `memory` together, at least one."""
    total = 0
    for count, place in enumerate(places):
        total += widths[place] * samples
        if total > memory and count:
            return places[:count]
    return places


def _kept(features: Tensor) -> Tensor:
    """A copy of its own, rows in one order of columns: the next module may change the activations in place."""
    return features.detach().reshape(len(features), -1).to(torch.float32, copy=True)
