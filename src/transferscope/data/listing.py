"""What a source of images gives: one stable name, label and loader per image, nothing decoded yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from transferscope.answers import MISSING, Kind, Task, kind
from transferscope.errors import UserError, legible
from transferscope.registry import apart

SPLITS = ("train", "val", "test")
ASKED = ("task", "metric", "loss")  # what a target may ask of networks, whatever its source


class Measured(UserError):
    """Numbers that measure, where classes were looked for: `task: regression` would predict them."""


@dataclass(frozen=True)
class Listing:
    """Every image a source has, in the order of its sorted names.

    `labels` is int64 (n,) holding class indices, uint8 (n, k) of 0 and 1 when an image may carry several labels (int8
    with -1 where a label is not known), or float64 (n, k) of numbers to predict, which `classes` names.
    `task`, `metric` and `loss` are those that its target asks for (empty: the usual ones), from `open_listing`.
    `load(i)` opens image i and may raise anything when it cannot be read; it is sent to spawned processes, so it must
    pickle (a frozen dataclass of a module with `__call__`). `splits` holds 'train', 'val', 'test' or '' (undecided)
    per image; `groups` the patient, site, ... that must stay on one side of a split ('' = a group of its own).
    `notes` are sentences that a reader must know of how the source was understood: columns taken as groups, files of
    kinds that were left out, a window put on the grey values; `init`, `check` and the page print them. `ref` is the
    reference the listing was opened from; `open_listing` fills it in, and `window`, `channels` and `depth` as it asks
    for them. `holds` says what `load` gives: "images" (of PIL, or `pictures.numbers.Numbers`), "arrays" of numpy, or
    "texts".
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    load: Callable[[int], Any]
    splits: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    licence: str = ""
    notes: tuple[str, ...] = ()
    ref: str = ""
    holds: str = "images"
    window: Literal["full", "percentile"] | tuple[float, float] | None = None
    channels: tuple[int, ...] | None = None
    task: Task | None = None
    metric: str = ""
    loss: str = ""
    depth: Literal[8, 16, "float"] = 8

    @property
    def multilabel(self) -> bool:
        return self.kind == "labels"

    @property
    def kind(self) -> Kind:
        """What its labels hold."""
        return "grade" if self.task == "ordinal" else kind(self.labels)

    @property
    def where(self) -> str:
        """Its reference without options, for sentences."""
        return apart(self.ref)[0]


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Images per class, int64 (classes,), of labels (n,) or (n, classes); all of them have every number."""
    if labels.dtype.kind == "f":
        return np.full(classes, len(labels), dtype=np.int64)
    if labels.ndim == 2:
        counts: np.ndarray = (labels > 0).sum(axis=0, dtype=np.int64)
        return counts
    return np.bincount(labels, minlength=classes)


def check_listing(listing: Listing, where: str) -> Listing:
    """The listing itself, or a UserError that names `where`: no image, a single class, a class without an image,
    names that are not sorted and distinct, columns of unequal length, an unknown split word."""
    n, k = len(listing.names), len(listing.classes)
    if n == 0:
        raise UserError(f"No image was found in '{where}'; check the reference and the file types.")
    numbers = listing.kind == "numbers"
    if k < 2 and not numbers:
        only = f" ('{listing.classes[0]}')" if k else ""
        raise UserError(f"'{where}' has a single class{only}; at least two classes are needed to train a classifier.")
    expected = (n, k) if listing.labels.ndim == 2 else (n,)
    for column, length in (("splits", listing.splits), ("groups", listing.groups)):
        if length is not None and len(length) != n:
            raise UserError(f"'{where}' lists {n} images but {len(length)} {column}; give one of each per image.")
    if listing.labels.shape != expected or listing.labels.dtype.kind not in "iuf":
        raise UserError(f"'{where}' has labels {listing.labels.dtype} {listing.labels.shape}; expected int {expected}.")
    if numbers:
        _check_numbers(listing, where)
    top = 1 if listing.multilabel else k - 1
    least = MISSING if listing.labels.dtype == np.int8 else 0
    if not numbers and (listing.labels.min() < least or listing.labels.max() > top):
        raise UserError(f"'{where}' has a label outside 0..{top}; labels are class indices, or 0 and 1 per class.")
    for before, after in zip(listing.names, listing.names[1:], strict=False):
        if before >= after:
            raise UserError(f"'{where}' must list distinct names in sorted order, but '{after}' follows '{before}'.")
    empty = [listing.classes[c] for c in np.flatnonzero(class_counts(listing.labels, k) == 0)]
    if empty:
        raise UserError(f"Class '{empty[0]}' of '{where}' has no image; add images or remove the class.")
    for name, word in zip(listing.names, listing.splits or (), strict=False):
        if word and word not in SPLITS:
            raise UserError(f"Image '{name}' of '{where}' has the split '{word}'; write train, val or test.")
    return listing


def _check_numbers(listing: Listing, where: str) -> None:
    """UserError for numbers that are not finite or all the same."""
    lost = np.argwhere(~np.isfinite(listing.labels))
    if len(lost):
        row, column = lost[0]
        raise UserError(
            f"'{where}' has {listing.labels[row, column]} as '{listing.classes[column]}' of '{listing.names[row]}'; "
            "give a finite number or leave the example out."
        )
    same = [name for name, one in zip(listing.classes, np.ptp(listing.labels, axis=0) == 0, strict=True) if one]
    if same:
        raise UserError(f"'{where}': all examples have one value of '{same[0]}'; there is nothing to learn of it.")


def legible_names(listing: Listing) -> Listing:
    """The listing with every name in it made legible (`errors.legible`), so that it can be stored and shown anywhere;
    images are loaded by number, so each still opens under its true name. UserError when two names become one."""
    names, classes = ([legible(name) for name in column] for column in (listing.names, listing.classes))
    for column in (names, classes):
        if len(set(column)) < len(column):
            twice = next(name for name in column if column.count(name) > 1)
            raise UserError(f"Two names in '{listing.ref}' both read '{twice}'; rename one of them.")
    groups = None if listing.groups is None else tuple(legible(group) for group in listing.groups)
    notes = tuple(legible(note) for note in listing.notes)
    return replace(listing, names=tuple(names), classes=tuple(classes), groups=groups, notes=notes)
