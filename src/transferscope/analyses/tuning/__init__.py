"""Tuning: how much of the network has to be fine-tuned, and is the head alone enough?

From the pretrained weights start a linear probe (only the head is trained), full fine-tuning, fine-tuning of the top K
blocks only, and LP-FT: a linear probe, then full fine-tuning from where it ended (Kumar et al. 2022). Each gets a
learning rate of its own, searched on the validation split by runs that are not reported. (Beside the paper: Neyshabur,
Sedghi and Zhang 2020 fine-tune everything and then ask which modules mattered.) Where they are asked for there are two
more: *LoRA* of a rank (Hu et al. 2022) trains the head and, beside every frozen linear layer and convolution without
groups, two thin matrices whose product is added to the weight (alpha is twice the rank); *layer decay* fine-tunes
everything at rates that fall from the head down.

How to read it. A way is *enough* here if it costs less than full fine-tuning and is shown to end less than `margin`
points below it: the upper end of what it loses, for new trainings and new test images, lies below the margin (one-
sided, 5%). Ways are asked from the costliest down, as far as that holds. A way that is not seen to be worse is not
enough for that reason: where neither is shown the page says undecided, and more seeds would tell. Ranks of LoRA are
asked by themselves, as those that train fewer parameters. The *work* counts the floating-point operations of all
training steps, forward and backward; a frozen lower part costs no backward pass, but a forward one, of every image in
every epoch where augmentation shows another crop of it, else once. LoRA spares the gradients of the frozen weights
alone. LP-FT pays for its probe too. Work is the same on every machine. The seconds in the table belong to the machine
that trained. A best rate at the edge of those tried may mean that a wider search would do better. Batch-norm statistics
below a probe, below the top blocks and under LoRA stay the pretrained ones. Dropout acts in the top blocks that are
trained, and nowhere in a probe. What LoRA learnt is merged into the weights that are kept.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import polars as pl
from pydantic import BeforeValidator, Field

from transferscope import analyses
from transferscope.analyses._shared import gains, outcomes, phrases
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.tuning import against_full, doses, figures
from transferscope.analyses.tuning.against_full import BOTH, DECAYED, FULL, LORA, PROBE
from transferscope.analyses.tuning.card import card
from transferscope.analyses.tuning.cost import training_cost
from transferscope.atomic_files import write_json
from transferscope.engine.artifact import Artifact
from transferscope.engine.integrity import TIMING
from transferscope.engine.step import Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.errors import UserError
from transferscope.models.anatomy import block_names, body_names
from transferscope.section import Section, View
from transferscope.strict_models import Real, as_tuple
from transferscope.study import SEARCH_SEED, Study
from transferscope.study.schema import Seeds
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
    lora: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(as_tuple)] = ()
    """Ranks of LoRA to train, as `[4, 16]`; where a weight has a smaller one, that."""
    layer_decay: Annotated[tuple[Annotated[Real, Field(gt=0, le=1)], ...], BeforeValidator(as_tuple)] = ()
    """What full fine-tuning multiplies its rate by for every layer below the head, as `[0.75]`, in place of the
    recipe's."""
    rates: Multiples = (0.3, 1.0, 3.0)
    """Learning rates to try, as multiples of the recipe's for the pretrained arm."""
    head_rates: Multiples = (1.0, 10.0)
    """Learning rates to try for the linear probe, as multiples of the same."""
    lora_rates: Multiples = (1.0, 3.0, 10.0)
    """Learning rates to try for LoRA, as multiples of the same."""
    views: Annotated[int, Field(ge=1)] | None = None
    """Crops of an image that the linear probe sees, by turns, so that the network below its head is run only once for
    each (as it is anyway without augmentation); null for one an epoch."""
    margin: Annotated[Real, Field(gt=0)] = 1.0
    """Points below full fine-tuning that would not matter: a way is enough if it is shown to lose less."""
    seeds: Seeds | None = None
    """The seeds to train, a count or a list; null for the study's."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of every training; null for the study's."""


