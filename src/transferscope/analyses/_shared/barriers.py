"""What the analyses of lines between networks share: curves, their barriers over pairs, charts of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from transferscope import answers, charts
from transferscope.analyses._shared import contrasts, phrases
from transferscope.measures.equivalence import Outcome, against_margin, equivalence_level
from transferscope.measures.intervals import Interval
from transferscope.section import Chart

LIMIT = 0.02  # a barrier up to this share of images counts as none (Frankle et al. 2020, section 2)
ALIGNED, SAME_INIT = " (aligned)", " (same init)"
CONNECT = {
    "within": "connect",
    "beyond": "do not connect",
    "undecided": "are not shown to connect, nor to be apart",
}
LIES = {"within": "no barrier lies", "beyond": "a barrier lies", "undecided": "it is open whether a barrier lies"}
PAIR = ("pair", "seed", "seed_b")
CURVE = (*PAIR, "split", "batch_norm")
NORMS = {
    "refresh": "re-estimated at every point from training images",
    "average": "averaged like the weights",
    "first": "those of the first network",
    "last": "those of the second network",
    "none": "not kept by this network",
}


def together(kind: str) -> bool:
    """Whether the pairs of a kind share runs (see `contrasts.of_pairs`)."""
    return contrasts.twins(kind.removesuffix(ALIGNED))


def over_pairs(values: pl.DataFrame, kind: str, value: str) -> Interval | None:
    """Mean of `value` over the pairs of a kind with its interval over seeds; None without any."""
    found = values.filter(pl.col("pair") == kind).drop_nulls(value)
    return contrasts.of_pairs(found, value, together=together(kind)) if found.height else None


def limit(rows: pl.DataFrame) -> float:
    """`LIMIT` in the score of the lines `rows`: that share of what it ranges over (`phrases.threshold`)."""
    return phrases.threshold(LIMIT, rows)


def outcome(height: Interval, rows: pl.DataFrame) -> Outcome:
    """Whether a barrier of lines like `rows` is shown to lie below their `limit` ("within") or above it ("beyond").

    That there is none is a claim about absence: two one-sided tests (`measures.equivalence`), not a mean below a line.
    """
    return against_margin(height.at(equivalence_level()), limit(rows))


def curves(table: pl.DataFrame, by: Sequence[str] = CURVE) -> pl.DataFrame:
    """One row a curve: the mean of its ends, its lowest and its middle metric, its length of test, and its barriers."""
    found, kept = [], (*BARRIERS, *(name for name in ("deviation",) if name in table.columns))
    for key, rows in table.group_by(by, maintain_order=True):
        of = rows.drop_nulls(["metric", "alpha"]).sort("alpha")
        ends = of.filter(pl.col("alpha").is_in([0.0, 1.0]))["metric"]
        own = _at_ends(rows, "own_metric")
        inside = of.filter(pl.col("alpha").is_between(0, 1))
        known = len(ends) == 2
        at = [float(v) for v in of["alpha"]], [float(v) for v in of["metric"]]
        found.append(
            {
                **dict(zip(by, key, strict=True)),
                "first": ends[0] if known else None,
                "second": ends[1] if known else None,
                "first_own": own.get(0.0),
                "second_own": own.get(1.0),
                "ends": contrasts.average(ends) if known else None,
                "lowest": inside["metric"].min() if known else None,
                "middle": float(np.interp(0.5, *at)) if known else None,
                **{name: rows[name][0] for name in kept},
            }
        )
    kinds: Mapping[str, Any] = {name: table.schema[name] for name in (*by, *kept)}
    numbers = dict.fromkeys(("first", "second", "first_own", "second_own", "ends", "lowest", "middle"), pl.Float64)
    order = (*by, *numbers, *kept)
    return pl.DataFrame(found, schema={name: {**kinds, **numbers}[name] for name in order})


BARRIERS = (
    "measure",
    "images",
    "points",
    "head",
    "barrier",
    "barrier_low",
    "barrier_high",
    "barrier_at",
    "chord_barrier",
    "chord_low",
    "chord_high",
    "loss_barrier",
)


def chart(
    name: str,
    title: str,
    rows: pl.DataFrame,
    caption: str,
    colour: str = "pair",
    facet: str | None = None,
    x_title: str = "from the first network (0) to the second (1)",
) -> Iterator[Chart]:
    """The metric along the lines: means over pairs, on one grid, with single pairs behind them."""
    rows = rows.drop_nulls("metric")
    if rows.is_empty():
        return
    keys = [colour, *([facet] if facet else [])]
    grid = np.unique(np.round(np.concatenate([np.linspace(0, 1, 21), rows["alpha"].to_numpy()]), 3))
    found: list[pl.DataFrame] = []
    for key, of in rows.group_by([*dict.fromkeys((*keys, "seed", "seed_b"))], maintain_order=True):
        of = of.sort("alpha")
        alphas = of["alpha"].to_numpy()
        at = grid[(grid >= alphas[0] - 1e-9) & (grid <= alphas[-1] + 1e-9)]
        labels = dict(zip([*keys, "seed", "seed_b"], key, strict=True))
        one = pl.DataFrame({"alpha": at, "metric": np.interp(at, alphas, of["metric"].to_numpy())})
        found.append(one.with_columns(**{k: pl.lit(v) for k, v in labels.items()}))
    lines = pl.concat(found, how="vertical_relaxed")
    runs = lines.with_columns(seed=pl.format("{}-{}", "seed", pl.col("seed_b").fill_null(-1)))
    means = lines.group_by(*keys, "alpha", maintain_order=True).agg(pl.col("metric").mean())
    metric, split = str(rows["measure"][0]), rows["split"][0] if "split" in rows.columns else "test"
    word = phrases.axis(metric) if answers.metric(metric).error else metric
    means, runs = (phrases.upright(one, "metric", metric) for one in (means, runs))
    spec = charts.lines(
        means,
        "alpha",
        "metric",
        colour,
        runs=runs,
        facet=facet,
        x_title=x_title,
        y_title=f"{split} {word}" if facet is None else word,
        percent=phrases.percent(metric),
    )
    yield Chart(name, title, spec, caption)


def points(rows: pl.DataFrame) -> str:
    """The unit of differences of the metric, `times` so many."""
    return phrases.unit(rows["measure"][0])


def times(rows: pl.DataFrame) -> float:
    """What differences of the metric are multiplied with to be told in `points`."""
    return phrases.times(rows["measure"][0])


def difference(value: float, rows: pl.DataFrame) -> str:
    """A difference of scores in a sentence, without its unit."""
    return phrases.difference(times(rows) * value, rows["measure"][0])


def most(rows: pl.DataFrame) -> str:
    """The `limit` in a sentence, without its unit."""
    return phrases.limit(times(rows) * limit(rows), rows["measure"][0])


def falls(rows: pl.DataFrame) -> tuple[str, str]:
    """What a score does that gets worse, and on which side of a better one it then is: of an error it rises."""
    metric = str(rows["measure"][0])
    return ("rises" if answers.metric(metric).error else "falls"), phrases.below(metric)


def column(name: str, rows: pl.DataFrame, *, level: bool = False) -> pl.Expr:
    """A column of differences, or of scores (`level`), as a table tells it."""
    how = answers.metric(str(rows["measure"][0]))
    expr = how.times * pl.col(name) * (how.told(1.0) if level else 1.0)
    digits = pl.Series([v for v in rows[name].to_list() if v is not None], dtype=pl.Float64)
    return expr.round(phrases.places(str(rows["measure"][0]), *digits.to_list()))


def score(value: float, rows: pl.DataFrame) -> str:
    """A value of the metric of lines in a sentence."""
    return phrases.score(value, rows["measure"][0])


def hundredths(rows: pl.DataFrame) -> str:
    """What a hundredth of that metric is called where it is clear of what."""
    return phrases.hundredths(rows["measure"][0])


def _at_ends(rows: pl.DataFrame, column: str) -> dict[float, Any]:
    """What a column says at alpha 0 and 1; nothing where there is none."""
    if column not in rows.columns:
        return {}
    ends = rows.filter(pl.col("alpha").is_in([0.0, 1.0]) & pl.col(column).is_not_null())
    return dict(zip(ends["alpha"].to_list(), ends[column].to_list(), strict=True))


def basis(table: pl.DataFrame) -> list[str]:
    """What to say of the basis of lines: whose statistics all points have, and where the networks' own score otherwise.

    The share of ends of all lines whose mistakes differ by more than chance (`probes.walks.basis.differ`).
    """
    if "differs" not in table.columns:
        return []
    found = []
    for (words,), rows in table.drop_nulls("statistics").group_by("statistics", maintain_order=True):
        ends = rows.drop_nulls(["differs", "metric", "own_metric"])
        if ends.is_empty() or "no batch norm" in str(words):
            continue
        text = f"All points of a line, its ends too, have batch-norm statistics of one kind: {words}."
        if count := int(ends["differs"].cast(pl.Int64).sum()):
            text += (
                f" At {count} of {ends.height} ends the network's own statistics score differently by more than chance "
                f"(paired by image, beyond 2.6 standard errors): on average "
                f"{score(contrasts.average(ends['own_metric']), ends)} with its own, "
                f"{score(contrasts.average(ends['metric']), ends)} on the line."
            )
        else:
            text += " With the networks' own statistics the ends score alike, within chance."
        found.append(text)
    return found


def read(images: str, statistics: str, checkpoint: str = "final") -> str:
    """On what the points of a line were scored, as a section's basis: `images` of what, `statistics` of which kind."""
    return (
        f"Every point of a line, its ends included, is scored on the same {images}, in eval mode; batch-norm "
        f"statistics, where there are any, are {statistics}. {phrases.weights(checkpoint)} The worst point of a line "
        "is chosen on four fifths of these images and its barrier read on the other fifth, each fifth in turn: noise "
        "does not pass for height, and a reading may lie below 0 where there is none. Intervals of findings are over "
        "seeds, those of single lines over images."
    )


def worst(lines: int) -> str:
    """Said after a fall: where it was seen, over how many lines it is a mean, and on which images."""
    over = f"the worst place of each line, averaged over {lines} lines" if lines > 1 else "the worst place of the line"
    return f" ({over}; chosen on some images, read on others)"
