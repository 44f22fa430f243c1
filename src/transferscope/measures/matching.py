"""Weight matching: the permutations of hidden channels under which one network's weights lie closest to another's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transferscope import extras

Array = NDArray[np.float64]
Order = NDArray[np.int64]
Tensors = Mapping[str, NDArray[np.floating]]
MATCHING = "matching the units of two networks"


@dataclass(frozen=True)
class PermutedAxis:
    """One axis of one tensor that a group of channels permutes; each channel holds `repeat` neighbouring entries."""

    tensor: str
    axis: int
    group: int
    repeat: int = 1


@dataclass(frozen=True)
class Matching:
    """One permutation per group, and the objective at the start and after every round, which never falls.

    `permutations[g][i]` is the channel of b that takes place i. `start`: where the best search began.
    """

    permutations: tuple[Order, ...]
    objective: Array
    start: str


def check_scipy() -> None:
    """UserError where scipy, which solves assignments, is not installed."""
    extras.need("scipy", "align", MATCHING)


def assignment(gain: ArrayLike) -> Order:
    """The permutation p (n,) with the largest sum of gain[i, p[i]]; `gain` is (n, n) and finite. UserError without
    scipy."""
    scipy = extras.load("scipy.optimize", "align", MATCHING)  # a tenth of a second to import, and only needed here
    g = np.asarray(gain, dtype=np.float64)
    if g.ndim != 2 or g.shape[0] != g.shape[1] or not np.isfinite(g).all():
        raise ValueError(f"an assignment needs a square matrix of finite gains, not {g.shape} with gaps.")
    return np.asarray(scipy.linear_sum_assignment(g, maximize=True)[1], dtype=np.int64)


def entries(order: Order, repeat: int) -> Order:
    """Indices along an axis on which every channel holds `repeat` neighbouring entries, for channels in `order`."""
    return (order[:, None] * repeat + np.arange(repeat)).ravel()


def weight_matching(
    a: Tensors,
    b: Tensors,
    places: Sequence[PermutedAxis],
    sizes: Sequence[int],
    *,
    rng: np.random.Generator,
    rounds: int = 100,
) -> Matching:
    """Permutations that maximise the inner product of `a` with the permuted `b` (Ainsworth et al. 2023, algorithm 1).

    Coordinate ascent: with all other groups held, the best permutation of one is a linear assignment; groups come in
    random order until a round changes nothing. A step that would lower the objective (possible where one group sits
    on two axes of a tensor) is not taken. Two searches, the better one is returned: from the identity, as in the
    paper, and from a first pass in the order of `sizes` (of execution) that looks only at tensors whose other axes are
    settled; the latter recovers a permuted copy exactly. Tensors without a place take no part.
    """
    task = _Task(a, b, places, sizes)
    starts: tuple[tuple[str, Callable[[], list[Order]]], ...] = (("identity", task.identity), ("forward", task.forward))
    return max((task.ascend(name, start(), rng, rounds) for name, start in starts), key=lambda m: m.objective[-1])


class _Task:
    """The tensors, in the precision they came in, and which of them each group touches."""

    def __init__(self, a: Tensors, b: Tensors, places: Sequence[PermutedAxis], sizes: Sequence[int]) -> None:
        self.a, self.b, self.sizes = a, b, sizes
        self.axes: dict[str, list[PermutedAxis]] = {}
        for place in places:
            if place.tensor in a:
                self.axes.setdefault(place.tensor, []).append(place)
        groups = range(len(sizes))
        self.touched = [[t for t, own in self.axes.items() if any(p.group == g for p in own)] for g in groups]
        self.near = [{p.group for t in tensors for p in self.axes[t]} for tensors in self.touched]
        # A group on two axes of one tensor makes the objective quadratic in its permutation.
        self.twice = [any(sum(p.group == g for p in self.axes[t]) > 1 for t in self.touched[g]) for g in groups]

    def identity(self) -> list[Order]:
        return [np.arange(size, dtype=np.int64) for size in self.sizes]

    def forward(self) -> list[Order]:
        """Each group from the tensors whose other axes were settled before it; the rest would only be noise."""
        orders, settled = self.identity(), set[int]()
        for g in range(len(self.sizes)):
            known = [t for t in self.touched[g] if all(p.group in settled or p.group == g for p in self.axes[t])]
            orders[g] = assignment(self.gain(g, orders, known or self.touched[g]))
            settled.add(g)
        return orders

    def ascend(self, start: str, orders: list[Order], rng: np.random.Generator, rounds: int) -> Matching:
        values = [sum(self.value(t, orders) for t in self.axes)]
        stale = set(range(len(self.sizes)))  # groups next to which something moved since they were last seen
        for _ in range(rounds):
            risen = 0.0
            for g in rng.permutation(len(self.sizes)).tolist():
                if g not in stale:
                    continue
                stale.discard(g)
                order, more, scale = self.better(g, orders)
                if more > 1e-7 * scale:
                    orders[g] = order
                    risen += more
                    stale |= self.near[g] if self.twice[g] else self.near[g] - {g}
            if not risen:
                break
            values.append(values[-1] + risen)
        return Matching(tuple(orders), np.asarray(values, dtype=np.float64), start)

    def better(self, g: int, orders: list[Order]) -> tuple[Order, float, float]:
        """The best permutation of group g, what it adds to the objective, and the size of the sums compared."""
        gain = self.gain(g, orders, self.touched[g])
        order, rows = assignment(gain), np.arange(self.sizes[g])
        scale = float(np.abs(gain[rows, order], dtype=np.float64).sum())
        if not self.twice[g]:
            return order, float((gain[rows, order] - gain[rows, orders[g]]).sum(dtype=np.float64)), scale
        trial = list(orders)
        trial[g] = order
        return order, sum(self.value(t, trial) - self.value(t, orders) for t in self.touched[g]), scale

    def gain(self, g: int, orders: Sequence[Order], tensors: Sequence[str]) -> NDArray[np.floating]:
        """(n, n): what channel j of b in place i adds to the objective, all other axes as they are."""
        n = self.sizes[g]
        total: NDArray[np.floating] = np.zeros((n, n), dtype=np.float32)
        for t in tensors:
            for place in self.axes[t]:
                if place.group == g:
                    moved = self.moved(t, orders, skip=place)
                    first, second = (np.moveaxis(w, place.axis, 0).reshape(n, -1) for w in (self.a[t], moved))
                    total = total + first @ second.T
        return total

    def value(self, t: str, orders: Sequence[Order]) -> float:
        return float(np.vdot(self.a[t].astype(np.float64), self.moved(t, orders).astype(np.float64)))

    def moved(self, t: str, orders: Sequence[Order], skip: PermutedAxis | None = None) -> NDArray[np.floating]:
        tensor = self.b[t]
        for place in self.axes[t]:
            if place is not skip:
                tensor = np.take(tensor, entries(orders[place.group], place.repeat), axis=place.axis)
        return tensor
