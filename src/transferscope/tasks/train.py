"""train: one arm, one seed, one recipe, from its starting weights to the last epoch."""

from typing import Any

from transferscope.engine.step import Outside, task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Work
from transferscope.tasks.choose import chosen
from transferscope.tasks.schedule import Schedule


@task("train", version=1, resumes=True, cost=lambda p: float(p["epochs"]))
def train(
    *,
    data: Artifact,
    network: str,
    arm: str,
    weights: Outside | None,
    min_share: float | None,
    seed: int,
    head_seed: int,
    mean: list[float],
    std: list[float],
    epochs: int,
    batch_size: int,
    lr: float | Artifact,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    schedule: str,
    milestones: list[float],
    gamma: float,
    warmup: float,
    mixup: float,
    label_smoothing: float,
    augment: dict[str, Any] | None,
    precision: str,
    work: Work,
) -> list[dict[str, Any]]:
    """Fine-tune, one row an epoch (epoch 0 is the start), evaluated on train (eval mode), val and test.

    Writes ``epoch-0000``, ``epoch-0001``, ``-0002``, ``-0004``, ... (log-spaced), ``best`` (highest val metric) and
    ``final`` as ``.safetensors``, ``predictions`` (logits of the test and val images, best and final),
    ``loaded.json`` (what share of the pretrained tensors matched) and ``timing.json``. Killed anywhere it goes on from
    the last saved batch and ends in the same bytes. UserError when the loss is no longer finite.
    """
    from transferscope.data.augment import Augment  # torch from here on
    from transferscope.data.batches import Normalisation
    from transferscope.data.table import open_table
    from transferscope.tasks import loop

    table = open_table(data.path)
    start = loop.Start(network, arm, weights.ref if weights else None, min_share or 0.0, seed, head_seed)
    recipe = loop.Recipe(
        epochs=epochs,
        batch_size=batch_size,
        schedule=Schedule(schedule, chosen(lr), epochs, warmup, tuple(milestones), gamma),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        mixup=mixup,
        label_smoothing=label_smoothing,
        augment=augment and Augment(
            tuple(augment["scale"]), tuple(augment["ratio"]), 0.5 if augment["flip"] else 0.0, augment["interpolation"]
        ),
        precision=precision,
        normalisation=Normalisation(tuple(mean), tuple(std)),
    )
    return loop.fit(table, start, recipe, work)
