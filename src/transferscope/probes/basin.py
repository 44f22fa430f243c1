"""Basin: is the segment between two networks, and beyond, flat inside and worse in every way off its ends?"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.probes import result
from transferscope.probes.basis import own_scores, remarks, sources
from transferscope.probes.combine import State, fitting, inner, networks, trained
from transferscope.probes.segment import along, boundary, half_normal
from transferscope.probes.states import Scored, States, Statistics
from transferscope.streams import stream

Array = NDArray[np.float64]
Loss = Literal["error", "cross-entropy"] | Callable[[State], float]
PER_WEIGHT = (0.0025, 0.005, 0.01, 0.02, 0.04)
PLATEAU = "The loss is the same wherever it was asked for: a plateau, whose basin has no walls and so no size."
ROUNDING = 1e-12  # a margin nearer to 0 is 0: on a plateau both sides of a condition are one number


@dataclass(frozen=True)
class Basin:
    """The (epsilon, delta)-basin of Neyshabur et al. 2020, definition 3.1, on the segment S through networks a and b.

    S reaches from alpha = `ends[0]` to `ends[1]` (a is 0, b is 1); `reached` (2,) says at which end the loss left the
    slack, else the search ended at its limit. `alphas`, `losses` (samples,): the points drawn evenly over S.
    `per_weight` (g,): standard deviations per weight that were tried, ascending, up to the first that held; `noisy`
    (g, 2, draws): the loss at both ends plus Gaussian noise of it in every weight; `beyond` (g, 2, draws): the loss
    past both ends by |nu|, nu ~ N(0, delta^2). `length`: L2 distance of a and b; `size`: trainable parameters.
    `at`, `own` (2,): the loss of a and b on the basis of all these points, and with the batch-norm statistics they came
    with. `notes` tell where these differ by more than chance, and a segment or walls without extent.
    """

    ends: Array
    reached: NDArray[np.bool_]
    alphas: Array
    losses: Array
    per_weight: Array
    noisy: Array
    beyond: Array
    length: float
    size: int
    at: Array
    own: Array
    loss: str
    slack: float
    batch_norm: str
    images: int
    seed: int
    notes: tuple[str, ...]

    @property
    def mean(self) -> float:
        """mu, the mean loss over S."""
        return float(self.losses.mean())

    @property
    def epsilon(self) -> float:
        """The mean of |loss - mu| over S (condition 1)."""
        return float(np.abs(self.losses - self.mean).mean())

    @property
    def epsilon_error(self) -> float:
        """The standard error of epsilon over the points drawn."""
        return float(np.abs(self.losses - self.mean).std(ddof=1) / math.sqrt(len(self.losses)))

    @property
    def deltas(self) -> Array:
        """The total norms tried (g,): standard deviation per weight times the root of the number of weights."""
        return np.asarray(self.per_weight * math.sqrt(self.size))

    @property
    def delta(self) -> float | None:
        """The smallest delta tried at which conditions 2 and 3 hold, None when there is none."""
        held = np.flatnonzero((self.margins(2)[0] >= 0) & (self.margins(3)[0] >= 0))
        return float(self.deltas[held[0]]) if len(held) else None

    def margins(self, condition: Literal[2, 3]) -> tuple[Array, Array]:
        """By how much the excess loss over mu exceeds 2 epsilon, (g,), and its standard error: over the draws of noise
        and the points of S. The images are taken as given."""
        drawn = self.noisy if condition == 2 else self.beyond
        inside = self.losses + 2 * np.abs(self.losses - self.mean)
        spread = drawn.var(2, ddof=1).sum(1) / (4 * drawn.shape[2]) + inside.var(ddof=1) / len(inside)
        margin = drawn.mean((1, 2)) - inside.mean()
        return np.where(np.abs(margin) < ROUNDING, 0.0, margin), np.sqrt(spread)

    @property
    def sure(self) -> bool:
        """Whether delta exists and both margins there are more than two standard errors above 0."""
        if self.delta is None:
            return False
        found = (self.margins(2), self.margins(3))
        return all(bool(margin[-1] > 2 * error[-1]) for margin, error in found)

    @property
    def flat(self) -> bool:
        """Whether the loss is one number wherever it was asked for, within rounding: a plateau, without any walls."""
        every = np.concatenate([self.losses, self.noisy.ravel(), self.beyond.ravel()])
        return bool(np.ptp(every) < ROUNDING)

    @property
    def failing(self) -> tuple[str, ...]:
        """In words, the conditions that fail at the largest delta tried; () when a delta was found."""
        if self.delta is not None:
            return ()
        words = {2: "condition 2 (worse with noise in every weight at the ends)",
                 3: "condition 3 (worse past the ends)"}  # fmt: skip
        return tuple(text for which, text in words.items() if self.margins(which)[0][-1] < 0)  # type: ignore[arg-type]

    def table(self) -> pl.DataFrame:
        """One row per delta tried: per_weight, delta, twice_epsilon, then the excess over mu and the standard error of
        excess - 2 epsilon for condition 2 (`noise`) and 3 (`beyond`), and whether both hold."""
        (noise, noise_error), (beyond, beyond_error) = self.margins(2), self.margins(3)
        return pl.DataFrame(
            {
                "per_weight": self.per_weight, "delta": self.deltas,
                "twice_epsilon": np.full(len(self.deltas), 2 * self.epsilon),
                "noise": noise + 2 * self.epsilon, "noise_error": noise_error,
                "beyond": beyond + 2 * self.epsilon, "beyond_error": beyond_error,
                "holds": (noise >= 0) & (beyond >= 0),
            }
        )  # fmt: skip

    def chart(self) -> Any:
        """The loss over S, and the excess loss off its ends against 2 epsilon for every delta tried."""
        order = np.argsort(self.alphas)
        inside = pl.DataFrame({"alpha": self.alphas[order], "loss": self.losses[order]})
        names = {"noise": "noise in every weight", "beyond": "past the ends"}
        off = self.table().unpivot(list(names), index="delta", variable_name="off", value_name="excess")
        off = off.with_columns(pl.col("off").replace_strict(names))
        percent = self.loss == "error"
        return charts.beside(
            charts.lines(inside, "alpha", "loss", x_title="alpha on the line from a (0) to b (1)", y_title=self.loss,
                         percent=percent, reference=self.mean),
            charts.lines(off, "delta", "excess", "off", x_title="delta (L2 distance)",
                         y_title=f"{self.loss} above the mean inside", percent=percent, reference=2 * self.epsilon),
        )  # fmt: skip

    def save(self, path: Path | str) -> None:
        """Write to one `.safetensors` file; `transferscope.load(path)` reads it."""
        result.save(self, path)


def basin(
    a: nn.Module,
    b: nn.Module,
    batches: Iterable[Any] | None = None,
    *,
    loss: Loss = "error",
    samples: int = 20,
    draws: int = 5,
    per_weight: Sequence[float] = PER_WEIGHT,
    extend: bool = True,
    slack: float = 0.01,
    limit: float = 1.0,
    seed: int = 0,
    statistics: Iterable[Any] | None = None,
    batch_norm: Statistics = "refresh",
    precision: str = "float32",
    images: int = 250,
) -> Basin:
    """Epsilon and delta of the basin that networks `a` and `b` lie in (Neyshabur et al. 2020, definition 3.1).

    S is the segment from a to b, extended (`extend`) beyond each end as far as the loss stays within `slack` of its
    mean between them, at most `limit` times their distance (an end above that is not extended). Epsilon comes from
    `samples` points spread over S. Delta is the smallest of `per_weight` times the root of the number of trainable
    parameters for which, in the mean over both
    ends and `draws` draws at each, noise (condition 2) and going on along the line (condition 3) cost at least
    2 epsilon; the grid is tried in ascending order up to the first that does. `loss` is the share of wrong answers, the
    cross-entropy in nats, or a function of a state dict (then without `batches` and with nothing re-estimated). Batch
    norm's statistics are re-estimated at every point, those of a and b and with noise too, on `images` images of
    `statistics` (by default of `batches`). All draws come from `seed`; the networks are not changed.
    """
    networks("basin", {"a": a, "b": b})
    return state_basin(
        a, a.state_dict(), b.state_dict(), batches, loss=loss, samples=samples, draws=draws, per_weight=per_weight,
        extend=extend, slack=slack, limit=limit, seed=seed, statistics=statistics, batch_norm=batch_norm,
        precision=precision, images=images,
    )  # fmt: skip


def state_basin(
    net: nn.Module,
    a: State,
    b: State,
    batches: Iterable[Any] | None = None,
    *,
    loss: Loss = "error",
    samples: int = 20,
    draws: int = 5,
    per_weight: Sequence[float] = PER_WEIGHT,
    extend: bool = True,
    slack: float = 0.01,
    limit: float = 1.0,
    seed: int = 0,
    statistics: Iterable[Any] | None = None,
    batch_norm: Statistics = "refresh",
    precision: str = "float32",
    images: int = 250,
) -> Basin:
    """`basin` of two state dicts of `net`, whose own values do not matter."""
    grid = np.unique(np.asarray(per_weight, dtype=np.float64))
    if samples < 3 or draws < 2:
        raise UserError(f"basin: samples must be at least 3 and draws at least 2, not {samples} and {draws}.")
    if not len(grid) or not np.isfinite(grid).all() or grid[0] <= 0:
        raise UserError("basin: per_weight must be standard deviations above 0, at least one.")
    if not (math.isfinite(slack) and slack >= 0 and math.isfinite(limit) and limit > 0):
        raise UserError(f"basin: slack must be 0 or more and limit above 0, not {slack} and {limit}.")
    if not callable(loss) and loss not in ("error", "cross-entropy"):
        raise UserError(f"basin: loss '{loss}' is neither 'error', 'cross-entropy' nor a function of a state dict.")
    fitting("basin", net, {"a": a, "b": b})
    names = trained(net)
    if not names:
        raise UserError("basin: the network has no trainable parameters, so its basin has no size.")
    length = math.sqrt(inner(a, b, a, b, names))
    if not length:
        raise UserError("basin: both networks have the same weights, so there is no segment between them.")
    with ExitStack() as stack:
        scorer: States | None = None
        seen: dict[str, dict[str, Scored]] = {}  # the networks themselves
        if callable(loss):
            value: Callable[[State, str], float] = lambda state, place: float(loss(state))  # noqa: E731
        else:
            if batches is None:
                raise UserError("basin: batches (x, labels) are needed to evaluate the loss on.")
            scorer = stack.enter_context(
                States(net, batches, statistics=statistics, batch_norm=batch_norm, precision=precision, images=images)
            )
            value = _scored(scorer, loss, seen)
        at = along(net, a, b, value, seed)
        ends, reached = np.array([0.0, 1.0]), np.zeros(2, dtype=bool)
        if extend:
            ends, reached = boundary(at, slack, limit)
        rng = stream(seed, "basin", "inside")
        alphas = ends[0] + (ends[1] - ends[0]) * (np.arange(samples) + rng.random(samples)) / samples
        losses = np.array([at(alpha, 0.0, (0, 0)) for alpha in alphas.tolist()])
        size = sum(p.numel() for name, p in net.named_parameters() if name in set(names))
        noisy, beyond = [], []
        inside = float((losses + 2 * np.abs(losses - losses.mean())).mean())
        past = half_normal(draws, seed)
        for s in grid.tolist():
            away = s * math.sqrt(size) / length * past * np.array([[-1.0], [1.0]])
            noisy.append([[at(float(ends[e]), s, (e, d)) for d in range(draws)] for e in (0, 1)])
            beyond.append([[at(float(ends[e] + away[e, d]), 0.0, (e, d)) for d in range(draws)] for e in (0, 1)])
            if min(np.mean(noisy[-1]), np.mean(beyond[-1])) > inside - ROUNDING:
                break
        ends_now = np.array([at(0.0, 0.0, (0, 0)), at(1.0, 0.0, (0, 0))])
        own, notes = ends_now, list[str]()
        if scorer is not None:
            now = {"a": seen["alpha 0"], "b": seen["alpha 1"]}
            alone = own_scores(scorer, {"a": a, "b": b}, now)
            own = np.array([_loss(one[scorer.names[0]], str(loss)) for one in alone.values()])
            basis = f"re-estimated at every point, {scorer.measured_words}"
            notes += remarks(alone, now, scorer.metric, basis, scorer.names)
            notes += sources(scorer, batch_norm == "refresh")
        if extend and reached.all() and ends.tolist() == [0, 1]:
            notes.append(
                f"The segment could not be extended: past either end the loss is at once more than {slack:g} above its "
                "mean between a and b."
            )
        kind = "none" if scorer is None or not scorer.has_batch_norm else batch_norm
        found = Basin(
            ends=ends, reached=reached, alphas=alphas, losses=losses, per_weight=grid[: len(noisy)],
            noisy=np.array(noisy), beyond=np.array(beyond), length=length, size=size,
            loss="the function given" if callable(loss) else loss, slack=slack, batch_norm=kind,
            images=0 if scorer is None else scorer.count(scorer.names[0]), seed=seed, at=ends_now, own=own,
            notes=tuple(notes),
        )  # fmt: skip
        return replace(found, notes=(*notes, PLATEAU)) if found.flat else found


def _scored(scorer: States, loss: str, seen: dict[str, dict[str, Scored]]) -> Callable[[State, str], float]:
    if len(scorer.names) > 1:
        raise UserError("basin: give the batches of one data set; for several call it once for each.")

    def value(state: State, place: str) -> float:
        found = scorer(state, place=place)
        if place in ("alpha 0", "alpha 1"):
            seen[place] = found
        return _loss(found[scorer.names[0]], loss)

    return value


def _loss(one: Scored, loss: str) -> float:
    return float((one.wrong if loss == "error" else one.loss).mean())
