"""What a target asks of networks besides its labels: that they are grades, by what it judges, what training lowers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from transferscope import answers
from transferscope.data.listing import Listing
from transferscope.errors import UserError


def asked_for(listing: Listing, asked: Mapping[str, Any]) -> Listing:
    """The listing with what its target asks for (`task`, `metric`, `loss`). UserError where it does not fit the labels.

    Grades come in the order of their numbers.
    """
    task, metric, loss = (asked.get(name) for name in ("task", "metric", "loss"))
    if task == "ordinal":
        listing = _graded(listing)
    if metric:
        answers.judges(metric, listing.kind, len(listing.classes))
    if loss and listing.kind != "numbers":
        raise UserError(f"loss: '{loss}' is for numbers (task: regression), and '{listing.where}' has none; remove it.")
    if unknown := int((listing.labels < 0).sum()) if listing.labels.dtype == np.int8 else 0:
        said = f"{unknown:,} labels are not known and left out of losses and scores."
        listing = replace(listing, notes=(*listing.notes, said))
    return replace(listing, task=task, metric=metric or "", loss=loss or "")


def _graded(listing: Listing) -> Listing:
    """The classes as grades: whole numbers in ascending order. UserError for other classes and several labels."""
    where = listing.where
    if listing.labels.ndim != 1:
        raise UserError(f"task: ordinal is for one grade an image, and '{where}' has several labels; remove it.")
    try:
        grades = [int(name) for name in listing.classes]
    except ValueError:
        odd = next(name for name in listing.classes if not name.lstrip("-").isdigit())
        raise UserError(
            f"task: ordinal is for whole numbers, and '{where}' has the class '{odd}'; remove it."
        ) from None
    order = np.argsort(grades, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ranked = [grades[i] for i in order]
    said = f"Classes are grades, from {ranked[0]} to {ranked[-1]}"
    absent = sorted(set(range(ranked[0], ranked[-1] + 1)) - set(ranked))
    said += f"; no example has {absent[0]}, so that its neighbours count as one grade apart." if absent else "."
    names = tuple(listing.classes[i] for i in order)
    return replace(listing, task="ordinal", classes=names, labels=place[listing.labels], notes=(*listing.notes, said))