@task(
    "tuning", version=2, neutral={"looks": None}, cost=costs.fixed(costs.SMALL), needs="findings"
)  # 2: operations of attention counted by formula, not by kernel
def measure(
    *,
    run: Artifact,
    data: Artifact,
    lr: float | Artifact,
    before: Artifact | None,
    looks: int | None = None,
    work: Work,
) -> list[dict[str, Any]]:
    """One row: what a run came to, its learning rate and the rate's place among those tried, parameters trained, and
    the floating-point operations of all training steps, those of the run it began from (`before`) with them.
    `looks`: for how many looks at an image what is frozen is computed, where that is not for every epoch.

    The seconds of the training steps go to ``timing.json``, not into the row: they are no function of the study.
    """
    from transferscope.tasks.choose import chosen

    cost = training_cost(run, data, looks=looks)
    probe = training_cost(before, data, looks=looks) if before is not None else None
    write_json(work.folder / TIMING, {"train_seconds": cost.seconds + (probe.seconds if probe else 0.0)})
    rate = chosen(lr)
    return [
        {
            **outcomes.final_scores(run),
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
    base = study.recipe.rates("pretrained")
    body, head, lora = (doses.rates(base, of) for of in (options.rates, options.head_rates, options.lora_rates))
    blocks = len(block_names(study.network, study.memo))
    probe: dict[str, Any] = {"trainable": "head", **doses.views(study, options.views)}
    # Of every way the rates to try, and what is changed of the training.
    ways: dict[str, tuple[tuple[float, ...], dict[str, Any]]] = {
        PROBE: (head, probe),
        **{f"top {k} of {blocks} blocks": (body, {"trainable": f"top:{k}"}) for k in tops(study, options)},
        **{f"{LORA}{rank}": (lora, {"trainable": f"lora:{rank}"}) for rank in doses.ranks(study, options.lora)},
        FULL: (body, {"trainable": "all"}),
        **{f"{DECAYED}{decay:g}": (body, {"layer_decay": decay}) for decay in doses.decays(study, options.layer_decay)},
    }
    shared: dict[str, Any] = {} if options.epochs is None else {"epochs": options.epochs}
    for target in study.targets:
        data, probed = study.data(target), dict[int, Step]()
        for way, (rates, changes) in ways.items():
            for seed in options.seeds or study.seeds:
                run = study.run(target, "pretrained", seed, rates=rates, **changes, **shared)
                if way == PROBE:
                    probed[seed] = run
                step = measure.step(run=run, data=data, lr=run.params["lr"], before=None, looks=doses.looks(study, run))
                yield {"target": target, "way": way, "seed": seed}, step
        trial = study.run(target, "pretrained", SEARCH_SEED, rates=head, **probe, **shared)
        lr = study.run(target, "pretrained", SEARCH_SEED, rates=body, begin=trial, **shared).params["lr"]
        for seed, begun in probed.items():
            run = study.run(target, "pretrained", seed, lr=lr, begin=begun, **shared)
            step = measure.step(run=run, data=data, lr=lr, before=begun, looks=doses.looks(study, begun))
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


def section(table: ResultTable, options: Options) -> Section:
    """Every way's score and work, the cheapest that is enough, and whether probing first helps."""
    said = Parts()
    if table.rows.is_empty():
        return Section(TITLE, notes=["No run has finished yet."])
    seconds = _seconds(table)
    every = gains.with_parts(table.rows, table, ["target", "way", "seed"], "test_metric")
    for target, of_target in by_target(every):
        said.notes += outcomes.undefined(of_target, "test_metric", target)
        runs = of_target.drop_nulls("test_metric")
        if runs.is_empty():
            continue
        means = against_full.means(runs)
        said.findings += against_full.findings(target, runs, means, options.margin)
        said.cards += card(target, runs, means, options.margin)
        said.charts += figures.charts_of(target, runs, means)
        caption = (
            "Work: operations of training, full fine-tuning = 1. Seconds: of the training steps of one run on the "
            "machine that made it, without evaluation and without the search for a rate."
        )
        said.tables.append(
            View(
                f"{target}-ways",
                f"Every way of fine-tuning on {target}",
                figures.summary_table(target, runs, means, seconds),
                caption,
            )
        )
        said.notes += _edges(target, runs)
    basis = (
        f"{gains.basis(every, 'test_metric')} Where several learning rates were tried, a search with a seed of its own "
        "chose one on the validation images."
    )
    if options.views is not None:
        crops = "crop" if options.views == 1 else "crops"
        basis += f" A linear probe sees {options.views} {crops} of every training image, by turns."
    return said.section(TITLE, basis)


def _seconds(table: ResultTable) -> dict[tuple[str, str], list[float]]:
    """Training seconds by target and way, where the store still has them."""
    found: dict[tuple[str, str], list[float]] = {}
    for labels, artifact in table.artifacts:
        if (spent := restore.timing(artifact)) is not None:
            found.setdefault((str(labels["target"]), str(labels["way"])), []).append(spent["train_seconds"])
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
