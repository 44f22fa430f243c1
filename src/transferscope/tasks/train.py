"""train: one arm, one seed, one recipe, from its starting weights to the last epoch."""

from collections.abc import Mapping
from typing import Any

from transferscope.engine.step import Outside, task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Work
from transferscope.tasks.choose import chosen
from transferscope.tasks.schedule import Schedule


def _cost(params: Mapping[str, Any]) -> float:
    """Epochs of the whole training set, with the evaluation (about a third of the work) that a fraction keeps."""
    return float(params["epochs"] * (0.35 + 0.65 * params["fraction"]))


# Parameters added later, each at the value where it changes nothing.
NEUTRAL = {"shuffle": None, "fraction": 1.0, "trainable": "all", "begin": None}


def _augment(said: Mapping[str, Any]) -> Any:
    """The study's augmentation as the pipeline's."""
    from transferscope.data.augment import Augment

    flip = 0.5 if said["flip"] else 0.0
    return Augment(tuple(said["scale"]), tuple(said["ratio"]), flip, said["interpolation"])


@task("train", version=1, neutral=NEUTRAL, resumes=True, cost=_cost)
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
    shuffle: dict[str, Any] | None = None,
    fraction: float = 1.0,
    trainable: str = "all",
    begin: Artifact | None = None,
    work: Work,
) -> list[dict[str, Any]]:
    """Fine-tune, one row an epoch (epoch 0 is the start), evaluated on train (eval mode), val and test.

    `shuffle` is ``{"block": b}`` or ``{"block": "channels"}`` (one fixed permutation a seed, `per_image` for one an
    image); `fraction` of the training images (nested, stratified, by seed); `trainable` is "all", "head" or "top:K"
    (the last K blocks); `begin` starts from another run's final weights.

    Writes ``epoch-0000``, ``epoch-0001``, ``-0002``, ``-0004``, ... (log-spaced), ``best`` (highest val metric) and
    ``final`` as ``.safetensors``, ``predictions`` (logits of the test and val images, best and final),
    ``run.json`` (best epoch, what share of the pretrained tensors matched) and ``timing.json``. Killed anywhere it goes
    on from the last saved batch and ends in the same bytes. UserError when the loss is no longer finite.
    """
    from transferscope.data.batches import Normalisation  # torch from here on
    from transferscope.data.table import open_table
    from transferscope.tasks import loop

    table = open_table(data.path)
    start = loop.Start(
        network, arm, weights.ref if weights else None, min_share or 0.0, seed, head_seed, begin.path if begin else None
    )
    recipe = loop.Recipe(
        epochs=epochs,
        batch_size=batch_size,
        schedule=Schedule(schedule, chosen(lr), epochs, warmup, tuple(milestones), gamma),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        mixup=mixup,
        label_smoothing=label_smoothing,
        augment=None if augment is None else _augment(augment),
        precision=precision,
        normalisation=Normalisation(tuple(mean), tuple(std)),
        shuffle=shuffle,
        fraction=fraction,
        trainable=trainable,
    )
    return loop.fit(table, start, recipe, work)
