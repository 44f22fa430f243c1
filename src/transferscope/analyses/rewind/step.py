"""Every block of one run rewound and scored, as one step."""

from typing import Any

from transferscope.analyses._shared import judging
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import task
from transferscope.engine.task_context import Work
from transferscope.tasks import costs, restore


@task(
    "rewind",
    version=2,  # statistics re-estimated, for the unchanged network too
    neutral=judging.NEUTRAL,
    cost=costs.rewinding,
    needs=lambda params: "all" if params["checkpoints"] else "ends",
)
def measure(
    *,
    run: Artifact,
    data: Artifact,
    checkpoint: str,
    splits: list[str],
    images: int,
    checkpoints: bool,
    redraw: bool,
    cumulative: str,
    batch_norm: str,
    statistics: int,
    judged: str = "",
    work: Work,
) -> list[dict[str, Any]]:
    """Rows of `ts.rewind` with the names of each block's modules, the statistics ("basis") and the precision.

    The whole result is written as ``rewind.safetensors``.
    """
    import torch

    from transferscope.models.blocks import blocks
    from transferscope.models.build import build_network
    from transferscope.probes.blocks.rewind import rewind
    from transferscope.random_streams import stream_seed
    from transferscope.tasks.inputs import open_table

    torch.set_num_threads(work.threads)
    said = restore.said(run)
    saved = [epoch for epoch in restore.saved_epochs(run) if epoch] if checkpoints else []
    fresh = stream_seed(said["seed"], "redraw") % 2**31
    classes = len(open_table(data.whole()).classes)
    net = restore.bare(run, data)
    how: dict[str, Any] = {"device": work.device, "judged": restore.judging(data, judged)}
    found = rewind(
        restore.weights(run, checkpoint),
        restore.weights(run, "start"),
        {split: list(restore.batches(run, data, split, images=images, **how)) for split in splits},
        checkpoints={f"epoch {epoch}": restore.weights(run, restore.saved(epoch)) for epoch in saved},
        redraw=build_network(said["network"], classes, seed=fresh) if redraw else False,
        cumulative=None if cumulative == "none" else cumulative,  # type: ignore[arg-type]
        batch_norm=batch_norm,  # type: ignore[arg-type]
        statistics=[x for x, *_ in restore.batches(run, data, "train", images=statistics, device=work.device)],
        images=statistics,
        precision=said["precision"],
        like=net.to(work.device),
    )
    found.save(work.folder / "rewind.safetensors")
    modules = {block.name: ", ".join(block.prefixes) for block in blocks(net)}
    more: dict[str, Any] = {"basis": found.batch_norm, "precision": found.precision, **restore.deviation(data, judged)}
    return [{**row, "modules": modules.get(row["block"]), **more} for row in found.table().to_dicts()]
