"""The line between two runs as a step: its rows, whose heads they are, and runs forked from another."""

from typing import TYPE_CHECKING, Any

from transferscope.analyses._shared import judging
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Step, task
from transferscope.engine.task_context import Work
from transferscope.random_streams import stream_seed
from transferscope.study import Study
from transferscope.tasks import costs, restore

if TYPE_CHECKING:
    from transferscope.probes.walks.path import LinearPath


@task(
    "line", version=3, neutral=judging.NEUTRAL, cost=costs.line
)  # 3: barriers are chosen on some images and read on others
def line(
    *,
    a: Artifact,
    a_at: str,
    b: Artifact,
    b_at: str,
    data: Artifact,
    splits: list[str],
    images: dict[str, int],
    statistics: int,
    batch_norm: str,
    alphas: int | str,
    tolerance: float,
    align: bool,
    judged: str = "",
    work: Work,
) -> list[dict[str, Any]]:
    """Rows of the line from `a` to `b` on up to `images` of each split: see `rows`; each has its place on the curve.

    Batch-norm statistics by strategy `batch_norm`, re-estimated from `statistics` training images. `align` permutes the
    units of `b` to match those of `a` first. `judged` is the metric that the target says, where that is asked for. The
    whole result is written as ``path.safetensors``.
    """
    import torch

    from transferscope.probes.walks.path import path

    torch.set_num_threads(work.threads)
    net = restore.bare(a, data)
    first, second = restore.weights(a, a_at), restore.weights(b, b_at)
    same = all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    if align:
        from transferscope.probes.weights.align import align as aligned

        second = aligned(first, second, like=net).apply(second)
    how: dict[str, Any] = {"device": work.device, "judged": restore.judging(data, judged)}
    found = path(
        first,
        second,
        {split: list(restore.batches(a, data, split, images=images[split], **how)) for split in splits},
        alphas=(0.0, 1.0) if same else alphas,  # type: ignore[arg-type]
        statistics=training_images(a, data, statistics, work.device),
        images=statistics,
        batch_norm=batch_norm,  # type: ignore[arg-type]
        precision=restore.said(a)["precision"],
        tolerance=tolerance,
        like=net.to(work.device),
    )
    found.save(work.folder / "path.safetensors")
    return rows(found, head=head(a, b), same=same, **restore.deviation(data, judged))


def training_images(run: Artifact, data: Artifact, images: int, device: str) -> "list[Any]":
    """Batches of training images, as evaluation sees them, for batch-norm statistics."""

    return [x for x, *_ in restore.batches(run, data, "train", images=images, device=device)]


def head(a: Artifact, b: Artifact) -> str:
    """Whether two runs started from one set of values of the head ("shared") or each from its own ("own")."""
    said = [run.said["params"] for run in (a, b)]
    forked = any(params.get("begin") is not None for params in said)
    return "shared" if forked or said[0]["head_seed"] == said[1]["head_seed"] else "own"


def rows(found: "LinearPath", **more: Any) -> list[dict[str, Any]]:
    """One row a data set and alpha: split, alpha, measure, metric, loss, and the barriers of that whole curve.

    `barrier` (Frankle) and `chord_barrier` (Entezari) are in the metric's units, each chosen on some images and read on
    others, with the ends of its interval over images; `loss_barrier` is Frankle's of the loss. `points`: how many
    places were evaluated, `grid_error` how much higher the barrier may be between them. At the ends `own_metric` is
    that of the network with the batch-norm statistics it came with, and `differs` whether its mistakes differ by more
    than chance.
    """
    found_rows = []
    of = "1 - auc" if found.metric == "auc" else "error"
    for d, split in enumerate(found.names):
        height, chord, loss = (
            found.barrier(split, measure, kind)
            for measure, kind in ((of, "frankle"), (of, "entezari"), ("loss", "frankle"))
        )
        whole = {
            "measure": found.metric,
            "images": int(found.n[d]),
            "points": len(found.alphas),
            **more,
            "barrier": known(height.mean),
            "barrier_low": height.low,
            "barrier_high": height.high,
            "barrier_at": known(found.at(split, of, "frankle")),
            "chord_barrier": known(chord.mean),
            "chord_low": chord.low,
            "chord_high": chord.high,
            "loss_barrier": loss.mean,
            "statistics": found.batch_norm,
            "grid_error": found.grid_error,
        }
        for i, alpha in enumerate(found.alphas):
            point = {"metric": known(float(found.score[d, i])), "loss": float(found.loss[d, i])}
            own: dict[str, Any] = {"own_metric": None, "differs": None}
            if alpha in (0, 1):
                end = d, int(alpha)
                own = {"own_metric": known(float(found.own_score[end])), "differs": bool(found.differs[end])}
            found_rows.append({"split": split, "alpha": float(alpha), **point, **own, **whole})
    return found_rows


def fork_seed(seed: int, child: int) -> int:
    """The seed of a child's data order and augmentation; no seed a study would list."""
    return stream_seed(seed, "fork", child) % 2**31


def fork(study: Study, target: str, arm: str, seed: int, epoch: int, child: int) -> Step:
    """A run that goes on from what the run of `seed` saved after `epoch`, in a data order of its own.

    It trains at the parent's rate and for the epochs the parent had left; momentum starts afresh.
    """
    parent = study.run(target, arm, seed)
    return study.run(
        target,
        arm,
        fork_seed(seed, child),
        lr=parent.params["lr"],
        begin=parent,
        begin_at=restore.saved(epoch),
        first_epoch=epoch,
    )


def known(value: float) -> float | None:
    """None for NaN: tables have gaps."""
    return None if value != value else value
