"""What a source of images gives: one stable name, label and loader per image, nothing decoded yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from transferscope.errors import UserError, legible
from transferscope.registry import apart

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Listing:
    """Every image a source has, in the order of its sorted names.

    `labels` is int64 (n,) holding class indices, or uint8 (n, k) of 0 and 1 when an image may carry several labels.
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
    depth: Literal[8, 16, "float"] = 8

    @property
    def multilabel(self) -> bool:
        return self.labels.ndim == 2

    @property
    def where(self) -> str:
        """Its reference without options, for sentences."""
        return apart(self.ref)[0]


def class_counts(labels: np.ndarray, classes: int) -> np.ndarray:
    """Images per class, int64 (classes,), of labels (n,) or (n, classes)."""
    if labels.ndim == 2:
        counts: np.ndarray = labels.sum(axis=0, dtype=np.int64)
        return counts
    return np.bincount(labels, minlength=classes)


def check_listing(listing: Listing, where: str) -> Listing:
    """The listing itself, or a UserError that names `where`: no image, a single class, a class without an image,
    names that are not sorted and distinct, columns of unequal length, an unknown split word."""
    n, k = len(listing.names), len(listing.classes)
    if n == 0:
        raise UserError(f"No image was found in '{where}'; check the reference and the file types.")
    if k < 2:
        only = f" ('{listing.classes[0]}')" if k else ""
        raise UserError(f"'{where}' has a single class{only}; at least two classes are needed to train a classifier.")
    expected = (n, k) if listing.multilabel else (n,)
    for column, length in (("splits", listing.splits), ("groups", listing.groups)):
        if length is not None and len(length) != n:
            raise UserError(f"'{where}' lists {n} images but {len(length)} {column}; give one of each per image.")
    if listing.labels.shape != expected or not np.issubdtype(listing.labels.dtype, np.integer):
        raise UserError(f"'{where}' has labels {listing.labels.dtype} {listing.labels.shape}; expected int {expected}.")
    top = 1 if listing.multilabel else k - 1
    if listing.labels.min() < 0 or listing.labels.max() > top:
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
