"""A training step as a run will take it: each target's own head, on a batch as large and as small as there will be.

So is what the recipe does to training images besides cropping them.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from transferscope.answers import Kind
from transferscope.data.split import nested_fraction
from transferscope.engine.plan import Plan
from transferscope.errors import UserError, reason
from transferscope.forecast import split_rows
from transferscope.input_shape import Example
from transferscope.models import in_words
from transferscope.models.networks import DROPS
from transferscope.study import Study
from transferscope.tasks.augmentations import Entry
from transferscope.tasks.inputs import USUAL

MOST = 16 * 224 * 224  # pixels of the largest batch that is tried: seconds, not minutes, for a large network
TRIED = 24  # pictures that are altered


# by torch's names, of answers that are not one class
LOSSES: dict[str, str] = {"labels": "binary_cross_entropy_with_logits", "numbers": "mse_loss"}


@dataclass(frozen=True)
class Rehearsal:
    """The training runs of one network on one target: batches of `least` to `most` images (of `count` at most)."""

    target: str
    network: str
    classes: int
    kind: Kind
    count: int
    batch_size: int
    least: int
    most: int
    drops: tuple[tuple[str, float], ...] = ()


def rehearsals(study: Study, plan: Plan) -> Iterator[Rehearsal]:
    """One for every network and target that the plan trains whole. Frozen blocks ask less of a batch."""
    places = {study.data(target).key: (f"targets.{target}", ref) for target, ref in study.targets.items()}
    if study.pretrained is not None and study.pretrained.source is not None:
        source = study.pretraining(study.pretrained.labels[0]).params["data"]
        places.setdefault(source.key, ("pretrained.source", study.pretrained.source))
    whole = [s.params for s in plan.steps if s.task == "train" and s.params["trainable"] == "all"]
    for key, (where, ref) in places.items():
        runs = [params for params in whole if params["data"].key == key]
        listing, rows = split_rows(study, ref) if runs else (None, {})
        for network, drops in dict.fromkeys((params["network"], _drops(params)) for params in runs):
            assert listing is not None
            alike = [params for params in runs if (params["network"], _drops(params)) == (network, drops)]
            cuts = {(params["batch_size"], params["fraction"], params["seed"]) for params in alike}
            cut = [length for each in cuts for length in _lengths(listing.labels, rows["train"], *each)]
            (least, count, size), (most, _, _) = min(cut), max(cut)
            yield Rehearsal(where, network, len(listing.classes), listing.kind, count, size, least, most, drops)


def _drops(params: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """What a run drops in training, and how much of it; a rate that a search will choose is looked at in its trials."""
    return tuple((key, params[key]) for key in DROPS if params[key])


def _lengths(labels: np.ndarray, rows: np.ndarray, size: int, fraction: float, seed: int) -> set[tuple[int, int, int]]:
    """(images of a batch, training images, batch size) of every batch of an epoch."""
    from transferscope.data.epoch_order import batch_starts

    count = len(rows) if fraction == 1 else len(nested_fraction(labels, rows, fraction, seed=seed))
    return {(int(end - start), count, size) for start, end in pairwise([*batch_starts(count, size), count])}


def rehearse(run: Rehearsal, image: Example) -> str:
    """Take the steps on random images like `image`, and say so. UserError where the network refuses one."""
    import torch
    import torch.nn.functional as F

    from transferscope.models.build import build_network, seeded
    from transferscope.models.outputs import logits_of
    from transferscope.models.precision import prepare

    net = prepare(build_network(run.network, run.classes, seed=0, drops=dict(run.drops)), "cpu").train()
    tried = sorted({min(size, max(2, MOST // image.places)) for size in (run.least, run.most)})
    for size in tried:
        with seeded(0):
            answers = torch.randint(0, 2 if run.kind == "labels" else run.classes, (size,))
        truth = F.one_hot(answers, run.classes).float()
        try:
            out = logits_of(net(image.example(size)), size).float()
            if out.shape != truth.shape:
                raise ValueError(f"outputs of shape {tuple(out.shape)} instead of {tuple(truth.shape)}")
            loss = LOSSES.get(run.kind, "cross_entropy")
            getattr(F, loss)(out, truth).backward()
        except Exception as error:  # whatever a network refuses a batch with
            raise UserError(_refused(run, size, image, error)) from None
    cut = f" (tried with {tried[-1]})" if tried[-1] < run.most else ""
    return f"{in_words(run.network)} takes a step on batches of {_batch_words(run)}{cut}, {run.classes} outputs"


def augmentations(study: Study) -> dict[str, tuple[tuple[Entry, ...], bool]]:
    """What the study's recipes list to be done to crops, and whether any of these has more than 8 bits, by the key of
    the recipe; none for inputs of one's own."""
    if study.input != USUAL:
        return {}
    how, targets = study.pretrained, list(study.targets.values())
    source = [how.source] if how is not None and how.source is not None else []
    recipes = {"recipe": (study.recipe, targets)}
    if how is not None and "augment" in how.recipe:
        recipes["pretrained.recipe"] = study.pretraining_recipe(), source
    else:
        targets += source
    return {
        where: (recipe.augment.then, any(target.depth != 8 for target in on))
        for where, (recipe, on) in recipes.items()
        if recipe.augment and recipe.augment.then
    }


def rehearse_augmentation(
    where: str, then: tuple[Entry, ...], side: int, channels: int = 3, more_bits: bool = False
) -> str:
    """Do to some random pictures of `side` pixels, kept with `more_bits` than 8 or not, what is listed at `where`, and
    say how long it takes.

    UserError where one of the list cannot be made, raises, or returns something else.
    """
    import torch

    from transferscope.tasks.augmented import augmented

    draw = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (TRIED, channels, side, side), dtype=torch.uint8, generator=draw)
    pictures = pictures.float() if more_bits else pictures
    try:
        after = augmented(then, seed=0, epoch=0)
        began = time.perf_counter()
        after.on_trial(pictures)
        each = (time.perf_counter() - began) / TRIED
    except UserError as error:
        raise UserError(str(error).replace("recipe", where, 1)) from None
    except Exception as error:  # whatever somebody's module raises
        raise UserError(f"{where}.augment.then: {reason(error)}; mend the module, or leave it out.") from None
    return f"{', '.join(name for entry in then for name in entry)}: {1000 * each:.1f} ms an image of {side} px here"


def _batch_words(run: Rehearsal) -> str:
    images = f"{run.most} image{'s' if run.most != 1 else ''}"
    return images if run.least == run.most else f"{run.least} to {images}"


def _refused(run: Rehearsal, size: int, image: Example, error: Exception) -> str:
    why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    few = f"{run.count} training image{'s' if run.count != 1 else ''} in batches of {run.batch_size}"
    mend = "give more training images, or a larger recipe.batch_size" if size == 1 else "set another recipe.batch_size"
    noun = image.noun if size != 1 else image.noun.removesuffix("s")
    images = f"{size} {noun} of {image}"
    return f"{run.target}: {in_words(run.network)} cannot take a training step on {images} ({few}; {why}); {mend}."
