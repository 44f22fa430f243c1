"""Checkpoint: which checkpoint of a pretraining is worth having, and when more of it stopped paying.

The network is fine-tuned from every checkpoint of `pretrained` (a series of files, or what a pretraining inside the
study saved), with the same seeds for all and, where `recipe.lr` is a list, with a rate searched on val for each.
(Neyshabur, Sedghi and Zhang 2020, section 3.6 and figure 7.)

How to read it. The target metric usually stops rising long before the source metric does: a checkpoint from before
that point would have done. "Within the interval of the best" means that the difference of the two, paired by seed, is
not surely above 0: with few seeds that says little, so the difference stands beside it. Optimisation speed (the mean
training metric over the epochs of fine-tuning) can saturate at another time. The line from a checkpoint to the last one
shows when pretraining entered the basin where it ended: for a pretraining done here, on the source's own test images;
for given files, between the two fine-tuned networks. CKA compares the two checkpoints' features there, block by block.
Random labels are the control: what they give is not due to classes.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field

from transferscope import analyses, charts
from transferscope.analyses import _lines, _pairs, similarity
from transferscope.analyses.transfer import summarise
from transferscope.engine.step import Step
from transferscope.engine.table import Table
from transferscope.errors import UserError
from transferscope.measures.intervals import Interval, mean_interval, paired_interval, spearman, too_few
from transferscope.origin import Checkpoint
from transferscope.section import Chart, Finding, Section, View
from transferscope.study import Study

TITLE = "Which pretraining checkpoint is worth having"
EARLY = 0.5  # a checkpoint from before this share of the pretraining counts as early
MOST = 0.8  # share of the gain of the whole pretraining that an early checkpoint has to give, to be nearly as good
RISE = 0.02  # a training metric that rose by less over the whole pretraining has not risen
KEY = ["target", "track", "checkpoint", "pretrained_epochs", "place"]


class Options(analyses.Options):
    """The study's first `seeds` (null: all); `lines`: also the barrier and the CKA from every checkpoint to the last,
    on up to `images` test images with `alphas` points on the line."""

    seeds: Annotated[int, Field(ge=1)] | None = None
    lines: bool = True
    images: Annotated[int, Field(ge=8)] = 500
    alphas: Annotated[int, Field(ge=3)] = 11


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """The pretrainings, a fine-tuning per target, checkpoint and seed, and what joins each checkpoint to the last."""
    found = study.checkpoints()
    if not found:
        raise UserError("analyses.checkpoint: there are no checkpoints to compare; add 'pretrained: {series: ...}'.")
    seeds = study.seeds[: options.seeds]
    here = study.pretrained is not None and study.pretrained.source is not None
    tracks = {c.track: [d for d in found if d.track == c.track] for c in found}

    def labels(what: str, target: str | None, c: Checkpoint, place: int, seed: int | None) -> dict[str, Any]:
        return {"what": what, "target": target, "track": c.track, "checkpoint": c.name, "pretrained_epochs": c.epoch,
                "place": place, "seed": seed}  # fmt: skip

    for of in tracks.values():
        last = of[-1]
        if isinstance(last.weights, Step):
            yield labels("source", None, last, len(of) - 1, None), last.weights
        for target in study.targets:
            for place, c in enumerate(of):
                for seed in seeds:
                    run = study.run(target, "pretrained", seed, checkpoint=c)
                    yield labels("run", target, c, place, seed), run
        if not options.lines:
            continue
        for place, c in enumerate(of[:-1]):
            if here:
                for what, step in _joined_here(c, last, options):
                    yield labels(what, None, c, place, None), step
                continue
            for target in study.targets:
                for what, step in _joined_tuned(study, target, seeds[0], c, last, options):
                    yield labels(what, target, c, place, None), step


def _joined_here(c: Checkpoint, last: Checkpoint, options: Options) -> Iterator[tuple[str, Step]]:
    """Line and CKA between two saves of one pretraining, on the source's test images."""
    run = c.weights
    assert isinstance(run, Step)
    data = run.params["data"]
    yield "line", _line(run, str(c.at), run, str(last.at), data, options)
    yield (
        "cka",
        similarity.measure.step(
            a=_features(run, str(c.at), data, options), b=_features(run, str(last.at), data, options)
        ),
    )


