"""Tuning: how much of the network has to be fine-tuned, and is the head alone enough?

From the pretrained weights start a linear probe (only the head is trained), full fine-tuning, fine-tuning of the top K
blocks only, and LP-FT: a linear probe, then full fine-tuning from where it ended (Kumar et al. 2022). Each gets a
learning rate of its own, searched on the validation split by runs that are not reported. (Beside the paper: Neyshabur,
Sedghi and Zhang 2020 fine-tune everything and then ask which modules mattered.)

How to read it. A way is *enough* here if it costs less than full fine-tuning, ends at most `margin` points below it on
average, and is not distinguishably below it over the seeds. The *work* counts the floating-point operations of all
training steps, forward and backward; a frozen lower part costs no backward pass, but still a forward one. LP-FT pays
for its probe too. Work is the same on every machine. The seconds in the table belong to the machine that trained. A
best rate at the edge of those tried may mean that a wider search would do better.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses, charts
from transferscope.analyses._shared import outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.tuning import against_full
from transferscope.analyses.tuning.against_full import BOTH, FULL, PROBE
from transferscope.analyses.tuning.cost import training_cost
from transferscope.engine.step import Step, task
from transferscope.engine.store import Artifact, write_json
from transferscope.engine.table import Table
from transferscope.engine.work import Work
from transferscope.errors import UserError
from transferscope.measures.intervals import mean_interval, too_few
from transferscope.models.anatomy import block_names, body_names
from transferscope.section import Chart, Section, View
from transferscope.study import SEARCH_SEED, Study
from transferscope.study.schema import Real, Seeds, as_tuple
from transferscope.tasks import costs, restore

TITLE = "How much to fine-tune"
SHARES = (0.25, 0.5, 0.75)  # of the blocks, from the top: what is trained by default
Multiples = Annotated[
    tuple[Annotated[Real, Field(gt=0)], ...], BeforeValidator(as_tuple), Field(min_length=1)
]  # of a learning rate


class Options(analyses.Options):
    """What is fine-tuned, which learning rates are tried, and what counts as enough."""

    top: Annotated[tuple[int, ...], BeforeValidator(as_tuple)] | None = None
    """Numbers of upper blocks to train, the head among them; null for about three of them."""
    rates: Multiples = (0.3, 1.0, 3.0)
    """Learning rates to try, as multiples of the recipe's for the pretrained arm."""
    head_rates: Multiples = (1.0, 10.0)
    """Learning rates to try for the linear probe, as multiples of the same."""
    margin: Annotated[Real, Field(ge=0)] = 1.0
    """Points below full fine-tuning that still count as enough."""
    seeds: Seeds | None = None
    """The seeds to train, a count or a list; null for the study's."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of every training; null for the study's."""


@task(
    "tuning", version=2, cost=costs.fixed(costs.SMALL)
)  # 2: operations of attention counted by formula, not by kernel
def measure(
    *, run: Artifact, data: Artifact, lr: float | Artifact, before: Artifact | None, work: Work
) -> list[dict[str, Any]]:
    """One row: what a run came to, its learning rate and the rate's place among those tried, parameters trained, and
    the floating-point operations of all training steps, those of the run it began from (`before`) with them.

    The seconds of the training steps go to ``timing.json``, not into the row: they are no function of the study.
    """
    from transferscope.tasks.choose import chosen

    cost = training_cost(run, data)
    probe = training_cost(before, data) if before is not None else None
    write_json(work.folder / restore.TIMING, {"train_seconds": cost.seconds + (probe.seconds if probe else 0.0)})
    rate = chosen(lr)
    return [
        {
            **outcomes.summary(run),
            "lr": rate,
            "lr_place": _place(rate, [row["lr"] for row in lr.rows] if isinstance(lr, Artifact) else [rate]),
            "parameters": cost.parameters,
            "trained": cost.trained,
            "training_flops": cost.flops + (probe.flops if probe else 0.0),
        }
    ]


