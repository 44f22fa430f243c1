"""Crossdomain: can networks fine-tuned on two targets with the same classes be connected, and averaged?

Targets whose classes have the same names ask the same question about different images (photographs and drawings, two
hospitals). The straight line between the network fine-tuned on one and that fine-tuned on the other is tested on the
images of both, also beyond its ends. (Neyshabur, Sedghi and Zhang 2020, appendix.)

How to read it. At either end stands the network of one target; the curves show both targets' test scores. Where the
sum of both curves is highest in between, one averaged network serves both targets better than either network does; a
dip of both curves is a barrier. The line has one basis: batch-norm statistics are re-estimated at every point, the
ends and those beyond them too, from training images of both targets in equal parts; what the networks score with their
own statistics stands in the table. Targets are compared when their
classes have the same names in the same order; with no two such targets there is nothing to test.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from transferscope import analyses
from transferscope.analyses._shared import barriers, contrasts, judging, line_step, phrases
from transferscope.analyses._shared.parts import Parts
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.measures.crossfit import elsewhere
from transferscope.section import Finding, Section, View
from transferscope.study import Study
from transferscope.study.pairs import kind_of, trained
from transferscope.tasks import costs

NOT_FOR = {"regression": "it scores one network on the numbers of two targets, which have scales of their own"}
TITLE = "Between targets with the same classes"


class Options(analyses.Options):
    """How fine the lines are, and on which images they are tested."""

    points: Annotated[int, Field(ge=3)] = 5
    """Even points from one network to the other, both counted; the middle is always tested too."""
    beyond: Annotated[float, Field(ge=0, le=2)] = 0.25
    """How far beyond either end one more point lies, as a share of the line; 0 for none."""
    images: Annotated[int, Field(ge=8)] = 500
    """Test images of each target to score on, at most."""
    statistics: Annotated[int, Field(ge=16)] = 250
    """Training images from which batch-norm statistics are re-estimated, half of each target."""


@task("classes", version=1)
def classes(*, data: Artifact, work: Work) -> list[dict[str, Any]]:
    """One row: how many classes a target has, and what they are called."""
    from transferscope.tasks.inputs import open_table

    names = open_table(data.whole()).classes
    return [{"classes": len(names), "names": ", ".join(names)}]


@task(
    "crossdomain", version=3, neutral=judging.NEUTRAL, cost=costs.mixtures
)  # 3: barriers are chosen on some images and read on others
def measure(
    *,
    a: Artifact,
    b: Artifact,
    data_a: Artifact,
    data_b: Artifact,
    alphas: list[float],
    images: int,
    statistics: int,
    judged: str = "",
    work: Work,
) -> list[dict[str, Any]]:
    """Rows of the line from `a` to `b` on the test images of both targets: see `line_step.rows`; `on` is "a" or "b".

    One row that says so where the classes of the two targets differ.
    """
    import torch

    from transferscope.probes.walks.path import path
    from transferscope.tasks import restore
    from transferscope.tasks.inputs import open_table

    torch.set_num_threads(work.threads)
    if open_table(data_a.whole()).classes != open_table(data_b.whole()).classes:
        return [{"same_classes": False}]
    metric = restore.judging(data_a, judged)
    sides = {"a": (a, data_a), "b": (b, data_b)}
    halves = [line_step.training_images(run, data, statistics // 2, work.device) for run, data in sides.values()]
    found = path(
        restore.weights(a),
        restore.weights(b),
        {
            name: list(restore.batches(run, data, "test", images=images, device=work.device, judged=metric))
            for name, (run, data) in sides.items()
        },
        alphas=alphas,
        statistics=halves[0] + halves[1],
        images=statistics,
        precision=restore.said(a)["precision"],
        like=restore.bare(a, data_a).to(work.device),
    )
    found.save(work.folder / "path.safetensors")
    rows = line_step.rows(found, head=line_step.head(a, b))
    return [{"same_classes": True, "on": row.pop("split"), **row} for row in rows]


def unswayed(study: Study) -> Iterator[str]:
    """That targets with metrics of their own are not judged by them, which is no common scale."""
    said = {name: target.metric for name, target in study.targets.items()}
    if len(set(said.values())) > 1 and set(said.values()) - {None, *judging.ALWAYS}:
        yield (
            f"targets with metrics of their own ({', '.join(said)}) are scored by the usual one of their labels, since "
            "one line has one score"
        )


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One cheap step per target, and one per two targets and seed, in which nothing runs unless their classes agree."""
    alphas = _alphas(options)
    arm = "pretrained" if "pretrained" in study.arms else study.arms[0]
    for target in study.targets:
        labels = {"target": target, "target_b": None, "pair": None, "seed": None}
        yield labels, classes.step(data=study.data(target))
    for first, second in combinations(study.targets, 2):
        for seed in study.seeds:
            step = measure.step(
                a=study.run(first, arm, seed),
                b=study.run(second, arm, seed),
                data_a=study.data(first),
                data_b=study.data(second),
                alphas=alphas,
                images=options.images,
                statistics=options.statistics,
                **judging.judging(study.data(first), study.data(second)),
            )
            name = trained(arm)
            yield {"target": first, "target_b": second, "pair": kind_of(name), "seed": seed}, step


