"""The segment between two runs, beyond it and around it, as one step."""

from typing import Any

from transferscope.analyses._shared import judging, line_step
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import task
from transferscope.engine.task_context import Work
from transferscope.tasks import costs
from transferscope.tasks.inputs import open_table

NUMBERS = {"error": "unexplained variance", "cross-entropy": "squared error"}  # what the losses are of numbers


@task(
    "basin", version=2, neutral=judging.NEUTRAL, cost=costs.basin
)  # 2: own scores, no extent, every kind of batch norm
def measure(
    *,
    a: Artifact,
    b: Artifact,
    at: str,
    data: Artifact,
    loss: str,
    samples: int,
    draws: int,
    per_weight: list[float],
    slack: float,
    limit: float,
    images: int,
    statistics: int,
    judged: str = "",
    work: Work,
) -> list[dict[str, Any]]:
    """Rows of `probes.walks.basin`, one a delta tried, each with epsilon, the delta found and the segment's ends.

    The whole result is written as ``basin.safetensors``.
    """
    import torch

    from transferscope.probes.walks.basin import basin
    from transferscope.tasks import restore

    torch.set_num_threads(work.threads)
    metric = restore.judging(data, judged)
    found = basin(
        restore.weights(a, at),
        restore.weights(b, at),
        list(restore.batches(a, data, "test", images=images, device=work.device, judged=metric)),
        loss=loss,  # type: ignore[arg-type]
        samples=samples,
        draws=draws,
        per_weight=per_weight,
        slack=slack,
        limit=limit,
        statistics=line_step.training_images(a, data, statistics, work.device),
        images=statistics,
        precision=restore.said(a)["precision"],
        like=restore.bare(a, data).to(work.device),
    )
    found.save(work.folder / "basin.safetensors")
    numbers = open_table(data.whole()).kind == "numbers"
    whole = {
        "loss": metric if judged and loss == "error" else NUMBERS[found.loss] if numbers else found.loss,
        **restore.deviation(data, judged),
        "mean": found.mean,
        "epsilon": found.epsilon,
        "epsilon_error": found.epsilon_error,
        "found_delta": found.delta,
        "sure": found.sure,
        "first_end": float(found.ends[0]),
        "second_end": float(found.ends[1]),
        "first_reached": bool(found.reached[0]),
        "second_reached": bool(found.reached[1]),
        "length": found.length,
        "size": found.size,
        "images": found.images,
        "samples": samples,
        "draws": draws,
        "head": line_step.head(a, b),
        "failing": "; ".join(found.failing),
        "at": float(found.at.mean()),
        "own": float(found.own.mean()),
        "batch_norm": found.batch_norm,
        "told": " ".join(found.notes),
    }
    return [{**row, **whole} for row in found.table().to_dicts()]
