"""Average: the weights of several networks averaged into one, beside the single networks and their ensemble.

It is long because half of it says what the fields of the result and the parameters mean.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import answers, charts
from transferscope.errors import UserError
from transferscope.measures.counts import paired_values
from transferscope.measures.crossfit import highest
from transferscope.measures.intervals import Interval, mean_interval, wilson
from transferscope.models.norm import has_batch_norm, refresh_batch_norm, running_statistics
from transferscope.models.precision import running
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm, known, statistics_words
from transferscope.probes.inputs.samples import unpacked
from transferscope.probes.running import Copy, device_of, fed
from transferscope.probes.walks.basis import Scores, beside
from transferscope.probes.walks.scored import Scored
from transferscope.probes.walks.soup import HELD_OUT, apart, ensemble, greedy, noted, shares
from transferscope.probes.walks.states import DATA, States
from transferscope.probes.weights.combine import Net, State, arrays, combine, opened, same_architecture
from transferscope.random_streams import stream

Kind = Literal["uniform", "greedy"]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Average(result.Saved):
    """k networks averaged in weights, and how that does on D data sets (none when no batches were given).

    `state`: the average, with the batch-norm statistics it was evaluated with; `tensors` gives it as a state dict.
    `weights` (k,) of the networks in it, adding up to 1. `single`, `single_loss` (k, D); `average`, `average_loss`,
    `ensemble`, `ensemble_loss` (D,): metric in [0, 1] and cross-entropy in nats of each network, of the average, and of
    the mean of the k networks' probabilities, all on one basis: batch-norm statistics re-estimated on the same images
    (or as found). `own`, `own_loss` (k, D): of each network with the statistics it came with; `notes` tell where that
    differs by more than chance. `errors`: per data set (k + 2, n), the wrong answers on every image of the networks,
    the average and the ensemble (multi-label: share of labels).
    `recipe`: "uniform", "weighted" or "greedy". Greedy only, else empty: `held_out` (k,) the networks' scores on the
    held-out images, `order` (k,) best first, `tried` (k,) the soup's score there with the next in order added, who
    stays when it did not fall.
    """

    state: Mapping[str, np.ndarray]
    weights: Array
    single: Array
    single_loss: Array
    average: Array
    average_loss: Array
    ensemble: Array
    ensemble_loss: Array
    own: Annotated[Array, result.Later(("single",))]
    own_loss: Annotated[Array, result.Later(("single",))]
    errors: Mapping[str, Array]
    held_out: Array
    order: NDArray[np.int64]
    tried: Array
    recipe: str
    metric: str
    batch_norm: str
    notes: tuple[str, ...] = ()

    @property
    def data(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return tuple(self.errors)

    @property
    def members(self) -> tuple[int, ...]:
        """The networks in the average, counted from 0."""
        return tuple(int(i) for i in np.flatnonzero(self.weights))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The average as a state dict on the CPU: `net.load_state_dict(found.tensors)`."""
        return {name: torch.from_numpy(np.array(array)) for name, array in self.state.items()}

    def gain(self, over: Literal["best", "mean", "ensemble"] = "best", data: str | None = None) -> Interval:
        """How much smaller the average's share of wrong answers (or what it lacks of its metric's best) is than that of
        the best single network (chosen on some images, compared on others: `measures.crossfit`), of the mean of all, or
        of the ensemble: with a 95% interval over images (`measures.counts.paired_values`; t of other metrics than
        accuracy and AUC). Raises UserError where nothing was evaluated."""
        name = data or next(iter(self.errors), "")
        if name not in self.errors:
            raise UserError(f"average: no data set '{name}' was evaluated; give batches to average().")
        rows = self.errors[name]
        singles = rows[:-2]
        counted = self.metric in ("accuracy", "auc")  # their errors lie in [0, 1]
        if over == "best" and len(singles) > 1 and rows.shape[1] > 1:
            behind = highest(rows[-2] - singles, stream(0, "average", name))
            least = (wilson(0, behind.n).high or 0.0) if counted else 0.0
            half, far = max(least, (behind.high or behind.mean) - behind.mean), 1.0 if counted else math.inf
            return Interval(-behind.mean, max(-far, -behind.mean - half), min(far, -behind.mean + half), behind.n)
        against = {"best": singles[0], "mean": singles.mean(0), "ensemble": rows[-1]}
        return (paired_values if counted else mean_interval)(against[over] - rows[-2])

    def table(self) -> pl.DataFrame:
        """One row per data set and network, the average and the ensemble last: data, network, weight, metric, loss, and
        own_metric and own_loss of the networks with the batch-norm statistics they came with."""
        rows: list[dict[str, Any]] = []
        for d, name in enumerate(self.data):
            for i, w in enumerate(self.weights):
                rows.append(
                    {
                        "data": name,
                        "network": f"network {i + 1}",
                        "weight": float(w),
                        "metric": self.single[i, d],
                        "loss": self.single_loss[i, d],
                        "own_metric": self.own[i, d],
                        "own_loss": self.own_loss[i, d],
                    }
                )
            rows.append(
                {
                    "data": name,
                    "network": "average",
                    "weight": None,
                    "metric": self.average[d],
                    "loss": self.average_loss[d],
                }
            )
            rows.append(
                {
                    "data": name,
                    "network": "ensemble",
                    "weight": None,
                    "metric": self.ensemble[d],
                    "loss": self.ensemble_loss[d],
                }
            )
        schema = {
            "data": pl.String,
            "network": pl.String,
            "weight": pl.Float64,
            "metric": pl.Float64,
            "loss": pl.Float64,
            "own_metric": pl.Float64,
            "own_loss": pl.Float64,
        }
        return pl.DataFrame(rows, schema=schema).with_columns(pl.selectors.float().fill_nan(None))

    def chart(self) -> Any:
        """The metric of every network, of the average and of the ensemble."""
        if not self.errors:
            raise UserError("average: nothing was evaluated, so there is nothing to draw; give batches to average().")
        how = answers.metric(self.metric)
        rows = self.table().drop_nulls("metric").with_columns(pl.col("metric") * how.told(1.0))
        facet = "data" if len(self.data) > 1 else None
        return charts.dots(rows, "network", "metric", facet=facet, value_title=self.metric, percent=how.share)


