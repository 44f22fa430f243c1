"""A training step as a run will take it: each target's own head, on a batch as large and as small as there will be."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from transferscope.data.split import nested_fraction
from transferscope.engine.plan import Plan
from transferscope.errors import UserError
from transferscope.forecast import split_rows
from transferscope.shape import Example
from transferscope.study import Study

MOST = 16 * 224 * 224  # pixels of the largest batch that is tried: seconds, not minutes, for a large network


@dataclass(frozen=True)
class Rehearsal:
    """The training runs of one network on one target: batches of `least` to `most` images (of `count` at most)."""

    target: str
    network: str
    classes: int
    multilabel: bool
    count: int
    batch_size: int
    least: int
    most: int


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
        for network in dict.fromkeys(params["network"] for params in runs):
            assert listing is not None
            cuts = {(p["batch_size"], p["fraction"], p["seed"]) for p in runs if p["network"] == network}
            cut = [length for each in cuts for length in _lengths(listing.labels, rows["train"], *each)]
            (least, count, size), (most, _, _) = min(cut), max(cut)
            yield Rehearsal(where, network, len(listing.classes), listing.multilabel, count, size, least, most)


def _lengths(labels: np.ndarray, rows: np.ndarray, size: int, fraction: float, seed: int) -> set[tuple[int, int, int]]:
    """(images of a batch, training images, batch size) of every batch of an epoch."""
    from transferscope.data.batches import batch_starts

    count = len(rows) if fraction == 1 else len(nested_fraction(labels, rows, fraction, seed=seed))
    return {(int(end - start), count, size) for start, end in pairwise([*batch_starts(count, size), count])}


def rehearse(run: Rehearsal, image: Example) -> str:
    """Take the steps on random images like `image`, and say so. UserError where the network refuses one."""
    import torch
    import torch.nn.functional as F

    from transferscope.models.build import build_network, seeded
    from transferscope.models.precision import prepare

    net = prepare(build_network(run.network, run.classes, seed=0), "cpu").train()
    tried = sorted({min(size, max(2, MOST // image.pixels)) for size in (run.least, run.most)})
    for size in tried:
        with seeded(0):
            answers = torch.randint(0, 2 if run.multilabel else run.classes, (size,))
        truth = F.one_hot(answers, run.classes).float()
        try:
            out = net(image.example(size)).float()
            if out.shape != truth.shape:
                raise ValueError(f"outputs of shape {tuple(out.shape)} instead of {tuple(truth.shape)}")
            loss = F.binary_cross_entropy_with_logits if run.multilabel else F.cross_entropy
            loss(out, truth).backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever a network refuses a batch with
            raise UserError(_refused(run, size, image, error)) from None
    cut = f" (tried with {tried[-1]})" if tried[-1] < run.most else ""
    return f"{run.network} takes a step on batches of {_told(run)}{cut}, {run.classes} outputs"


def _told(run: Rehearsal) -> str:
    images = f"{run.most} image{'s' if run.most != 1 else ''}"
    return images if run.least == run.most else f"{run.least} to {images}"


def _refused(run: Rehearsal, size: int, image: Example, error: Exception) -> str:
    why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    few = f"{run.count} training image{'s' if run.count != 1 else ''} in batches of {run.batch_size}"
    mend = "give more training images, or a larger recipe.batch_size" if size == 1 else "set another recipe.batch_size"
    images = f"{size} image{'s' if size != 1 else ''} of {image}"
    return f"{run.target}: {run.network} cannot take a training step on {images} ({few}; {why}); {mend}."
