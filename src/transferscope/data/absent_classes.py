"""What a split lacks: classes and labels without an image in it, and what cannot be computed for want of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from transferscope.answers import kind
from transferscope.data.listing import class_counts

LAST = "so that 'best' is the last epoch, unless recipe.best_on is test"
SHOWN = 6  # names; of more the first and their number


def decides(labels: np.ndarray) -> bool:
    """Do the labels (n,) or (n, k) of a split hold two answers to some question, so that scores on it can choose?"""
    if labels.dtype.kind == "f":
        return bool(len(labels)) and bool((labels.min(axis=0) < labels.max(axis=0)).any())
    if labels.ndim == 2:
        low = np.where(labels >= 0, labels, 1).min(axis=0, initial=1)
        return bool((low < labels.max(axis=0, initial=0)).any())
    return len(np.unique(labels)) > 1


def lacking(labels: np.ndarray, rows: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[str]:
    """A sentence for every split of `rows` ('val', 'test') that lacks a class, or a label's yes or no.

    `labels` (n,) or (n, k) are those of the whole table, `rows` the row numbers of each split.
    """
    found = []
    for split in ("val", "test"):
        own = labels[rows[split]]
        if len(own):
            found += TOLD[kind(labels)](split, own, classes)
    return found


def _numbers(split: str, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    same = [name for name, one in zip(classes, np.ptp(labels, axis=0) == 0, strict=True) if one]
    if not same:
        return []
    if len(same) < len(classes):
        return [f"In the {split} split all examples have one value of {_named(same)}: scores are of the other numbers."]
    so = f"no best epoch can be chosen, {LAST}" if split == "val" else "scores of it are empty"
    return [f"All examples of the {split} split have one value: no R² can be computed on it, and {so}."]


def _classes(split: str, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    counts = class_counts(labels, len(classes))
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if not absent:
        return []
    if decides(labels):
        of = f" ({len(absent)} of {len(classes)} classes)" if len(absent) > 1 else ""
        return [f"The {split} split has no image of {_named(absent)}{of}: nothing is learnt of it there."]
    only = f"The {split} split holds one class only, '{classes[int(np.argmax(counts))]}'"
    if split == "val":
        return [f"{only}: no best epoch can be chosen on it, {LAST}."]
    if len(classes) == 2:
        return [f"{only}: an AUC cannot be computed on it, so that scores of it are empty; losses and errors stand."]
    return [f"{only}: an accuracy on it is that of this class alone."]


def _labels(split: str, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    known = labels >= 0
    low, high = np.where(known, labels, 1).min(axis=0), labels.max(axis=0).clip(0)
    none = [name for name, one in zip(classes, high, strict=True) if not one]
    every = [name for name, one in zip(classes, low, strict=True) if one]
    if not none and not every:
        return []
    why = [f"no image carries {_named(none)}"] if none else []
    why += [f"every image carries {_named(every)}"] if every else []
    left = len(classes) - len(none) - len(every)
    said = f"In the {split} split {' and '.join(why)}"
    if left:
        return [f"{said}: its AUC is the mean of the other {left} of {len(classes)} labels."]
    so = f"no best epoch can be chosen, {LAST}" if split == "val" else "scores of it are empty"
    return [f"{said}: no AUC can be computed on it, and {so}."]


TOLD = {"class": _classes, "grade": _classes, "labels": _labels, "numbers": _numbers}


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + more
