"""The features of one network, and the CKA of two networks' features, each as one step."""

from typing import Any

from transferscope.engine.artifact import Artifact
from transferscope.engine.step import task
from transferscope.engine.task_context import Work
from transferscope.tasks import costs


@task("features", version=1, cost=costs.features, sheds={"findings": ("grams.safetensors",)})
def features(
    *,
    run: Artifact,
    at: str,
    data: Artifact,
    images: int,
    batch: int,
    layers: str,
    pool: str | None,
    neighbours: int,
    work: Work,
) -> list[dict[str, Any]]:
    """What is asked of one network on test images: its Grams (``grams.safetensors``), and rows of k-NN accuracy.

    For the latter features are averaged over space or tokens; no rows for several labels an image.
    """
    import torch

    from transferscope.probes.features.grams import grams
    from transferscope.probes.features.neighbours import neighbours as vote
    from transferscope.tasks import restore
    from transferscope.tasks.inputs import open_table

    torch.set_num_threads(work.threads)
    net, precision = restore.network(run, data, at, device=work.device), restore.said(run)["precision"]

    def batches() -> Any:
        return restore.batches(run, data, "test", size=batch, images=images, device=work.device)

    grams(net, batches(), layers, pool, precision=precision).save(work.folder / "grams.safetensors")  # type: ignore[arg-type]
    table = open_table(data.whole())
    k = min(neighbours, images - 1, len(table.rows["test"]) - 1)
    if table.labels.ndim == 2 or k < 1:
        return []
    found = vote(net, batches(), layers, "mean", k=k, precision=precision)
    return [{"layer_a": row["layer"], "accuracy": row["accuracy"]} for row in found.table().to_dicts()]


@task("similarity", version=1, cost=costs.fixed(costs.SMALL))
def measure(*, a: Artifact, b: Artifact, work: Work) -> list[dict[str, Any]]:
    """CKA of two finished `features` steps: layer_a, layer_b, cka, stderr, samples."""
    from transferscope.probes.result import load

    found = load(a.file("grams.safetensors")).similarity(load(b.file("grams.safetensors")))
    return [{**row, "samples": found.samples, "how": found.estimator} for row in found.table().to_dicts()]
