"""Walking a straight line between two states of one network: which weights, statistics and head each point has."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.weights import belongs
from transferscope.probes.batch_norm import BatchNorm, known, statistics_words
from transferscope.probes.inputs.weights import classifier
from transferscope.probes.walks.scored import Scored
from transferscope.probes.walks.states import Rows, States
from transferscope.probes.weights.combine import REMEDY, Net, State, opened, same_architecture

Head = Literal["own", "a", "b"]
HEADS = {"own": "moved with the rest of the network", "a": "that of network a", "b": "that of network b"}


@dataclass
class Line:
    """`walk(alpha)` scores (1 - alpha) a + alpha b on every data set; statistics found once are kept per alpha.

    Every alpha has its statistics in one way, 0 and 1 too: barriers and chords then compare like with like.
    """

    states: States
    a: dict[str, Tensor]
    b: dict[str, Tensor]
    batch_norm: BatchNorm
    head: Head
    _known: dict[float, dict[str, Tensor]] = field(default_factory=dict)

    def __call__(self, alpha: float, rows: Mapping[str, Rows] | None = None) -> dict[str, Scored]:
        place = f"alpha {alpha:g}"
        instead = dict(self._known.get(alpha, {}))
        refreshed = self.batch_norm == "refresh" and alpha not in self._known
        if self.states.has_batch_norm and self.batch_norm in ("first", "last"):
            end = self.a if self.batch_norm == "first" else self.b
            instead = {name: end[name] for name in self.states.running_names}
        found = self.states.load_between(
            self.a, self.b, alpha, instead=instead, batch_norm="refresh" if refreshed else "as found", place=place
        )
        if refreshed:
            self._known[alpha] = found
        return self.states.score(rows, place=place)

    @property
    def apart(self) -> bool:
        """Whether the ends of the line have other statistics than networks a and b came with."""
        return self.states.has_batch_norm and self.batch_norm != "average"

    def own(self, rows: Mapping[str, Rows] | None = None) -> dict[str, dict[str, Scored]]:
        """Networks "a" and "b" scored with the statistics they came with."""
        found = {}
        for name, alpha in (("a", 0.0), ("b", 1.0)):
            place = f"network {name}"
            self.states.load_between(self.a, self.b, alpha, instead={}, batch_norm="as found", place=place)
            found[name] = self.states.score(rows, place=place)
        return found

    @property
    def batch_norm_words(self) -> str:
        return statistics_words("line", self.batch_norm, self.states.has_batch_norm, self.states.measured_words)

    @property
    def head_words(self) -> str:
        return HEADS[self.head]


def ends(word: str, a: Net, b: Net, head: Head, like: nn.Module | None) -> tuple[nn.Module, State, State]:
    """The network whose form the points have (that of `b` where its head is kept), and the states of both ends."""
    net, states = opened(word, {"b": b, "a": a} if head == "b" else {"a": a, "b": b}, like)
    return net, states["a"], states["b"]


@contextmanager
def line(
    word: str,
    net: nn.Module,
    a: State,
    b: State,
    batches: Iterable[Any] | Mapping[str, Iterable[Any]],
    *,
    statistics: Iterable[Any] | None,
    batch_norm: BatchNorm,
    head: Head,
    precision: str,
    images: int,
) -> Iterator[Line]:
    """A `Line` ready to walk; what it holds is freed at the end. Raises UserError, opening with `word`, where a and b
    have no line."""
    batch_norm = known("line", batch_norm)
    if head not in HEADS:
        raise UserError(f"head: '{head}' is none of {', '.join(HEADS)}.")
    a, b = with_head(word, net, a, b, head)
    with States(net, batches, statistics=statistics, precision=precision, images=images) as states:
        yield Line(states, states.adopt(a, "network a"), states.adopt(b, "network b"), batch_norm, head)


def with_head(word: str, net: nn.Module, a: State, b: State, head: Head) -> tuple[State, State]:
    """a and b with the head that `head` gives both. Raises UserError naming the first tensor that differs in kind."""
    heads = classifier(net)
    if head != "own":
        if not heads:
            raise UserError(f"head: no classifier was found in {type(net).__name__}; use head='own'.")
        kept = {name: t for name, t in (a if head == "a" else b).items() if belongs(name, heads)}
        a, b = ({name: t for name, t in one.items() if not belongs(name, heads)} | kept for one in (a, b))
    remedy = f"{REMEDY} (head='a' or head='b' keeps one network's head)" if head == "own" and heads else REMEDY
    same_architecture(word, net, {"a": a, "b": b}, remedy=remedy)
    return a, b


def chosen_alphas(alphas: int | Sequence[float]) -> list[float]:
    """Ascending alphas with 0 and 1 among them: that many, evenly from 0 to 1, or those given."""
    if isinstance(alphas, str):
        raise UserError(f"alphas: '{alphas}' is no number, list of numbers or 'adaptive'.")
    try:
        given = np.asarray(alphas)
        if given.ndim == 0 and given.dtype.kind in "iu":
            if given < 2:
                raise UserError(f"alphas: an even grid has at least its two ends, so at least 2, not {given}.")
            return [float(x) for x in np.linspace(0, 1, int(given))]
        given = given.astype(np.float64)
    except (TypeError, ValueError):
        given = np.array([np.nan])
    if given.ndim != 1 or not len(given) or not np.isfinite(given).all() or bool((np.diff(given) <= 0).any()):
        raise UserError("alphas: give finite numbers in ascending order, each once, or how many there should be.")
    return sorted({0.0, 1.0, *(float(x) for x in given)})
