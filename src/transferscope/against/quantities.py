"""What may be published of an experiment, and how the same is read from the tables of a study: its mean over seeds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from transferscope.analyses._shared import barriers, contrasts, outcomes
from transferscope.analyses.basin import findings as basins
from transferscope.analyses.checkpoint import sweep
from transferscope.analyses.distance import BODY
from transferscope.analyses.shuffle import results as shuffled
from transferscope.measures.intervals import Interval

SHARES = ("%", "share")


class Cell(Protocol):
    """What a number is of; see `form.Value`."""

    @property
    def arm(self) -> str | None: ...

    @property
    def pair(self) -> str | None: ...

    @property
    def block(self) -> str | None: ...

    @property
    def layer(self) -> str | None: ...

    @property
    def epoch(self) -> int | None: ...


@dataclass(frozen=True)
class Measured:
    """A value of a study: its mean with its interval (scores as shares of 1), and the metric where it is a score."""

    value: Interval
    metric: str | None = None


Read = Callable[[pl.DataFrame, Any, Cell], Measured | None]


@dataclass(frozen=True)
class Quantity:
    """Something that may be published: what it `says`, the kind of `analysis` that measures it, what a number must say
    it is of (`keys`), and may say (`may`), whether it is a `score` (a share of 1), and how it is `read` from the rows
    of one target, given the analysis's options."""

    says: str
    analysis: str
    keys: tuple[str, ...]
    read: Read
    score: bool = True
    may: tuple[str, ...] = ()


def _of_runs(value: str) -> Read:
    """`value` of runs (see `outcomes.summarise`) of one arm."""

    def read(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
        return _over_seeds(outcomes.summarise(rows).filter(pl.col("arm") == cell.arm), value)

    return read


def _shuffled(value: str) -> Read:
    def read(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
        found = None if getattr(options, "per_image", False) else shuffled.gathered("", rows)
        if found is None:
            return None
        of = found.runs.filter(pl.col("block") == cell.block)
        if value != "drop":
            return _over_seeds(of.filter(pl.col("arm") == cell.arm), value)
        drop = found.drop(cell.block or "")
        return None if drop is None else Measured(drop)

    return read


def _best_epoch(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
    of = rows.filter((pl.col("arm") == cell.arm) & (pl.col("epoch") > 0))
    on = "test" if "best_on" in of.columns and (of["best_on"] == "test").any() else "val"
    best = of.drop_nulls(f"{on}_metric").sort(f"{on}_metric", "epoch", descending=[True, False])
    each = best.group_by("seed", maintain_order=True).first()
    return None if each.is_empty() else Measured(contrasts.interval(each["epoch"].to_numpy()))


def _cka(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
    if not {"layer_b", "cka"} <= set(rows.columns):
        return None
    like = rows.filter(pl.col("layer_a") == pl.col("layer_b"))
    place = _place(like["layer_a"], cell.layer)
    return None if place is None else _over_pairs(like.filter(pl.col("layer_a") == place), cell.pair, "cka")


def _distance(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
    place = BODY if cell.layer is None else _place(rows["block"], cell.layer)
    return None if place is None else _over_pairs(rows.filter(pl.col("block") == place), cell.pair, "l2")


def _line(value: str) -> Read:
    def read(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
        every = barriers.curves(rows)
        main = every.filter((pl.col("split") == options.splits[0]) & (pl.col("batch_norm") == options.batch_norm[0]))
        found = barriers.over_pairs(main, cell.pair or "", value)
        return None if found is None else Measured(found, str(rows["measure"][0]))

    return read


def _basin(value: str) -> Read:
    def read(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
        of = basins.last(rows.filter((pl.col("pair") == cell.pair) & (pl.col("loss") == "error")))
        return _over_pairs(of, cell.pair, value)

    return read


def _rewound(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
    of = rows.filter((pl.col("arm") == cell.arm) & (pl.col("data") == options.splits[-1]))
    if cell.layer is None:
        return _over_seeds(of.filter(pl.col("how") == "none"), "score")
    there = of.filter((pl.col("how") == "rewind") & (pl.col("checkpoint") == "start"))
    return _over_seeds(there.filter(pl.col("block") == cell.layer), "score")


def _from_checkpoint(value: str) -> Read:
    def read(rows: pl.DataFrame, options: Any, cell: Cell) -> Measured | None:
        runs = rows.filter((pl.col("what") == "run") & (pl.col("track") != "random"))
        if runs.is_empty():
            return None
        return _over_seeds(sweep.finished(runs).filter(pl.col("pretrained_epochs") == cell.epoch), value)

    return read


QUANTITIES: Mapping[str, Quantity] = {
    "final": Quantity("test score after the last epoch", "transfer", ("arm",), _of_runs("final")),
    "best": Quantity("test score of the best epoch", "transfer", ("arm",), _of_runs("best")),
    "best_epoch": Quantity("the best epoch", "transfer", ("arm",), _best_epoch, score=False),
    "shuffled": Quantity("test score on shuffled blocks", "shuffle", ("arm", "block"), _shuffled("final")),
    "shuffled_speed": Quantity(
        "mean training score on shuffled blocks", "shuffle", ("arm", "block"), _shuffled("speed")
    ),
    "relative_drop": Quantity(
        "relative drop on shuffled blocks, in %", "shuffle", ("block",), _shuffled("drop"), score=False
    ),
    "cka": Quantity("CKA of like blocks", "similarity", ("pair", "layer"), _cka, score=False),
    "distance": Quantity("L2 distance of weights", "distance", ("pair",), _distance, score=False, may=("layer",)),
    "ends": Quantity("mean score of a line's ends", "barrier", ("pair",), _line("ends")),
    "middle": Quantity("score in the middle of a line", "barrier", ("pair",), _line("middle")),
    "lowest": Quantity("lowest score of a line", "barrier", ("pair",), _line("lowest")),
    "epsilon": Quantity("epsilon of a basin, of the error", "basin", ("pair",), _basin("epsilon"), score=False),
    "delta": Quantity("delta of a basin", "basin", ("pair",), _basin("found_delta"), score=False),
    "rewound": Quantity("test score with a block rewound", "rewind", ("arm",), _rewound, may=("layer",)),
    "from_checkpoint": Quantity("test score from a checkpoint", "checkpoint", ("epoch",), _from_checkpoint("final")),
    "checkpoint_speed": Quantity(
        "mean training score from a checkpoint", "checkpoint", ("epoch",), _from_checkpoint("speed")
    ),
}


def _over_seeds(rows: pl.DataFrame, value: str) -> Measured | None:
    of = rows.drop_nulls(value)
    if of.is_empty():
        return None
    metric = str(of["metric"][0])
    name = "final" if value in ("best", "score") else value  # columns of scores have the range of their metric
    return Measured(contrasts.told(contrasts.interval(of[value].to_numpy(), name=name, metric=metric), metric), metric)


def _over_pairs(rows: pl.DataFrame, kind: str | None, value: str) -> Measured | None:
    of = rows.filter(pl.col("pair") == kind).drop_nulls(value)
    if of.is_empty():
        return None
    return Measured(contrasts.of_pairs(of, value, together=contrasts.twins(str(kind))))


def _place(names: pl.Series, layer: str | None) -> str | None:
    """The block called `layer`, else the last one of the stage of that name."""
    known = [str(name) for name in names.unique(maintain_order=True)]
    within = [name for name in known if name.startswith(f"{layer}.")]
    return layer if layer in known else within[-1] if within else None
