"""Rewinding: what a trained network loses when a block goes back to where it started, or is drawn anew.

It is long because half of it says what the fields of the result and the parameters mean.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn

from transferscope import charts
from transferscope.errors import UserError
from transferscope.models.blocks import Block
from transferscope.models.build import seeded
from transferscope.models.weights import distance as l2
from transferscope.probes import result
from transferscope.probes.batch_norm import BatchNorm
from transferscope.probes.blocks.changed_networks import (
    Trials,
    chosen,
    kept,
    own_tensors,
    possible,
    tensors_of,
    trained,
)
from transferscope.probes.walks.scored import Scored
from transferscope.probes.weights.combine import Net, State, opened
from transferscope.random_streams import stream_seed

Array = NDArray[np.float64]
Cumulative = Literal["bottom", "top", "both"]
NONE = "(none)"
Z = 1.959964  # of 95%


@dataclass(frozen=True)
class Rewind(result.Saved):
    """One row per rewound set of blocks and data set; the first row of each data set is the network itself.

    `block` names the block; `how` is "none" (what all drops are measured from), "own" (the same network with the
    running statistics it came with, where all are re-estimated), "rewind" (that block alone), "redraw" (that block
    alone, fresh from the initial distribution), "bottom" (it and all blocks before it) or "top" (it and all after it);
    `checkpoint` is where the values came from and `data` the data set. Per row (r,): `score` by `metric` in [0, 1],
    `loss` in nats (both NaN where undefined), `low` and `high`, the 95% interval over images of the score lost (Agresti
    and Min 2005, matched pairs; NaN for an AUC), `distance` between final and rewound parameters (L2), `size`, how many
    these parameters are, tied ones once. `batch_norm` says which statistics all networks but "own" have. `skipped`:
    blocks of the head that have other shapes at the start. `images`: (data set, count).
    """

    block: tuple[str, ...]
    how: tuple[str, ...]
    checkpoint: tuple[str, ...]
    data: tuple[str, ...]
    score: Array
    loss: Array
    low: Array
    high: Array
    distance: Array
    size: NDArray[np.int64]
    metric: str
    images: tuple[tuple[str, int], ...]
    batch_norm: str
    precision: str
    skipped: tuple[str, ...] = ()

    def table(self) -> pl.DataFrame:
        """The rows with `drop` = score lost (`drop_low` to `drop_high`) and `loss_rise` against the network itself, and
        the distance over the root of `size` (Zhang, Bengio and Singer 2022, section 3)."""
        own = {self.data[i]: i for i, how in enumerate(self.how) if how == "none"}
        base = [own[data] for data in self.data]
        scaled = self.distance / np.sqrt(np.maximum(self.size, 1))
        columns = {
            "score": self.score,
            "loss": self.loss,
            "drop": self.score[base] - self.score,
            "drop_low": self.low,
            "drop_high": self.high,
            "loss_rise": self.loss - self.loss[base],
            "distance": self.distance,
            "distance_scaled": scaled,
        }
        words = {"block": self.block, "how": self.how, "checkpoint": self.checkpoint, "data": self.data}
        frame = pl.DataFrame({**words, "metric": [self.metric] * len(self.block), **columns, "size": self.size})
        return frame.with_columns(pl.col(*columns).fill_nan(None))

    @property
    def own(self) -> tuple[tuple[str, float, float], ...]:
        """(data set, score of the network itself, its score with its own running statistics) where the two differ."""
        scores = {(self.data[i], how): float(self.score[i]) for i, how in enumerate(self.how) if how in ("none", "own")}
        pairs = [
            (data, scores[data, "none"], scores.get((data, "own"), scores[data, "none"])) for data, _ in self.images
        ]
        return tuple(pair for pair in pairs if pair[1] != pair[2] and not (pair[1] != pair[1] and pair[2] != pair[2]))

    def chart(self, data: str | None = None) -> Any:
        """The score lost by each block (of one data set, default the last), by what was done to it."""
        rows = self._of(data).filter(pl.col("how").is_in(["rewind", "redraw"]))
        first = rows["checkpoint"][0] if rows.height else ""
        rows = rows.filter((pl.col("how") == "redraw") | (pl.col("checkpoint") == first)).drop_nulls("drop")
        return charts.bars(
            rows,
            "block",
            "drop",
            "how",
            low="drop_low",
            high="drop_high",
            value_title=f"{self.metric} lost",
            percent=True,
        )

    def heat(self, data: str | None = None) -> Any:
        """Blocks by checkpoints, the score lost as colour (Zhang, Bengio and Singer 2022, figure 1)."""
        rows = self._of(data).filter(pl.col("how") == "rewind")
        return charts.heat(rows, "checkpoint", "block", "drop", percent=True, value_title=f"{self.metric} lost")

    def _of(self, data: str | None) -> pl.DataFrame:
        return self.table().filter(pl.col("data") == (self.data[-1] if data is None else data))


def rewind(
    net: Net,
    start: Net,
    batches: Iterable[Any] | Mapping[str, Iterable[Any]],
    *,
    checkpoints: Mapping[str, Net] | None = None,
    redraw: bool | Net | Callable[[], nn.Module] = False,
    cumulative: Cumulative | None = None,
    blocks: Sequence[str] | None = None,
    batch_norm: BatchNorm = "refresh",
    statistics: Iterable[Any] | None = None,
    images: int = 250,
    precision: str = "float32",
    seed: int = 0,
    like: nn.Module | None = None,
) -> Rewind:
    """Set one block of `net` at a time back to its value at `start`, all others final, and score the network.

    (Zhang, Bengio and Singer 2022, section 3; Neyshabur et al. 2020, figure 5.) `net`, `start` and every one of
    `checkpoints` is a network or a state dict; `like` is a network of the form of `net`, needed where all of them are
    state dicts: its own values do not matter. `batches` (x, labels) are one data set, or several by name (train, test).
    `redraw` also draws every block anew: from a factory or another fresh network, or with True by each module's own
    `reset_parameters` (which a library's constructor may have overruled: prefer a factory), from `seed`. `cumulative`
    rewinds ever more blocks to `start`, from the "bottom", the "top" or "both". `blocks` names those to rewind.

    `batch_norm` "refresh": all running statistics are estimated anew from up to `images` of `statistics` (training
    images are best; without any, of the first data set), after every change and for the unchanged network.
    "as found": a rewound block has the statistics that belong to its values there, every other block keeps its own;
    what is lost is then in part one of fit.

    The data sets are held in memory. Nothing given is changed. Raises UserError for a start of another
    architecture, an unknown block and batches without labels.
    """
    given = {"start": start, **(checkpoints or {})}
    words = {name: name if name == "start" else f"checkpoint '{name}'" for name in given}
    every: dict[str, Net] = {"net": net, **{words[name]: one for name, one in given.items()}}
    if isinstance(redraw, nn.Module | Mapping | str | Path):
        every["redraw"] = redraw
    form, states = opened("rewind", every, like)
    starts = {name: kept(states[words[name]]) for name in given}
    if cumulative not in (None, "bottom", "top", "both"):
        raise UserError(f"cumulative: '{cumulative}' is none of 'bottom', 'top' and 'both'.")
    end, moving = own_tensors("rewind", "net", form, net, states["net"]), trained(form)
    if isinstance(redraw, nn.Module | Mapping | str | Path):
        redrawn: State | None = kept(states["redraw"])
    else:
        redrawn = _redrawn(form, end, redraw, seed)
    trials = Trials(form, batches, batch_norm=batch_norm, statistics=statistics, images=images, precision=precision)
    ends: dict[str, State] = {"net": end, **{words[name]: state for name, state in starts.items()}}
    if redrawn is not None:
        ends["redraw"] = redrawn
    inner = tensors_of(form, trials.cut)
    asked = [block for block in chosen(trials.cut, blocks) if block.name in inner]
    wanted, skipped = possible("rewind", form, ends, asked)

    def values(of: Iterable[Block], state: State) -> dict[str, Tensor]:
        return {name: state[name] for block in of for name in inner[block.name]}

    rows: list[tuple[str, str, str, str, float, float, float, float, float, int]] = []
    base: dict[str, Scored | None] = {}
    trials.on(end)
    at_start = False
    unchanged = [_Change(NONE, "none", "", end, ()), *([_Change(NONE, "own", "", end, ())] if trials.refresh else [])]
    for change in [*unchanged, *_changes(wanted, starts, redrawn, cumulative)]:
        place, inside = f"{change.name} ({change.how})", change.blocks
        if change.how == "own":
            found = trials.own(end)
        elif change.how == "bottom":  # seen from the start, only the blocks above change: back to their final values
            if not at_start:
                trials.on({**end, **values(wanted, change.state)})
                at_start = True
            above = wanted[len(inside) :]
            found = trials(above, values(above, end), place)
        else:
            found = trials(inside, values(inside, change.state), place)
        moved = [name for name in values(inside, end) if name in moving]
        far, count = l2(end, change.state, moved), sum(end[name].numel() for name in moved)
        base = base or found
        for name, of in found.items():
            score = (of.metric, float(of.loss.mean())) if of else (float("nan"), float("nan"))
            between = _ends(base[name], of, trials.states.metric)
            rows.append((change.name, change.how, change.checkpoint, name, *score, *between, far, count))
    block, how, checkpoint, data, value, loss, low, high, distance, size = zip(*rows, strict=True)
    return Rewind(
        block=block,
        how=how,
        checkpoint=checkpoint,
        data=data,
        score=np.array(value, dtype=np.float64),
        loss=np.array(loss, dtype=np.float64),
        low=np.array(low, dtype=np.float64),
        high=np.array(high, dtype=np.float64),
        distance=np.array(distance, dtype=np.float64),
        size=np.array(size, dtype=np.int64),
        metric=trials.states.metric,
        images=tuple((name, trials.states.count(name)) for name in trials.states.names),
        batch_norm=trials.basis,
        precision=trials.states.precision_words,
        skipped=skipped,
    )


@dataclass(frozen=True)
class _Change:
    """Blocks set to the values they have in `state`."""

    name: str
    how: str
    checkpoint: str
    state: State
    blocks: tuple[Block, ...]


def _changes(
    wanted: tuple[Block, ...], starts: Mapping[str, State], redrawn: State | None, cumulative: Cumulative | None
) -> Iterator[_Change]:
    for checkpoint, state in starts.items():
        yield from (_Change(block.name, "rewind", checkpoint, state, (block,)) for block in wanted)
    if redrawn is not None:
        yield from (_Change(block.name, "redraw", "redraw", redrawn, (block,)) for block in wanted)
    first, state = next(iter(starts.items()))
    for i, block in enumerate(wanted):
        if cumulative in ("top", "both"):
            yield _Change(block.name, "top", first, state, wanted[i:])
    for i, block in enumerate(wanted):
        if cumulative in ("bottom", "both"):
            yield _Change(block.name, "bottom", first, state, wanted[: i + 1])


def _ends(own: Scored | None, of: Scored | None, metric: str) -> tuple[float, float]:
    """The 95% interval over images of the accuracy lost, by Wald's formula with half an image more in every cell."""
    if own is None or of is None or metric != "accuracy":
        return float("nan"), float("nan")
    lost, won = float(((of.wrong == 1) & (own.wrong == 0)).sum()), float(((of.wrong == 0) & (own.wrong == 1)).sum())
    n = len(of.wrong) + 2
    half = Z * math.sqrt(lost + won + 1 - (lost - won) ** 2 / n) / n
    return max((lost - won) / n - half, -1.0), min((lost - won) / n + half, 1.0)


def _redrawn(
    net: nn.Module, state: State, redraw: bool | Callable[[], nn.Module], seed: int
) -> dict[str, Tensor] | None:
    """The tensors of a freshly initialised network of the form of `net`; buffers that no module resets are those of
    `state`."""
    if redraw is False:
        return None
    with seeded(stream_seed(seed, "redraw")):
        if callable(redraw):
            return kept(redraw().state_dict())
        fresh = copy.deepcopy(net)
        fresh.load_state_dict(state)
        for name, module in fresh.named_modules():
            own = [tensor for tensor, _ in module.named_parameters(recurse=False)]
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
            elif own:
                full = f"{name}.{own[0]}" if name else own[0]
                raise UserError(
                    f"redraw: '{full}' belongs to a {type(module).__name__}, which cannot initialise itself; give "
                    "redraw=... a function that builds the network."
                )
    return kept(fresh.state_dict())
