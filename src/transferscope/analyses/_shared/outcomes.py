"""What the analyses that train runs of their own share: what a run came to, means over seeds, seeds in pairs, words."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from transferscope import answers
from transferscope.analyses._shared import in_range, phrases
from transferscope.engine.artifact import Artifact
from transferscope.errors import UserError, did_you_mean
from transferscope.measures.intervals import Interval, mean_interval
from transferscope.measures.student import t_quantile
from transferscope.study import Study

Values = NDArray[np.float64]
FLAT = 0.01  # a curve whose mean over the last quarter of epochs rose by less than this has flattened
WATCHED = "Points are of the images watched after every epoch (recipe.evaluate); final scores are of all test images."
SPEED = "Optimisation speed is the mean training score over the epochs, of the images watched (recipe.evaluate)."
UNDEFINED = "an AUC is undefined where a split holds one class only"


def need_weights(study: Study, name: str) -> None:
    """UserError unless the study has pretrained weights, for the analysis called `name`."""
    if study.pretrained is None:
        raise UserError(f"analyses.{name}: it starts runs from pretrained weights; add 'pretrained: ...' or remove it.")


def known_arms(study: Study, analysis: str, arms: Sequence[str]) -> None:
    """Raise UserError for an arm that the study does not have."""
    for arm in arms:
        if arm not in study.arms:
            where = f"analyses.{analysis}.arms: '{arm}' is not among the study's arms"
            raise UserError(f"{where}; {did_you_mean(arm, study.arms)}")


def summarise(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per target, arm and seed: final, best, speed, rise over the last quarter of epochs.

    The best epoch is chosen on val, or on what `best_on` of the rows says. `final` and `best` are of all test images;
    the rest is of the images watched after every epoch. Where arms of a target are trained for different numbers of
    epochs, `speed` is over as many as the shortest has (see `lengths`).
    """
    keys = ["target", "arm", "seed"]
    if "whole_test_metric" not in rows.columns:  # every image was evaluated after every epoch
        rows = rows.with_columns(whole_test_metric=pl.lit(None))
    test = pl.coalesce(pl.col("whole_test_metric").cast(pl.Float64), pl.col("test_metric"))
    trained = pl.col("epoch") > pl.col("epoch").min()
    chooser = pl.col("val_metric")
    if "best_on" in rows.columns:
        chooser = pl.when(pl.col("best_on") == "test").then(pl.col("test_metric")).otherwise(chooser)
    best = trained & (chooser == chooser.filter(trained).max())
    rows = rows.with_columns(shortest=pl.col("epoch").max().over("target", "arm"))
    rows = rows.with_columns(shortest=pl.col("shortest").min().over("target"))
    shared = trained & (pl.col("epoch") <= pl.col("shortest"))
    last = pl.col("epoch") == pl.col("epoch").max()
    epochs = pl.col("epoch").max()
    late = pl.col("epoch") > epochs * 0.75
    told = {"deviation": pl.col("deviation").first()} if "deviation" in rows.columns else {}
    before = (pl.col("epoch") > epochs * 0.5) & ~late
    return (
        rows.sort("epoch")
        .group_by(keys, maintain_order=True)
        .agg(
            metric=pl.col("metric").first(),
            epochs=epochs,
            final=test.filter(last).first(),
            best=pl.coalesce(test.filter(best).first(), test.filter(last).first()),
            speed=pl.col("train_metric").filter(shared).mean(),
            rise=pl.col("val_metric").filter(late).mean() - pl.col("val_metric").filter(before).mean(),
            curve=pl.col("val_metric"),
            height=pl.col("val_metric").filter(last).first(),
            loss_start=pl.col("train_loss").first(),
            loss_end=pl.col("train_loss").last(),
            **told,
        )
    )


def trained(rows: pl.DataFrame) -> pl.DataFrame:
    """The epochs that were trained, the start among them: without those after a run's early stop."""
    return rows.filter(~pl.col("stopped").fill_null(False)) if "stopped" in rows.columns else rows


def lengths(rows: pl.DataFrame, target: str) -> list[str]:
    """A note where the arms of a target were trained for different numbers of epochs: what speed is averaged over."""
    known = rows.filter(pl.col("epoch").cast(pl.Float64).is_finite())
    of = {str(arm): int(max(part["epoch"])) for (arm,), part in known.group_by(["arm"], maintain_order=True)}
    if len(set(of.values())) < 2:
        return []
    said = phrases.listed([f"{arm} for {epochs}" for arm, epochs in of.items()])
    return [
        f"On {target}, arms were trained for different numbers of epochs (recipe.epochs): {said}. Optimisation speed "
        f"is averaged over the first {min(of.values())} of each; final scores are those at each arm's own end."
    ]


def chosen_on_test(rows: pl.DataFrame, target: str) -> list[str]:
    """A warning where best epochs were chosen on the test images."""
    if "best_on" not in rows.columns or not (rows["best_on"] == "test").any():
        return []
    return [
        f"On {target}, best epochs were chosen on the test images themselves (recipe.best_on: test), so that 'best' is "
        "the highest of many noisy scores and leans upward; claims rest on final scores."
    ]