def _joined_tuned(
    study: Study, target: str, seed: int, c: Checkpoint, last: Checkpoint, options: Options
) -> Iterator[tuple[str, Step]]:
    """Line between the networks fine-tuned from two given checkpoints, and CKA between those, on the target."""
    a, b = (study.run(target, "pretrained", seed, checkpoint=d) for d in (c, last))
    data = study.data(target)
    yield "line", _line(a, "end", b, "end", data, options)
    yield "cka", similarity.measure.step(a=_features(a, "start", data, options), b=_features(b, "start", data, options))


def _line(a: Step, a_at: str, b: Step, b_at: str, data: Step, options: Options) -> Step:
    return _lines.line.step(
        a=a, a_at=a_at, b=b, b_at=b_at, data=data, splits=["test"], images={"test": options.images}, statistics=250,
        batch_norm="refresh", alphas=options.alphas, tolerance=0.01, align=False,
    )  # fmt: skip


def _features(run: Step, at: str, data: Step, options: Options) -> Step:
    how = similarity.Options(images=options.images, neighbours=0).model_dump(exclude={"checkpoint"})
    return similarity.features.step(run=run, at=at, data=data, **how)


def section(table: Table, options: Options) -> Section:
    """Source and target metric and speed by checkpoint, the earliest that does, and the way into the last basin."""
    if table.rows.is_empty() or "run" not in table.rows["what"]:
        return Section(TITLE, notes=["No run has finished yet."])
    runs = _runs(table.rows.filter(pl.col("what") == "run"))
    source = _source(table.rows)
    joined = _joined(table.rows)
    findings: list[Finding] = []
    drawn: list[Chart] = []
    notes: list[str] = []
    for (target, track), of in runs.group_by("target", "track", maintain_order=True):
        if of["place"].n_unique() < 2:
            notes.append(f"On {target} there is one checkpoint only: give a series to compare several.")
            continue
        findings += _worth(str(target), str(track), of)
        findings += _follows(str(target), str(track), of, source)
    for (target,), of in runs.group_by("target", maintain_order=True):
        drawn += _curves(str(target), of)
    drawn += _source_chart(source)
    for (where,), of in joined.group_by("where", maintain_order=True):
        findings += _onset(str(where), of, runs)
        drawn += _joined_charts(str(where), of)
    notes += [*_learnt(source), *_tuned(runs)]
    if few := too_few(runs["seed"].n_unique()):
        notes.append(few)
    return Section(TITLE, findings, drawn, [View("checkpoints", "Every checkpoint, means over seeds", _summary(runs))],
                   notes=notes)  # fmt: skip


