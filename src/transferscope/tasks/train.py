"""train: one arm, one seed, one recipe, from its starting weights to the last epoch."""

from collections.abc import Mapping
from typing import Any

from transferscope.engine.step import Outside, task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Work
from transferscope.tasks import costs, optimisers
from transferscope.tasks.choose import chosen
from transferscope.tasks.schedule import Schedule

# Parameters added later, each at the value where it changes nothing.
NEUTRAL = {
    "shuffle": None,
    "fraction": 1.0,
    "trainable": "all",
    "begin": None,
    "begin_at": "final",
    "first_epoch": 0,
    "weights_at": None,
    "labels": "true",
    "keep": "log",
    "evaluate": "all",
    "allow": None,
    "optimizer": optimisers.USUAL,
}


def _augment(said: Mapping[str, Any]) -> Any:
    """The study's augmentation as the pipeline's."""
    from transferscope.data.augment import Augment

    flip = 0.5 if said["flip"] else 0.0
    return Augment(tuple(said["scale"]), tuple(said["ratio"]), flip, said["interpolation"])


def _reference(weights: Outside | Artifact | None, at: str | None) -> str | None:
    """The pretrained weights as a reference: given as one, or what a run of this study saved."""
    if isinstance(weights, Artifact):
        return f"file:{weights.path / f'{at}.safetensors'}"
    return weights.ref if weights else None


@task("train", version=1, neutral=NEUTRAL, resumes=True, cost=costs.training)
def train(
    *,
    data: Artifact,
    network: str,
    arm: str,
    weights: Outside | Artifact | None,
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
    begin_at: str = "final",
    first_epoch: int = 0,
    weights_at: str | None = None,
    labels: str = "true",
    keep: str = "log",
    evaluate: int | str = "all",
    allow: list[str] | None = None,
    optimizer: str = optimisers.USUAL,
    work: Work,
) -> list[dict[str, Any]]:
    """Fine-tune, one row an epoch (epoch 0 is the start), evaluated on train (eval mode), val and test.

    `evaluate` is how many images of each split every epoch is evaluated on (a fixed sample, stratified, by seed), or
    "all". With a sample, the rows of the last and the best epoch also hold the scores of all images, as
    ``whole_val_...`` and ``whole_test_...``.

    `shuffle` is ``{"block": b}`` or ``{"block": "channels"}`` (one fixed permutation a seed, `per_image` for one an
    image); `fraction` of the training images (nested, stratified, by seed); `trainable` is "all", "head" or "top:K"
    (the last K blocks). `begin` starts from the weights that another run saved at `begin_at`, and counts epochs (for
    the schedule and the order of the images) from `first_epoch`; momentum starts afresh. `weights` may be a training
    run on other images, read at `weights_at`; `allow` lists what of the body they need not fill. `labels` "random"
    shuffles them over the images of each split. `optimizer` is a file of `tasks.optimisers`, or anyone's module.

    Writes ``epoch-0000`` (the start), ``epoch-0001``, ``-0002``, ``-0004``, ... (`keep` "log"; "drops" adds both sides
    of every drop of the learning rate, "all" every epoch), ``best`` (highest val metric; the last epoch where val holds
    one class) and ``final`` as ``.safetensors``, ``predictions`` (logits of the test and val images, best and final),
    ``run.json`` (best epoch, what share of the pretrained tensors matched) and ``timing.json``. Killed anywhere it goes
    on from the last saved batch and ends in the same bytes. UserError when the loss is no longer finite.
    """
    from transferscope.data.batches import Normalisation  # torch from here on
    from transferscope.data.table import open_table
    from transferscope.tasks import loop
    from transferscope.tasks.begin import Recipe, Start

    table = open_table(data.path)
    start = Start(
        network=network,
        arm=arm,
        weights=_reference(weights, weights_at),
        min_share=min_share or 0.0,
        allow=tuple(allow or ()),
        seed=seed,
        head_seed=head_seed,
        begin=begin.path / f"{begin_at}.safetensors" if begin else None,
        epoch=first_epoch,
    )
    recipe = Recipe(
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
        labels=labels,
        keep=keep,
        evaluate=evaluate,
        optimizer=optimizer,
    )
    return loop.fit(table, start, recipe, work)
