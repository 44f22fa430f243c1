"""Choose: which of several networks to fine-tune, judged from one pass over the images and no training.

Every candidate (an architecture with weights, or without) sees the training images once. From the features before its
head come a linear probe (ridge, scored on the validation split), nearest neighbours, LogME (You et al. 2021), H-score
(Bao et al. 2019) and its shrunk form (Ibrahim et al. 2022), and, where the weights bring the head of their source,
LEEP (Nguyen et al. 2020) and NCE (Tran et al. 2019). Where candidates are fine-tuned too, the scores are held against
the truth. (Neyshabur, Sedghi and Zhang 2020, section 3.6, fine-tune every checkpoint to know.)

How to read it. A score orders networks; its value means little by itself. LogME and H-score depend on the number of
dimensions, so trust them less across very different architectures. With more dimensions than images the plain H-score
is the same for all networks; the shrunk one is not. Linear probe and neighbours know only features as they are: a
network that adapts well can rank too low. The rank correlation with fine-tuning counts networks, not seeds: below four
networks it has no interval, and with few it is wide. What a wrong choice costs has an interval for new trainings and
new test images together. All candidates see images of the study's size, each normalised as its own weights expect, all
resized in the one way of the study's table.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from transferscope import analyses, models
from transferscope.analyses._shared import contrasts, gains, outcomes
from transferscope.analyses._shared.parts import Parts, by_target
from transferscope.analyses.choose import page
from transferscope.analyses.choose.candidates import Candidates, CandidateStudy, entries
from transferscope.atomic_files import write_json
from transferscope.engine.artifact import Artifact
from transferscope.engine.integrity import TIMING
from transferscope.engine.step import Outside, Step, task
from transferscope.engine.table import ResultTable
from transferscope.engine.task_context import Work
from transferscope.errors import UserError
from transferscope.measures.scores import SCORES
from transferscope.section import Section, View
from transferscope.study import Study
from transferscope.tasks import costs, inputs, restore
from transferscope.tasks.outside_files import unchanged

TITLE = "Which network to choose"
BATCH = 128


class Options(analyses.Options):
    """Which networks are scored, on how many images, and what the scores are held against."""

    candidates: Candidates | None = None
    """What to choose from: a mapping from names to networks with weights, or a list of texts `network | weights`; null
    for the study's arms and checkpoints."""
    against: Literal["shared", "all", "none"] = "shared"
    """The fine-tuning runs that the scores are held against: those that the analyses `transfer` and `checkpoint` of
    this study make anyway (`shared`), one of every candidate (`all`), or `none`."""
    images: Annotated[int, Field(ge=10)] = 10_000
    """Training images to score, at most."""
    neighbours: Annotated[int, Field(ge=1)] = 5
    """Nearest neighbours that vote on an image's class."""


@task(
    "choose",
    version=1,
    neutral={"allow": None, "prepared": None},
    cost=costs.scores,
    needs=lambda params: "all" if restore.is_between(str(params["weights_at"])) else "ends",
)
def measure(
    *,
    data: Artifact,
    network: str,
    arm: str,
    weights: Outside | Artifact | None,
    weights_at: str | None,
    min_share: float | None,
    seed: int,
    mean: list[float],
    std: list[float],
    images: int,
    neighbours: int,
    allow: list[str] | None = None,
    prepared: list[dict[str, Any]] | None = None,
    work: Work,
) -> list[dict[str, Any]]:
    """One row: a candidate's scores (`ts.transferability`), its parameters without the head, the share loaded.

    The seconds of the pass and of every score go to ``timing.json``: they are no function of the study.
    """
    import torch

    from transferscope.models.precision import prepare
    from transferscope.models.starting_network import sourced
    from transferscope.models.weights import belongs
    from transferscope.probes.features.transferability import transferability
    from transferscope.probes.inputs.given import Batch
    from transferscope.random_streams import stream

    torch.set_num_threads(work.threads)
    kind = inputs.of_table(data.whole())
    table, fed = kind.open_table(data.whole()), inputs.Fed(tuple(mean), tuple(std), prepare=prepared)
    if isinstance(weights, Artifact):
        state: str | None = f"file:{restore.file(weights, str(weights_at))}"
    else:
        state = weights.ref if weights else None
    least, may = min_share or 0.0, allow or ()
    start = sourced(network, arm, state, len(table.classes), seed=seed, min_share=least, allow=may)
    if isinstance(weights, Outside):
        unchanged(weights, models.weights_fingerprint(weights.ref, network, work.memo))
    net = prepare(start.net, work.device).eval()

    several = True if table.multilabel else None

    def batches(split: str, most: int | None) -> Iterator[Any]:
        rows = stream(0, "probe", split).permutation(table.rows[split])[:most]
        for part in np.array_split(rows, max(1, round(len(rows) / BATCH))):
            batches = kind.evaluation(table, part, table.labels, fed, batch_size=len(part), device=work.device)
            for x, y, ids in batches:
                yield Batch(x, y, ids, several, table.judged, table.error_scale)

    clock: dict[str, float] = {}
    try:
        found = transferability(
            net,
            batches("train", images),
            batches("val", None),
            head=start.head,
            source_head=start.source_classes is not None,
            neighbours=neighbours,
            clock=clock,
        )
    except (RuntimeError, AssertionError, TypeError, IndexError) as error:  # how networks refuse a size of images
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        seen = table.example("eval")
        raise UserError(f"network: {network} cannot be run on images of {seen} ({why}); leave it out.") from None
    write_json(work.folder / TIMING, clock)
    scores = {name: getattr(found, name) for name in SCORES}
    sizes = {name: getattr(found, name) for name in ("images", "held_out", "dimensions", "source_classes")}
    share = start.loaded.share if start.loaded else None
    return [
        {
            "metric": found.metric,
            **scores,
            **sizes,
            "parameters": sum(p.numel() for name, p in net.named_parameters() if not belongs(name, start.head)),
            "loaded": share,
        }
    ]