def stops(rows: pl.DataFrame, target: str) -> list[str]:
    """A note on when the runs of a target's arms stopped; none where no run did before its last epoch."""
    if trained(rows).height == rows.height:
        return []
    said, most = [], max(rows["epoch"].to_list())
    for (arm,), of in trained(rows).group_by(["arm"], maintain_order=True):
        last = of.group_by("seed", maintain_order=True).agg(pl.col("epoch").max())["epoch"].to_list()
        said.append(f"{arm} after {phrases.listed([str(epoch) for epoch in last])}")
    return [
        f"On {target}, runs stopped early (recipe.early_stopping), seed by seed: {'; '.join(said)} of {most} epochs. "
        "The epochs after a stop count with the scores of the last one trained, so that all are averaged over the same "
        "epochs."
    ]


def has_learnt(suffix: str = "") -> pl.Expr:
    """Whether a run (of `summarise`, its columns ending in `suffix`) ends with no higher training loss than it began
    with; one without a loss counts as one that has."""
    return ~(pl.col(f"loss_end{suffix}") > pl.col(f"loss_start{suffix}")).fill_null(False)


def unlearnt(runs: pl.DataFrame, suffix: str = "") -> int:
    """How many runs (of `summarise`, their columns ending in `suffix`) have a higher training loss at their end than at
    their start; runs without a loss do not count."""
    return runs.filter(~has_learnt(suffix)).height


def final_scores(run: Artifact) -> dict[str, Any]:
    """What a finished run came to: the metric's name, epochs, test metric at the end and at the best epoch on val,
    optimisation speed, and the rise of the val metric over the last quarter of the epochs."""
    scores = ("train_metric", "val_metric", "test_metric", "train_loss")
    rows = pl.DataFrame(run.rows, infer_schema_length=None).with_columns(pl.col(scores).cast(pl.Float64))
    found = summarise(rows.with_columns(target=pl.lit(""), arm=pl.lit(""), seed=0)).row(0, named=True)
    return {
        "metric": found["metric"],
        "epochs": found["epochs"],
        "test_metric": found["final"],
        "best_metric": found["best"],
        "speed_metric": found["speed"],
        "rise_metric": found["rise"],
        **({"deviation": found["deviation"]} if "deviation" in found else {}),
    }


def over_seeds(rows: pl.DataFrame, by: Sequence[str], value: str) -> pl.DataFrame:
    """Mean of `value` by `by`, in the rows' order, with `low`, `high` (null without an interval) and count of seeds."""
    found, judged = [], rows["metric"][0] if "metric" in rows.columns and rows.height else "accuracy"
    for key, group in rows.drop_nulls(value).group_by(by, maintain_order=True):
        of = in_range.interval(group[value].to_numpy(), value, metric=judged)
        found.append({**dict(zip(by, key, strict=True)), value: of.mean, "low": of.low, "high": of.high, "seeds": of.n})
    ends = {value: pl.Float64, "low": pl.Float64, "high": pl.Float64, "seeds": pl.Int64}
    return pl.DataFrame(found, schema={**{name: rows.schema[name] for name in by}, **ends})


def paired(rows: pl.DataFrame, first: pl.Expr, second: pl.Expr, value: str) -> tuple[Values, Values]:
    """`value` of the rows that satisfy `first` and of those that satisfy `second`, for the seeds that have both."""
    a, b = (rows.filter(which).select("seed", value).drop_nulls() for which in (first, second))
    both = a.join(b, on="seed", suffix="_second").sort("seed")
    return both[value].to_numpy(), both[f"{value}_second"].to_numpy()


def share(parts: ArrayLike, wholes: ArrayLike) -> Interval:
    """The mean of `parts` in percent of the mean of `wholes`, both (seeds,), with its 95% interval (Fieller 1954).

    A ratio of means: one seed whose whole is near 0 does not decide it, as it would a mean of ratios. No interval
    where that of the wholes' mean holds 0, or with one seed.
    """
    x, y = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    mean, n = 100 * float(x.mean() / y.mean()), len(x)
    if not mean_interval(y).excludes(0):
        why = "one seed has no interval" if n == 1 else "the whole is not clearly above 0"
        return Interval(mean, None, None, n, why)
    # The ends solve (mean(x) - r mean(y))^2 = t^2 var(mean(x - r y)).
    (xx, xy), (_, yy) = t_quantile(0.975, n - 1) ** 2 * np.cov(x, y) / n
    a, b, c = y.mean() ** 2 - yy, x.mean() * y.mean() - xy, x.mean() ** 2 - xx
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Interval(mean, 100 * float((b - root) / a), 100 * float((b + root) / a), n)


def undefined(rows: pl.DataFrame, value: str, target: str) -> list[str]:
    """A note on runs whose metric has no value."""
    lost = rows[value].null_count()
    return [f"On {target} {lost} of {rows.height} runs have no score: {why(rows)}."] if lost else []


def why(rows: pl.DataFrame) -> str:
    """Why the metric of runs may be undefined, as a clause."""
    judged = next(iter(rows["metric"].drop_nulls()), "auc")
    if judged in ("auc", "accuracy"):  # an error is defined wherever there is an example
        return UNDEFINED
    what = "value" if "numbers" in answers.metric(judged).of else "class"
    return f"{phrases.word(judged)} is undefined where a split holds one {what} only"
