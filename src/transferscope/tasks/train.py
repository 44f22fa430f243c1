"""train: one arm, one seed, one recipe, from its starting weights to the last epoch."""

from collections.abc import Mapping
from typing import Any

from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Keep, Outside, task
from transferscope.engine.task_context import Work
from transferscope.tasks import costs, restore
from transferscope.tasks.choose import settled
from transferscope.tasks.inputs import open_table
from transferscope.tasks.recipe import Run

SHEDS: dict[Keep, tuple[str, ...]] = {
    "ends": ("epoch-*[1-9]*.safetensors",),
    "findings": ("epoch-*.safetensors", "final.safetensors", "best.safetensors", "ema.safetensors"),
}
NEUTRAL = {"begin": None, **Run.neutral()}


def _reference(weights: Outside | Artifact | None, at: str | None) -> str | None:
    """The pretrained weights as a reference: given as one, or what a run of this study saved."""
    if isinstance(weights, Artifact):
        return f"file:{weights.file(f'{at}.safetensors')}"
    return weights.ref if weights else None


def _needs(params: Mapping[str, Any]) -> Keep:
    """Of the runs whose weights a run starts from, those of an epoch or the last."""
    from_epochs = (restore.is_between(str(params.get(name))) for name in ("weights_at", "begin_at"))
    return "all" if any(from_epochs) else "ends"


@task(
    "train",
    version=1,
    further=Run.parameters(),
    neutral=NEUTRAL,
    resumes=True,
    cost=costs.training,
    sheds=SHEDS,
    needs=_needs,
)
def train(
    *, data: Artifact, weights: Outside | Artifact | None, begin: Artifact | None = None, work: Work, **said: Any
) -> list[dict[str, Any]]:
    """Fine-tune, one row an epoch (epoch 0 is the start), evaluated on train (eval mode), val and test.

    `said` are the fields of `tasks.recipe.Run`, where `lr` may be what `choose_lr` found, or what `choose_fields` did,
    which holds other fields too. `weights` may be a training run on other images, read at `weights_at`; `begin` starts
    from the weights that another run saved at `begin_at`.

    With a sample to `evaluate` (fixed, stratified, by seed), the rows of the last and the best epoch also hold the
    scores of all images, as ``whole_val_...`` and ``whole_test_...``.

    With `early_stopping` rows say whether the run had `stopped` before their epoch; such an epoch has the scores, and
    under its name the weights, of the last one trained, of which ``run.json`` has the number.

    With an `ema` the last row also holds the scores of the averaged weights (``ema_val_...``, ``ema_test_...``), which
    are written as ``ema``.

    Adapters (`trainable` "lora:4") are merged into every file of weights. What is frozen is computed once where images
    come again (`tasks.frozen`), which ``run.json`` says by ``frozen_once``.

    Writes ``epoch-0000`` (the start), ``epoch-0001``, ``-0002``, ``-0004``, ... (`keep` "log"; "drops" adds both sides
    of every drop of the learning rate, "all" every epoch, `save_every` one in so many), ``best`` (highest val metric;
    the last epoch where val holds one class) and ``final`` as ``.safetensors``,
    ``predictions`` (logits of test and val images, best, final, ema),
    ``run.json`` (best epoch, what share of the pretrained tensors matched) and ``timing.json``. Killed anywhere it goes
    on from the last saved batch and ends in the same bytes. UserError when the loss is no longer finite.
    """
    from transferscope.tasks import loop  # torch from here on
    from transferscope.tasks.run_setup import Start

    run = Run.read({**said, **settled(said["lr"])})
    start = Start(
        weights=_reference(weights, run.weights_at),
        outside=weights if isinstance(weights, Outside) else None,
        begin=begin.file(f"{run.begin_at}.safetensors") if begin else None,
    )
    return loop.fit(open_table(data.whole()), start, run, work)