def _alphas(options: Options) -> list[float]:
    inside = sorted({0.5, *(i / (options.points - 1) for i in range(options.points))})
    return [-options.beyond, *inside, 1 + options.beyond] if options.beyond else inside


def section(table: ResultTable, options: Options) -> Section:
    """Both targets' scores along each line, and whether an average of the two networks serves both."""
    rows = table.rows
    if rows.is_empty():
        return Section(TITLE, notes=["Nothing has finished yet."])
    census = rows.filter(pl.col("target_b").is_null())
    said = Parts()
    if "names" in rows.columns and not census.is_empty():
        caption = "Targets can be compared when their classes have the same names in the same order."
        shown = census.select("target", "classes", "names")
        said.tables.append(View("classes", "The targets' classes", shown, caption))
    lines = rows.filter(pl.col("target_b").is_not_null() & pl.col("same_classes")) if "on" in rows.columns else None
    if lines is None or lines.is_empty():
        said.notes.append(_nothing(rows, census))
        return said.section(TITLE, "")
    caption = f"Statistics of batch norm from {options.statistics} training images, half of each target. Thick: means."
    for (a, b), of in lines.group_by("target", "target_b", maintain_order=True):
        named = of.with_columns(pl.when(pl.col("on") == "a").then(pl.lit(a)).otherwise(pl.lit(b)).alias("tested on"))
        every = barriers.curves(named, ("tested on", "pair", "seed"))
        said.findings += _merged(str(a), str(b), every)
        said.charts += barriers.chart(
            f"{a}-{b}-lines",
            f"From {a} to {b}",
            named.with_columns(seed_b=pl.lit(None, pl.Int64)),
            caption,
            colour="tested on",
            x_title=f"from the network of {a} (0) to that of {b} (1)",
        )
        columns = ("first", "middle", "second", "barrier", "first_own", "second_own")
        sign = "%" if phrases.percent(every["measure"][0]) else barriers.hundredths(every)
        numbers = [
            barriers.column(c, every, level=c != "barrier").alias(f"{c.replace('_own', ', own statistics')} ({sign})")
            for c in columns
        ]
        shown = every.select("tested on", "seed", *numbers)
        said.tables.append(View(f"{a}-{b}", f"Lines from {a} to {b}", shown))
    seeds = lines.with_columns(seed_b=pl.col("seed"))
    said.notes += [*(n for n in contrasts.notes_on_pairs(seeds) if n != contrasts.TWINS), *barriers.basis(lines)]
    statistics = f"re-estimated at every point from at most {options.statistics} training images, half of each target"
    basis = barriers.read(f"test images (at most {options.images} of each target)", statistics) + judging.basis(lines)
    return said.section(TITLE, basis)


def _nothing(rows: pl.DataFrame, census: pl.DataFrame) -> str:
    """Why there is no line to show."""
    if census.height < 2 and rows["target_b"].null_count() == rows.height:
        return "This study has one target; with a second one of the same classes, the line between them is tested here."
    if "same_classes" in rows.columns and (rows["same_classes"] == False).any():  # noqa: E712
        return "No two targets have classes of the same names in the same order, so no line between targets was tested."
    return "No line between targets has finished yet."


def _merged(a: str, b: str, every: pl.DataFrame) -> list[Finding]:
    """The middle of the line against the better end, both targets averaged; then each target's barrier."""
    known = every.drop_nulls(["first", "second", "middle"])
    whole = known.group_by("seed", maintain_order=True).agg(
        pl.len().alias("both"), *(pl.col(name).mean() for name in ("first", "second", "middle"))
    )
    whole = whole.filter(pl.col("both") == 2)
    if whole.is_empty():
        return []
    best = elsewhere(whole.select("first", "second").to_numpy().T)
    gain = contrasts.interval(100 * (whole["middle"].to_numpy() - best))
    told = {name: barriers.score(contrasts.average(whole[name]), every) for name in ("first", "second", "middle")}
    text = (
        f"Averaged half and half, the networks of {a} and {b} score {told['middle']} over both targets, where "
        f"the network of {a} alone scores {told['first']} and that of {b} {told['second']}."
    )
    found = [contrasts.finding(text, gain, f"{barriers.points(every)} over the one that is better in the other seeds")]
    for (on,), of in known.group_by("tested on", maintain_order=True):
        known_heights = of["chord_barrier"].drop_nulls().to_numpy()
        share = contrasts.interval(known_heights, name="chord_barrier", metric=of["measure"][0])
        height = contrasts.moved(share, 100)
        fall = f"{height.mean:z.1f} {barriers.hundredths(of)}"
        verb = barriers.LIES[barriers.outcome(share, of)]
        text = (
            f"Tested on {on}, {verb} between the networks of {a} and {b}: the score falls {fall} "
            f"below the chord between its ends{barriers.worst(height.n)}."
        )
        found.append(contrasts.finding(text, height, barriers.points(every)))
    return found