def average(
    nets: Sequence[Net],
    batches: Iterable[Any] | Mapping[str, Iterable[Any]] | None = None,
    *,
    weights: Sequence[float] | None = None,
    kind: Kind = "uniform",
    held_out: Iterable[Any] | None = None,
    statistics: Iterable[Any] | None = None,
    batch_norm: BatchNorm = "refresh",
    precision: str = "float32",
    images: int = 250,
    like: nn.Module | None = None,
) -> Average:
    """Average the weights of `nets`, all of one architecture: all alike ("uniform"), by `weights` that add up to 1, or
    as a greedy soup (Wortsman et al. 2022, recipe 1).

    Greedy: networks are added best first, by their score on the batches `held_out`, as long as the soup's score there
    does not fall; those images must not be among `batches`. `batches` are (x, labels), or several such under names.
    Batch norm's statistics are re-estimated on `images` images of `statistics`, by default of `held_out`, else of the
    first batches: of the average and, to compare like with like, of every network; "as found" averages them too.
    Integer buffers come from the first network in the average. `nets` are networks or state dicts; `like` is a network
    of their form, needed where all are state dicts: its own values do not matter. Nothing given is changed. Raises
    UserError for networks that do not fit, and for batch norm without any images.
    """
    single = isinstance(nets, nn.Module | Mapping | type | str | Path) or not isinstance(nets, Iterable)
    nets = [] if single else list(nets)
    if not nets:
        raise UserError("average: a sequence of at least two networks is needed.")
    net, held = opened("average", {f"network {i}": one for i, one in enumerate(nets, 1)}, like)
    states = list(held.values())
    mix = shares(len(states), weights, kind, held_out is not None)
    same_architecture("average", net, held)
    named = batches if isinstance(batches, Mapping) else {} if batches is None else {DATA: batches}
    if HELD_OUT in named:
        raise UserError(f"average: a data set cannot be called '{HELD_OUT}'; give it another name.")
    recipe = kind if weights is None else "weighted"
    seen: dict[str, list[np.ndarray]] = {}
    data = ({} if held_out is None else {HELD_OUT: held_out}) | dict(named)
    if not data:
        state, used = _unseen(net, states, mix, statistics, batch_norm, images)
        return _result(state, mix, {}, recipe, "", used)
    if held_out is not None:
        data = {name: noted(batches, seen.setdefault(name, [])) for name, batches in data.items()}
    with States(net, data, statistics=statistics, batch_norm=batch_norm, precision=precision, images=images) as scorer:
        apart(seen)
        order, tried, alone = np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0)
        if kind == "greedy":
            mix, order, tried, alone = greedy(scorer, states)
        mixed = combine(states, mix.tolist())
        statistics_now = {
            name: tensor.to(mixed[name].dtype) for name, tensor in scorer.load(mixed, place="the average").items()
        }
        rows = dict.fromkeys(named, slice(None))
        found = {name: [one] for name, one in scorer.score(rows, place="the average").items()} if rows else {}
        members = {str(i): state for i, state in enumerate(states, 1)}
        now = {who: scorer(state, place=f"network {who}", rows=rows) for who, state in members.items()} if rows else {}
        own, notes = beside(scorer, members if rows else {}, now, rows)
        for name, ones in found.items():
            singles = [scores[name] for scores in now.values()]
            both = ensemble([one.logits for one in singles], scorer.labels(name))
            found[name] = [*singles, *ones, scorer.judge(name, both)]
        used = statistics_words("mixture", batch_norm, scorer.has_batch_norm)
        return _result(mixed | statistics_now, mix, found, recipe, scorer.metric, used, own, notes, alone, order, tried)