def _place(rate: float, tried: list[float]) -> str:
    if len(tried) == 1:
        return "only"
    return {min(tried): "lowest", max(tried): "highest"}.get(rate, "inside")


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One searched run, and what it came to, per target, way of tuning and seed."""
    outcomes.need_weights(study, "tuning")
    names = block_names(study.network, study.memo)
    ways = {PROBE: "head", **{f"top {k} of {len(names)} blocks": f"top:{k}" for k in tops(study, options)}, FULL: "all"}
    base = study.recipe.rates("pretrained")
    body, head = (_rates(base, multiples) for multiples in (options.rates, options.head_rates))
    shared: dict[str, Any] = {} if options.epochs is None else {"epochs": options.epochs}
    for target in study.targets:
        data, probes = study.data(target), dict[int, Step]()
        for way, trainable in ways.items():
            for seed in options.seeds or study.seeds:
                rates = head if way == PROBE else body
                run = study.run(target, "pretrained", seed, rates=rates, trainable=trainable, **shared)
                if way == PROBE:
                    probes[seed] = run
                step = measure.step(run=run, data=data, lr=run.params["lr"], before=None)
                yield {"target": target, "way": way, "seed": seed}, step
        trial = study.run(target, "pretrained", SEARCH_SEED, rates=head, trainable="head", **shared)
        lr = study.run(target, "pretrained", SEARCH_SEED, rates=body, begin=trial, **shared).params["lr"]
        for seed, probe in probes.items():
            run = study.run(target, "pretrained", seed, lr=lr, begin=probe, **shared)
            step = measure.step(run=run, data=data, lr=lr, before=probe)
            yield {"target": target, "way": BOTH, "seed": seed}, step


def tops(study: Study, options: Options) -> list[int]:
    """The numbers of upper blocks to train, increasing, between the head alone and the whole network. UserError."""
    names = block_names(study.network, study.memo)
    least = 1 if names[-1] in body_names(study.network, study.memo) else 2
    most = len(names) - 1
    if options.top is None:
        return sorted({min(max(round(share * len(names)), least), most) for share in SHARES}) if most >= least else []
    if wrong := [k for k in options.top if not least <= k <= most]:
        raise UserError(
            f"analyses.tuning.top: {wrong[0]} is not between the head alone and all {len(names)} blocks; give numbers "
            f"from {least} to {most}."
        )
    return sorted(set(options.top))


def _rates(base: tuple[float, ...], multiples: tuple[float, ...]) -> tuple[float, ...]:
    """Every multiple of every rate, to four digits, increasing."""
    return tuple(sorted({float(f"{rate * factor:.4g}") for rate in base for factor in multiples}))


def section(table: Table, options: Options) -> Section:
    """Every way's score and work, the cheapest that is enough, and whether probing first helps."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    seconds = _seconds(table)
    for target, of_target in by_target(table.rows):
        said.notes += outcomes.undefined(of_target, "test_metric", target)
        runs = of_target.drop_nulls("test_metric")
        if runs.is_empty():
            continue
        means = against_full.means(runs)
        said.findings += against_full.told(target, runs, means, options.margin)
        said.charts += _charts(target, runs, means)
        caption = (
            "Work: operations of training, full fine-tuning = 1. Seconds: of the training steps of one run on the "
            "machine that made it, without evaluation and without the search for a rate."
        )
        said.tables.append(
            View(
                f"{target}-ways",
                f"Every way of fine-tuning on {target}",
                _summary(target, runs, means, seconds),
                caption,
            )
        )
        said.notes += _edges(target, runs)
    if few := too_few(table.rows["seed"].n_unique()):
        said.notes.append(few)
    basis = (
        f"{outcomes.FINAL} Where several learning rates were tried, a search with a seed of its own chose one on the "
        "validation images."
    )
    return said.section(TITLE, basis)


def _seconds(table: Table) -> dict[tuple[str, str], list[float]]:
    """Training seconds by target and way, where the store still has them."""
    found: dict[tuple[str, str], list[float]] = {}
    for labels, artifact in table.artifacts:
        if (told := restore.timing(artifact)) is not None:
            found.setdefault((str(labels["target"]), str(labels["way"])), []).append(told["train_seconds"])
    return found


def _edges(target: str, runs: pl.DataFrame) -> list[str]:
    """Ways whose best rate was the lowest or highest of those tried."""
    found = []
    for place in ("lowest", "highest"):
        at = runs.filter(pl.col("lr_place") == place)["way"].unique(maintain_order=True).to_list()
        if at:
            ways = phrases.listed([f"“{way}”" for way in at])
            found.append(
                f"On {target} the best learning rate of {ways} was the {place} tried: a wider search may find a "
                f"better one."
            )
    return found


def _charts(target: str, runs: pl.DataFrame, means: pl.DataFrame) -> list[Chart]:
    word = phrases.word(runs["metric"][0])
    spec = charts.dots(
        means,
        "way",
        "test_metric",
        low="low",
        high="high",
        runs=runs.select("way", "seed", "test_metric"),
        percent=True,
        category_title="what is trained",
        value_title=f"final test {word}",
    )
    caption = "Large: mean and 95% interval over seeds. Small: single seeds. Every way has a searched learning rate."
    found = [Chart(f"{target}-ways", f"Ways of fine-tuning on {target}", spec, caption)]
    costed = means.drop_nulls("work")
    if costed.height > 1:
        spec = charts.lines(
            costed.select("way", "work", "test_metric"),
            "work",
            "test_metric",
            "way",
            percent=True,
            x_title="work of training (full fine-tuning = 1)",
            y_title=f"final test {word}",
        )
        caption = "Means over seeds. Up is better, left is cheaper. Work counts operations, not seconds."
        found.append(Chart(f"{target}-work", f"Score against work on {target}", spec, caption))
    return found


def _summary(
    target: str, runs: pl.DataFrame, means: pl.DataFrame, seconds: dict[tuple[str, str], list[float]]
) -> pl.DataFrame:
    """One line a way, in the order of the plan."""
    found = []
    for row in means.iter_rows(named=True):
        mine, gap = runs.filter(against_full.of(row["way"])), against_full.difference(runs, row["way"])
        spent = seconds.get((target, row["way"]), [])
        found.append(
            {
                "what is trained": row["way"],
                "final": mean_interval(mine["test_metric"].to_numpy()).text(),
                "points against full": "-" if gap is None or row["way"] == FULL else gap.text(1),
                "learning rate": mine["lr"][0],
                "parameters trained": _share(row["trained"], row["parameters"]),
                "work": row["work"],
                "seconds": sum(spent) / len(spent) if spent else None,
            }
        )
    kinds = {"work": pl.Float64, "seconds": pl.Float64}
    return pl.DataFrame(found, schema_overrides=kinds)


def _share(part: int | None, whole: int | None) -> str:
    return "-" if part is None or not whole else f"{part / whole:z.1%}"
