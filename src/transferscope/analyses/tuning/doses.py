"""Doses of tuning as a study may ask for them: ranks of LoRA, layer decays, crops of a probe, and rates to try."""

from collections.abc import Sequence

from transferscope import models
from transferscope.engine.step import Step
from transferscope.errors import UserError
from transferscope.models.anatomy import adaptable_weights
from transferscope.study import Study
from transferscope.tasks import inputs
from transferscope.tasks.choose import tried
from transferscope.tasks.recipe import Run


def views(study: Study, count: int | None) -> dict[str, int]:
    """What is changed of a linear probe's images. UserError where crops cannot come again, or do already."""
    if count is None:
        return {}
    augment = study.recipe.augment
    mixes = study.recipe.mixup > 0 or (augment is not None and bool(augment.mixing))
    if augment is None or mixes:
        why = "images are mixed anew in every epoch" if mixes else "nothing is augmented"
        raise UserError(f"analyses.tuning.views: {why} (recipe); remove the key.")
    if study.input != inputs.USUAL:
        raise UserError(f"analyses.tuning.views: crops are of images, not of '{study.input}'; remove the key.")
    return {"views": count}


def looks(study: Study, run: Step) -> int | None:
    """How many looks at an image a run has of which only a part is trained; None where each is another."""
    said = {name: value for name, value in run.params.items() if name in Run.model_fields}
    of = Run.read({**said, **tried(run.params["lr"])})  # what is searched never decides it
    return inputs.looks(study.kind, of) if of.trainable == "head" or of.trainable.startswith("top:") else None


def ranks(study: Study, asked: Sequence[int]) -> list[int]:
    """The ranks of LoRA, increasing. UserError where the network has no layer for it."""
    if asked and not adaptable_weights(study.network, study.memo):
        raise UserError(
            f"analyses.tuning.lora: {models.in_words(study.network)} has neither a linear layer nor a convolution "
            "without groups below its head for LoRA to stand on; remove the key."
        )
    return sorted(set(asked))


def decays(study: Study, asked: Sequence[float]) -> list[float]:
    """The layer decays, the strongest first. UserError for that of the recipe, by which the other ways go."""
    if (own := study.recipe.layer_decay) in asked:
        raise UserError(
            f"analyses.tuning.layer_decay: {own:g} is the recipe's own, as full fine-tuning has it; remove it."
        )
    return sorted(set(asked))


def rates(base: tuple[float, ...], multiples: tuple[float, ...]) -> tuple[float, ...]:
    """Every multiple of every rate, to four digits, increasing."""
    return tuple(sorted({float(f"{rate * factor:.4g}") for rate in base for factor in multiples}))