def _result(
    state: State,
    weights: Array,
    found: Mapping[str, Sequence[Scored]],
    kind: str,
    metric: str,
    batch_norm: str,
    own: Mapping[str, Scores] = MappingProxyType({}),
    notes: tuple[str, ...] = (),
    alone: Array | None = None,
    order: NDArray[np.int64] | None = None,
    tried: Array | None = None,
) -> Average:
    """`found`: per data set the networks, the average and the ensemble."""
    none = np.zeros((len(weights) + 2, 0))
    metrics = np.array([[one.metric for one in ones] for ones in found.values()]).T if found else none
    losses = np.array([[one.loss.mean() for one in ones] for ones in found.values()]).T if found else none
    owns = np.array([[[one[d].metric, one[d].loss.mean()] for d in found] for one in own.values()]) if found else None
    return Average(
        state=arrays(state),
        weights=weights,
        single=metrics[:-2],
        average=metrics[-2],
        ensemble=metrics[-1],
        single_loss=losses[:-2],
        average_loss=losses[-2],
        ensemble_loss=losses[-1],
        own=none[:-2] if owns is None else owns[..., 0],
        own_loss=none[:-2] if owns is None else owns[..., 1],
        errors={name: np.stack([one.wrong for one in ones]) for name, ones in found.items()},
        held_out=np.zeros(0) if alone is None else alone,
        order=np.zeros(0, dtype=np.int64) if order is None else order,
        tried=np.zeros(0) if tried is None else tried,
        recipe=kind,
        metric=metric,
        batch_norm=batch_norm,
        notes=notes,
    )


def _unseen(
    net: nn.Module, states: Sequence[State], mix: Array, statistics: Iterable[Any] | None, batch_norm: Any, images: int
) -> tuple[dict[str, Tensor], str]:
    """The average when there is nothing to evaluate it on, with its statistics, and what became of them."""
    kind, there = known("mixture", batch_norm), has_batch_norm(net)
    mixed, used = combine(states, mix.tolist()), statistics_words("mixture", kind, there)
    if not there or kind == "as found":
        return mixed, used
    if statistics is None:
        raise UserError(
            "average: these networks have batch norm, whose statistics have to be re-estimated on images; give "
            "batches or statistics=, or batch_norm='as found' for averaged ones."
        )
    twin, found, left = Copy(net, device_of(net)), list[Tensor](), images
    twin.net.load_state_dict(mixed)
    for batch in unpacked(statistics, "statistics"):
        found.append(fed(batch.x[:left], net))
        left -= len(found[-1])
        if left <= 0:
            break
    for few in found[:1]:
        twin.tried(few[:2], "statistics")
    with running("float32", str(twin.device)), twin.drawing():
        refresh_batch_norm(twin.net, found)
    now = running_statistics(twin.net)
    return mixed | {name: tensor.detach().clone().to(mixed[name].dtype) for name, tensor in now.items()}, used
