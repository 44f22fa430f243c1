"""What a first study asks of networks: classes, or numbers where what was taken for the label measures something."""

from pathlib import Path

from transferscope import data
from transferscope.data.listing import Measured
from transferscope.data.sheets.numbers import measures

ORDINAL = "Classes are taken for grades, as was said: kappa judges them, by how far apart they are."


def opened(target: data.Target, beside: Path) -> tuple[data.Target, data.Listing, list[str]]:
    """The target of a study to be saved in `beside`, its listing, and what to say of its task.

    Without a task it is regression where the labels are numbers that measure. UserError where it cannot be opened.
    """
    try:
        listing = _open(target, beside)
    except Measured:
        return _numbers(target, beside)
    classes, n = listing.classes, len(listing.names)
    if target.task is None and listing.kind == "class" and listing.holds == "arrays" and measures(classes, n):
        return _numbers(target, beside)
    return target, listing, [ORDINAL] if target.task == "ordinal" else []


def _numbers(target: data.Target, beside: Path) -> tuple[data.Target, data.Listing, list[str]]:
    target = target.model_copy(update={"task": "regression"})
    listing = _open(target, beside)
    names = ", ".join(f"'{name}'" for name in listing.classes[:6])
    return (
        target,
        listing,
        [
            f"{names} hold{'s' if len(listing.classes) == 1 else ''} numbers with many values, which are predicted "
            "(task: regression, judged by R²); if they name classes, say so with columns.label or words in the file."
        ],
    )


def _open(target: data.Target, beside: Path) -> data.Listing:
    return data.open_listing(data.absolute(target.reference, beside.absolute()))
