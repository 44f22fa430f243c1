"""Basin: is the segment between two networks, and beyond, flat inside and worse in every way off its ends?

It is long because half of it says what the fields of the result and the parameters mean.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm, statistics_words
from transferscope.probes.walks.basis import beside
from transferscope.probes.walks.scored import Scored
from transferscope.probes.walks.segment import ROUNDING, along, explored
from transferscope.probes.walks.states import States
from transferscope.probes.weights.combine import Net, State, inner, opened, same_architecture, trained

Array = NDArray[np.float64]
Loss = Literal["error", "cross-entropy"] | Callable[[State], float]
PER_WEIGHT = (0.0025, 0.005, 0.01, 0.02, 0.04)
PLATEAU = "The loss is the same wherever it was asked for: a plateau, whose basin has no walls and so no size."


@dataclass(frozen=True)
class Basin(result.Saved):
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
    at: Annotated[Array, result.Later(("ends",))]
    own: Annotated[Array, result.Later(("ends",))]
    loss: str
    slack: float
    batch_norm: str
    images: int
    seed: int
    notes: tuple[str, ...] = ()

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
    def failing(self) -> tuple[str, ...]:
        """In words, the conditions that fail at the largest delta tried; () when a delta was found."""
        if self.delta is not None:
            return ()
        words = {
            2: "condition 2 (worse with noise in every weight at the ends)",
            3: "condition 3 (worse past the ends)",
        }
        return tuple(text for which, text in words.items() if self.margins(which)[0][-1] < 0)  # type: ignore[arg-type]

    def table(self) -> pl.DataFrame:
        """One row per delta tried: per_weight, delta, twice_epsilon, then the excess over mu and the standard error of
        excess - 2 epsilon for condition 2 (`noise`) and 3 (`beyond`), and whether both hold."""
        (noise, noise_error), (beyond, beyond_error) = self.margins(2), self.margins(3)
        return pl.DataFrame(
            {
                "per_weight": self.per_weight,
                "delta": self.deltas,
                "twice_epsilon": np.full(len(self.deltas), 2 * self.epsilon),
                "noise": noise + 2 * self.epsilon,
                "noise_error": noise_error,
                "beyond": beyond + 2 * self.epsilon,
                "beyond_error": beyond_error,
                "holds": (noise >= 0) & (beyond >= 0),
            }
        )

    def chart(self) -> Any:
        """The loss over S, and the excess loss off its ends against 2 epsilon for every delta tried."""
        order = np.argsort(self.alphas)
        inside = pl.DataFrame({"alpha": self.alphas[order], "loss": self.losses[order]})
        names = {"noise": "noise in every weight", "beyond": "past the ends"}
        off = self.table().unpivot(list(names), index="delta", variable_name="off", value_name="excess")
        off = off.with_columns(pl.col("off").replace_strict(names))
        percent = self.loss == "error"
        return charts.beside(
            charts.lines(
                inside,
                "alpha",
                "loss",
                x_title="alpha on the line from a (0) to b (1)",
                y_title=self.loss,
                percent=percent,
                reference=self.mean,
            ),
            charts.lines(
                off,
                "delta",
                "excess",
                "off",
                x_title="delta (L2 distance)",
                y_title=f"{self.loss} above the mean inside",
                percent=percent,
                reference=2 * self.epsilon,
            ),
        )


def basin(
    a: Net,
    b: Net,
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
    batch_norm: BatchNorm = "refresh",
    precision: str = "float32",
    images: int = 250,
    like: nn.Module | None = None,
) -> Basin:
    """Epsilon and delta of the basin that networks `a` and `b` lie in (Neyshabur et al. 2020, definition 3.1).

    S is the segment from a to b, extended (`extend`) beyond each end as far as the loss stays within `slack` of its
    mean between them, at most `limit` times their distance (an end above that is not extended). Epsilon comes from
    `samples` points spread over S. Delta is the smallest of `per_weight` times the root of the number of trainable
    parameters for which, in the mean over both ends and `draws` draws at each, noise (condition 2) and going on along
    the line (condition 3) cost at least 2 epsilon; the grid is tried in ascending order up to the first that does.
    `loss` is the share of wrong answers (under a metric that the batches bring, other than accuracy and AUC, what it
    lacks of its best, `slack` being a share of what it ranges over), the cross-entropy in nats, or a function of a
    state dict (then without `batches` and with nothing re-estimated). Batch norm's statistics are re-estimated at every
    point, those of a and b and with noise too, on `images` images of `statistics` (by default of `batches`). All draws
    come from `seed`. `a` and `b` are networks or state dicts; `like` is a network of their form, needed where both are
    state dicts: its own values do not matter. Nothing given is changed. Raises UserError for networks that do not fit
    or are the same, and for options out of range.
    """
    net, states = opened("basin", {"a": a, "b": b}, like)
    a, b = states["a"], states["b"]
    grid = np.unique(np.asarray(per_weight, dtype=np.float64))
    if samples < 3 or draws < 2:
        raise UserError(f"basin: samples must be at least 3 and draws at least 2, not {samples} and {draws}.")
    if not len(grid) or not np.isfinite(grid).all() or grid[0] <= 0:
        raise UserError("basin: per_weight must be standard deviations above 0, at least one.")
    if not (math.isfinite(slack) and slack >= 0 and math.isfinite(limit) and limit > 0):
        raise UserError(f"basin: slack must be 0 or more and limit above 0, not {slack} and {limit}.")
    if isinstance(loss, type) or (not callable(loss) and loss not in ("error", "cross-entropy")):
        raise UserError(f"basin: loss '{loss}' is neither 'error', 'cross-entropy' nor a function of a state dict.")
    same_architecture("basin", net, states)
    if not trained(net):
        raise UserError("basin: the network has no trainable parameters, so its basin has no size.")
    if not inner(a, b, a, b, trained(net)):
        raise UserError("basin: both networks have the same weights, so there is no segment between them.")
    how: dict[str, Any] = {
        "grid": grid,
        "samples": samples,
        "draws": draws,
        "slack": slack,
        "seed": seed,
        "limit": limit if extend else None,
    }
    notes: tuple[str, ...] = ()
    if callable(loss):
        found = explored(along(net, a, b, lambda state, place: float(loss(state)), seed), net, a, b, **how)
        kind, own, count = statistics_words("mixture", batch_norm, False), found["at"], 0
    else:
        if batches is None:
            raise UserError("basin: batches (x, labels) are needed to evaluate the loss on.")
        with States(
            net, batches, statistics=statistics, batch_norm=batch_norm, precision=precision, images=images
        ) as scorer:
            if len(scorer.names) > 1:
                raise UserError("basin: give the batches of one data set; for several call it once for each.")
            name, seen = scorer.names[0], list[dict[str, Scored]]()
            if loss == "error":
                how["slack"] = slack * scorer.whole

            def value(state: State, place: str) -> float:
                scores = scorer(state, place=place)
                seen.extend([scores] * (len(seen) < 2))  # the networks themselves are asked for first
                return _mean(scores[name], loss)

            found = explored(along(net, a, b, value, seed), net, a, b, **how)
            alone, notes = beside(scorer, states, dict(zip(states, seen, strict=True)))
            own = np.array([_mean(one[name], loss) for one in alone.values()])
            kind, count = statistics_words("mixture", batch_norm, scorer.has_batch_norm), scorer.count(name)
    if extend and found["reached"].all() and found["ends"].tolist() == [0, 1]:
        more = f"past either end the loss is at once more than {slack:g} above its mean between a and b"
        notes = (*notes, f"The segment could not be extended: {more}.")
    every = np.concatenate([found[word].ravel() for word in ("losses", "noisy", "beyond")])
    if np.ptp(every) < ROUNDING:
        notes = (*notes, PLATEAU)
    return Basin(
        **found,
        own=own,
        loss="the function given" if callable(loss) else loss,
        slack=slack,
        batch_norm=kind,
        images=count,
        seed=seed,
        notes=notes,
    )


def _mean(one: Scored, loss: str) -> float:
    return float((one.wrong if loss == "error" else one.loss).mean())