@task("fine_tuned", version=1, needs="findings")
def fine_tuned(*, run: Artifact, work: Work) -> list[dict[str, Any]]:
    """One row: what a fine-tuning run came to."""
    found = outcomes.final_scores(run)
    return [{"metric": found["metric"], "tuned_metric": found["test_metric"]}]


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """One step per target and candidate, and what its fine-tuning runs came to, seed by seed."""
    candidates = entries(study, options.candidates, options.against)
    for target, said in study.targets.items():
        if said.gaps:
            raise UserError(
                f"analyses.choose: its scores need every label, and targets.{target} ignores some; remove it."
            )
        data = study.data(target)
        for entry in candidates:
            labels = {"what": "scores", "target": target, "candidate": entry.name, "seed": None}
            yield labels, _step(entry, data, options)
            for seed in entry.seeds if entry.readable else ():
                run = entry.study.run(target, entry.arm, seed, checkpoint=entry.checkpoint)
                yield {**labels, "what": "run", "seed": seed}, fine_tuned.step(run=run)


def _step(entry: CandidateStudy, data: Step, options: Options) -> Step:
    how = entry.study.preprocessing() if entry.readable else models.PLAIN_PREPROCESSING
    source, pretrained = entry.checkpoint, entry.study.pretrained
    return measure.step(
        data=data,
        network=entry.study.network,
        arm=entry.arm,
        weights=source.weights if source else None,
        weights_at=source.at if source else None,
        min_share=pretrained.min_share if source and pretrained else None,
        allow=list(pretrained.allow) or None if source and pretrained else None,
        seed=entry.study.seeds[0],
        mean=list(how["mean"]),
        std=list(how["std"]),
        prepared=entry.study.recipe.model_dump(mode="json", include={"prepare"})["prepare"],
        images=options.images,
        neighbours=options.neighbours,
    )


def section(table: ResultTable, options: Options) -> Section:
    """Every candidate's scores, who comes first by which, and how well the scores foretell fine-tuning."""
    said = Parts()
    rows = table.rows
    if rows.is_empty() or "scores" not in rows["what"]:
        return Section(TITLE, notes=["No candidate has been scored yet."])
    rows = rows.with_columns(
        pl.col(name).cast(pl.Float64) for name in (*SCORES, "tuned_metric") if name in rows.columns
    )
    rows = page.with_parts(rows, table)
    seconds = page.seconds_of(table)
    for target, of in by_target(rows):
        scores = of.filter(pl.col("what") == "scores")
        if scores.is_empty():
            continue
        tuned = page.means(of)
        joined = scores.drop("tuned_metric", strict=False).join(
            tuned, on="candidate", how="left", maintain_order="left"
        )
        scored, held = (contrasts.most(scores[count]) for count in ("images", "held_out"))
        caption = (
            f"{scored:,} training images scored, the linear probe on {held:,} others. "
            "Higher is better in every column but the seconds, which belong to the machine that computed."
        )
        shown = page.summary_table(target, joined, seconds)
        said.tables.append(View(f"{target}-scores", f"Candidates for {target}", shown, caption))
        if scores.height < 2:
            said.notes.append(f"On {target} there is one candidate only: name several to choose between them.")
            continue
        said.findings += page.first(target, scores)
        said.charts += page.places(target, scores)
        found, chart = page.agreement(target, joined, of)
        said.findings += found
        said.charts += chart
    if "run" not in rows["what"]:
        said.notes.append("No candidate was fine-tuned here: whether the scores foretell it on these images is open.")
    numbers = "r2" in rows["metric"] or "spearman" in rows["metric"]
    if rows.filter(pl.col("what") == "scores")["leep"].null_count():
        said.notes.append(
            "LEEP and NCE are missing where the weights bring no head of their source, or images carry several labels"
            + (" or numbers, for which there is no H-score nor vote of neighbours either." if numbers else ".")
        )
    basis = (
        "Scores are of the networks before any training, in float32 and eval mode with their own running statistics, "
        f"on at most {options.images:,} training images; the linear probe is fitted there and read on the validation "
        f"images. Of those fine-tuned: {gains.basis(rows.filter(pl.col('what') == 'run'), 'tuned_metric')}"
    )
    return said.section(TITLE, basis)