def _runs(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per target, track, checkpoint and seed with `final` and `speed`; checkpoints in order."""
    arms = pl.concat_str(["track", pl.lit("\t"), "checkpoint"])
    found = summarise(rows.with_columns(arm=arms))
    keys = rows.select(*KEY).unique().with_columns(arm=arms)
    return (
        found.join(keys, on=["target", "arm"]).with_columns(at=_name()).sort("target", "track", "place", "seed")
    )  # fmt: skip


def _name() -> pl.Expr:
    """How a checkpoint is called on an axis: the epoch where it is known."""
    return pl.coalesce(pl.format("epoch {}", "pretrained_epochs"), "checkpoint")


def _source(rows: pl.DataFrame) -> pl.DataFrame:
    """The pretraining's own test metric by track and epoch; empty for given checkpoints."""
    found = rows.filter(pl.col("what") == "source")
    return found.select("track", "epoch", pl.col("test_metric"), pl.col("train_metric"))


def _learnt(source: pl.DataFrame) -> list[str]:
    """A note for every pretraining whose training metric did not rise: its checkpoints are all untrained networks."""
    found = []
    for (track,), of in source.drop_nulls("train_metric").sort("epoch").group_by("track", maintain_order=True):
        first, last = float(of["train_metric"][0]), float(of["train_metric"][-1])
        if of.height > 1 and last - first < RISE:
            found.append(
                f"The pretraining with {track} labels has learnt next to nothing (training metric {first:.1%} to "
                f"{last:.1%}): change pretrained.recipe before reading more into its checkpoints."
            )
    return found


def _tuned(runs: pl.DataFrame) -> list[str]:
    """A note for every target on which fine-tuning left some runs with a higher training loss than they began with."""
    found = []
    for (target,), of in runs.drop_nulls(["loss_start", "loss_end"]).group_by("target", maintain_order=True):
        if lost := of.filter(pl.col("loss_end") > pl.col("loss_start")).height:
            found.append(
                f"On {target}, {lost} of {of.height} runs ended with a higher training loss than they started with: "
                "they have not learnt; lower recipe.lr or train longer."
            )
    return found


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per place and checkpoint: Frankle's barrier to the last one, and the mean CKA of like blocks."""
    where = pl.coalesce("target", pl.lit("the source"))
    key = ["where", *KEY[1:]]
    rows = rows.with_columns(where=where)
    parts = []
    if "barrier" in rows.columns and not (lines := rows.filter(pl.col("what") == "line")).is_empty():
        parts.append(lines.group_by(key, maintain_order=True).agg(pl.col("barrier").first()))
    if "cka" in rows.columns:
        like = rows.filter((pl.col("what") == "cka") & (pl.col("layer_a") == pl.col("layer_b")))
        parts.append(like.group_by(key, maintain_order=True).agg(pl.col("cka").mean()))
    empty = {name: rows.schema[name] for name in key}
    both = pl.DataFrame(schema={**empty, "barrier": pl.Float64, "cka": pl.Float64})
    parts = [p for p in parts if p.height]
    if len(parts) == 2:
        both = parts[0].join(parts[1], on=key, how="full", coalesce=True, nulls_equal=True)
        return both.sort("where", "track", "place")
    return pl.concat([both, *parts], how="diagonal_relaxed")


def _gap(runs: pl.DataFrame, better: int, other: int, value: str) -> Interval | None:
    """100 x (`value` from checkpoint `better` minus that from `other`), paired by seed."""
    a, b = (runs.filter(pl.col("place") == place).select("seed", value).drop_nulls() for place in (better, other))
    both = a.join(b, on="seed", suffix="_other").sort("seed")
    if both.is_empty():
        return None
    return paired_interval(100 * both[value].to_numpy(), 100 * both[f"{value}_other"].to_numpy())


def _means(runs: pl.DataFrame, value: str) -> pl.DataFrame:
    return runs.group_by("place", "at", "pretrained_epochs").agg(pl.col(value).mean()).sort("place")


def earliest(runs: pl.DataFrame, value: str) -> tuple[int, int, Interval] | None:
    """(its place, the best one's place, the best's lead over it) of the earliest checkpoint whose `value` is not
    surely below the best; None without values."""
    means = _means(runs, value).drop_nulls(value)
    if means.is_empty():
        return None
    best = int(means.sort(value, descending=True, maintain_order=True)["place"][0])
    for place in means["place"]:
        lead = _gap(runs, best, int(place), value)
        if place == best or (lead is not None and not (lead.excludes(0) and lead.mean > 0) and lead.low is not None):
            return int(place), best, lead or Interval(0.0, None, None, 1)
    return None


def _worth(target: str, track: str, runs: pl.DataFrame) -> list[Finding]:
    """The earliest checkpoint that does, in metric and in speed, and the claim that an early one is nearly as good."""
    found = []
    under = "" if track in ("given", "true") else f" (pretrained with {track} labels)"
    unit = _pairs.unit(runs["metric"][0])
    steps = {int(p): (str(n), e) for p, n, e in _means(runs, "final").select("place", "at", "pretrained_epochs").rows()}
    words = {"final": "final test metric", "speed": "optimisation speed"}
    for value, what in words.items():
        if (got := earliest(runs, value)) is None:
            continue
        place, best, lead = got
        (name, epoch), (top, _), whole = steps[place], steps[best], steps[max(steps)][1]
        if place == best == min(steps):
            text = f"On {target}{under}, no later checkpoint is better on average than {top} in {what}."
        elif place == best:
            text = f"On {target}{under}, no checkpoint before {top} reaches its {what}."
        else:
            text = f"On {target}{under}, {name} cannot be told from the best checkpoint ({top}) in {what}"
            if too_few(lead.n):
                text += f" with {lead.n} seeds, which may be too few to see it."
            else:
                saved = f", saving {1 - epoch / whole:.0%} of the pretraining" if epoch is not None and whole else ""
                text += f"{saved}."
        found.append(_pairs.told(text, lead, f"{unit} behind the best"))
    if track == "random":
        if (gain := _gap(runs, max(steps), min(steps), "final")) is not None:
            a, b = (
                float(_means(runs, "final").filter(pl.col("place") == p)["final"][0]) for p in (min(steps), max(steps))
            )
            text = (
                f"On {target}, the final test metric is {b:.1%} after pretraining with random labels to "
                f"{steps[max(steps)][0]} and {a:.1%} after {steps[min(steps)][0]}."
            )
            found.append(_pairs.told(text, gain, unit))
        return found
    return [*found, *_claim(target, runs, steps, unit)]


def _claim(target: str, runs: pl.DataFrame, steps: dict[int, tuple[str, Any]], unit: str) -> list[Finding]:
    """Claim 10: the last checkpoint from the first half gives at least `MOST` of the gain of all the pretraining."""
    first, last = min(steps), max(steps)
    whole = steps[last][1]
    inside = [(p, epoch) for p, (_, epoch) in steps.items() if p not in (first, last)]
    early = [p for p, epoch in inside if (epoch <= EARLY * whole if whole else p <= EARLY * last)]
    gain = _gap(runs, last, first, "final")
    if not early or gain is None:
        return []
    seeds = [set(runs.filter(pl.col("place") == p).drop_nulls("final")["seed"]) for p in (first, early[-1], last)]
    common = sorted(set.intersection(*seeds))
    if not common:
        return []
    at = [runs.filter((pl.col("place") == p) & pl.col("seed").is_in(common)).sort("seed")["final"].to_numpy()
          for p in (first, early[-1], last)]  # fmt: skip
    excess = mean_interval(100 * ((at[1] - at[0]) - MOST * (at[2] - at[0])))
    kept = 100 * np.mean(at[1] - at[0])
    text = (
        f"On {target}, the whole pretraining gives {gain.mean:+.1f} {unit} over {steps[first][0]}, and "
        f"{steps[early[-1]][0]} already {kept:+.1f}; early checkpoints would do if that is at least {MOST:.0%} of it."
    )
    if not (gain.mean > 0 and gain.excludes(0)):
        text += " The gain itself is not clearly above 0, so there is little to divide."
        return [Finding(text, excess.mean, excess.low, excess.high, excess.n, unit, 10, "open")]
    return [_pairs.judged(text, excess, f"{unit} above that", 10, [excess])]


def _follows(target: str, track: str, runs: pl.DataFrame, source: pl.DataFrame) -> list[Finding]:
    """Whether a better source metric means a better target metric, over checkpoints.

    Not for random labels: there the source's test metric is chance throughout.
    """
    if track == "random":
        return []
    own = source.filter(pl.col("track") == track).rename({"test_metric": "source", "epoch": "pretrained_epochs"})
    if own.is_empty():
        return []
    pair = _means(runs, "final").join(own, on="pretrained_epochs").drop_nulls(["final", "source"])
    found = spearman(pair["source"].to_numpy(), pair["final"].to_numpy()) if pair.height > 1 else None
    if found is None:
        return []
    text = f"On {target}, checkpoints with a better source metric ({track} labels) rank like this on the target."
    return [Finding(text, found.mean, found.low, found.high, found.n, "rank correlation", counted="checkpoints")]


def _onset(where: str, joined: pl.DataFrame, runs: pl.DataFrame) -> list[Finding]:
    """From which checkpoint on there is no barrier to the last one.

    Not for random labels: where every test metric is chance, no line can have a barrier.
    """
    found = []
    joined = joined.filter(pl.col("track") != "random")
    for (track,), of in joined.drop_nulls("barrier").sort("place").group_by("track", maintain_order=True):
        place = f"On {where}" if track == "given" else f"On {where} ({track} labels)"
        place += ", between the fine-tuned networks" if track == "given" else ""
        names, heights = of.select(_name()).to_series().to_list(), of["barrier"].to_list()
        start = next((i for i in range(len(heights)) if max(heights[i:]) <= _lines.LIMIT), None)
        if start is None:
            text = f"{place}, a barrier lies between every other checkpoint and the last one: it is still on its way."
            found.append(Finding(text, heights[-1], unit=f"barrier from {names[-1]}"))
        else:
            text = f"{place}, there is no barrier to the last checkpoint from {names[start]} on: the final basin."
            found.append(Finding(text, heights[start], unit=f"barrier from {names[start]}"))
    return found


def _curves(target: str, runs: pl.DataFrame) -> list[Chart]:
    """Target metric and speed by checkpoint, a line a track."""
    found = []
    for value, what in (("final", "Final test metric"), ("speed", "Optimisation speed")):
        rows = runs.drop_nulls(value).sort("place")
        if rows.is_empty():
            continue
        means = rows.group_by("track", "at", "place", maintain_order=True).agg(pl.col(value).mean()).sort("place")
        spec = charts.lines(means, "at", value, "track", runs=rows.select("at", "track", "seed", value),
                            x_title="pretrained for", y_title=what.lower(), percent=True)  # fmt: skip
        caption = "Thick lines: means over seeds; faint lines: single seeds."
        found.append(Chart(f"{target}-{value}", f"{what} on {target} by checkpoint", spec, caption))
    return found


def _source_chart(source: pl.DataFrame) -> list[Chart]:
    rows = source.drop_nulls("test_metric")
    if rows.is_empty():
        return []
    spec = charts.lines(rows, "epoch", "test_metric", "track", x_title="epoch of pretraining",
                        y_title="test metric on the source", percent=True)  # fmt: skip
    return [Chart("source", "The pretraining itself", spec, "With random labels no test metric can be above chance.")]


def _joined_charts(where: str, joined: pl.DataFrame) -> list[Chart]:
    found = []
    for value, what in (("barrier", "Barrier to the last checkpoint"), ("cka", "CKA with the last checkpoint")):
        rows = joined.with_columns(at=_name()).drop_nulls(value).sort("place")
        if rows.is_empty():
            continue
        spec = charts.lines(rows, "at", value, "track", x_title="pretrained for", y_title=value,
                            reference=_lines.LIMIT if value == "barrier" else None)  # fmt: skip
        void = value == "barrier" and "random" in rows["track"]
        caption = "With random labels every test metric is chance, so that no barrier can show." if void else ""
        found.append(Chart(f"{where}-{value}".replace(" ", "-"), f"{what} on {where}", spec, caption))
    return found


def _summary(runs: pl.DataFrame) -> pl.DataFrame:
    rows = [
        {
            "target": target,
            "track": track,
            "pretrained for": at,
            "final": _pairs.cell(of["final"]),
            "speed": _pairs.cell(of["speed"]),
        }
        for (target, track, at), of in runs.group_by(["target", "track", "at"], maintain_order=True)
    ]
    return pl.DataFrame(rows)
