"""How each checkpoint of a pretraining is joined to the last one: the line between the two, and their CKA."""

from collections.abc import Iterator

import polars as pl

from transferscope import charts
from transferscope.analyses._shared import barriers, judging, line_step, phrases
from transferscope.analyses.checkpoint.sweep import KEY, axis
from transferscope.analyses.similarity.options import Options
from transferscope.analyses.similarity.step import features, measure
from transferscope.engine.step import Step
from transferscope.section import Chart, Finding
from transferscope.study import Study
from transferscope.study.origin import Checkpoint


def saves(c: Checkpoint, last: Checkpoint, images: int, alphas: int) -> Iterator[tuple[str, Step]]:
    """Line and CKA between two saves of one pretraining, on the source's test images."""
    run = c.weights
    assert isinstance(run, Step)
    data, a_at, b_at = run.params["data"], str(c.at), str(last.at)
    yield "line", _line(run, a_at, run, b_at, data, images, alphas)
    yield "cka", measure.step(a=_features(run, a_at, data, images), b=_features(run, b_at, data, images))


def tuned(
    study: Study, target: str, seed: int, c: Checkpoint, last: Checkpoint, images: int, alphas: int
) -> Iterator[tuple[str, Step]]:
    """Line between the networks fine-tuned from two given checkpoints, and CKA between those, on the target."""
    a, b = (study.run(target, "pretrained", seed, checkpoint=d) for d in (c, last))
    data = study.data(target)
    yield "line", _line(a, "end", b, "end", data, images, alphas)
    yield "cka", measure.step(a=_features(a, "start", data, images), b=_features(b, "start", data, images))


def _line(a: Step, a_at: str, b: Step, b_at: str, data: Step, images: int, alphas: int) -> Step:
    return line_step.line.step(
        a=a,
        a_at=a_at,
        b=b,
        b_at=b_at,
        data=data,
        splits=["test"],
        images={"test": images},
        statistics=250,
        batch_norm="refresh",
        alphas=alphas,
        tolerance=0.01,
        align=False,
        **judging.judging(data),
    )


def _features(run: Step, at: str, data: Step, images: int) -> Step:
    how = Options(images=images, neighbours=0).model_dump(exclude={"checkpoint"})
    return features.step(run=run, at=at, data=data, **how)


def gathered(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per place and checkpoint: Frankle's barrier to the last one, and the mean CKA of like blocks."""
    where = pl.coalesce("target", pl.lit("the source"))
    key = ["where", *KEY[1:]]
    rows = rows.with_columns(where=where)
    parts = []
    if "barrier" in rows.columns and not (lines := rows.filter(pl.col("what") == "line")).is_empty():
        known = [name for name in ("barrier", "measure", "deviation") if name in lines.columns]
        parts.append(lines.group_by(key, maintain_order=True).agg(pl.col(known).first()))
    if "cka" in rows.columns:
        like = rows.filter((pl.col("what") == "cka") & (pl.col("layer_a") == pl.col("layer_b")))
        parts.append(like.group_by(key, maintain_order=True).agg(pl.col("cka").mean()))
    empty = {column: rows.schema[column] for column in key}
    both = pl.DataFrame(schema={**empty, "barrier": pl.Float64, "measure": pl.String, "cka": pl.Float64})
    parts = [p for p in parts if p.height]
    if len(parts) == 2:
        both = parts[0].join(parts[1], on=key, how="full", coalesce=True, nulls_equal=True)
        return both.sort("where", "track", "place")
    return pl.concat([both, *parts], how="diagonal_relaxed")


def onset(where: str, joined: pl.DataFrame) -> list[Finding]:
    """From which checkpoint on there is no barrier to the last one.

    Not for random labels: where every test metric is chance, no line can have a barrier.
    """
    found = []
    joined = joined.filter(pl.col("track") != "random")
    judged = next(iter(joined["measure"].drop_nulls()), "accuracy")
    lines = joined.drop_nulls("measure")
    least = barriers.limit(lines) if lines.height else barriers.LIMIT
    limit = f"has a barrier above {phrases.limit(phrases.times(judged) * least, judged)} {phrases.hundredths(judged)}"
    one = " (one line a checkpoint: no interval over seeds)"
    for (track,), of in joined.drop_nulls("barrier").sort("place").group_by("track", maintain_order=True):
        place = f"On {where}" if track == "given" else f"On {where} ({track} labels)"
        place += ", between the fine-tuned networks" if track == "given" else ""
        names, heights = of.select(axis()).to_series().to_list(), of["barrier"].to_list()
        start = next((i for i in range(len(heights)) if max(heights[i:]) <= least), None)
        if start is None:
            text = (
                f"{place}, the line from every other checkpoint to the last one {limit}: it is still on its way{one}."
            )
            found.append(Finding(text, heights[-1], unit=f"barrier from {names[-1]}"))
        else:
            text = f"{place}, no line to the last checkpoint from {names[start]} on {limit}: the final basin{one}."
            found.append(Finding(text, heights[start], unit=f"barrier from {names[start]}"))
    return found


def drawn(where: str, joined: pl.DataFrame) -> list[Chart]:
    """Barrier and CKA by checkpoint, a line a track."""
    found = []
    for value, what in (("barrier", "Barrier to the last checkpoint"), ("cka", "CKA with the last checkpoint")):
        rows = joined.with_columns(at=axis()).drop_nulls(value).sort("place")
        if rows.is_empty():
            continue
        spec = charts.lines(
            rows,
            "at",
            value,
            "track",
            x_title="pretrained for",
            y_title=value,
            reference=barriers.limit(rows) if value == "barrier" else None,
        )
        void = value == "barrier" and "random" in rows["track"]
        caption = "With random labels every test metric is chance, so that no barrier can show." if void else ""
        found.append(Chart(f"{where}-{value}".replace(" ", "-"), f"{what} on {where}", spec, caption))
    return found
