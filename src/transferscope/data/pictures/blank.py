"""Pictures that are nearly one colour after decoding: a few are said, a target of them is refused."""

from contextlib import suppress

import numpy as np

from transferscope.data.listing import Listing
from transferscope.data.phrases import listed
from transferscope.data.pictures.decode import covered
from transferscope.data.pictures.depth import planes, squares
from transferscope.data.pictures.survey import Survey, chosen
from transferscope.errors import UserError

# A picture whose channels all span less shows nothing: 8 of 256 grey values, where more are kept 8 of 65,536.
SPANS = {"uint8": 8.0, "uint16": 8.0, "float32": 8 / 65535}
FEW = 0.01  # of the pictures: more blank ones are said
MOST = 0.9  # of the pictures: with so many blank ones there is nothing to learn from
TRIED = 50  # pictures decoded by a check


def is_blank(pixels: np.ndarray) -> bool:
    """Are the pixels (S, S, channels), as a table keeps them, nearly one colour?"""
    flat = pixels.reshape(-1, pixels.shape[-1])
    return bool((flat.max(axis=0).astype(float) - flat.min(axis=0)).max() < SPANS[str(pixels.dtype)])


def blank_note(names: list[str], looked: int, where: str) -> tuple[str, ...]:
    """A sentence about the blank ones among `looked` pictures of a target, none when they are few.

    UserError when nearly all are blank.
    """
    share = len(names) / max(looked, 1)
    if share > MOST:
        raise UserError(
            f"{len(names):,} of {looked:,} pictures of '{where}' are nearly one colour once decoded (such as "
            f"{listed(names[:2])}), so there is nothing to learn from; look at them, and at their range of grey values."
        )
    if share <= FEW:
        return ()
    return (
        f"{len(names):,} of {looked:,} pictures ({share:.0%}) are nearly one colour once decoded: {listed(names)}.",
    )


def try_out(listing: Listing, found: Survey, side: int, interpolation: str, fit: str = "crop") -> tuple[str, ...]:
    """Decode some pictures of a surveyed listing to squares of `side` pixels; sentences about those that are blank."""
    failed = {row for row, _ in found.failures}
    rows = [int(row) for row in chosen(listing.names, TRIED) if int(row) not in failed]
    blank, tried, depth = [], 0, listing.depth
    for row in rows:
        with suppress(Exception):  # pictures that cannot be decoded are the ingest step's to count
            tried += 1
            image = planes(listing.load(row), found.scale, depth)
            cut = squares(image, side, interpolation, 1.0, fit, depth, channels=3)
            if is_blank(cut[covered(image[0].size, side, fit=fit)]):
                blank.append(listing.names[row])
    return blank_note(blank, tried, listing.where)
