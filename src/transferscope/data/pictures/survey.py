"""A look at some pictures of a target before all are decoded: their kinds, their scale, what a reader should know."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from transferscope.data.listing import Listing
from transferscope.data.names import kind_of as ending_of
from transferscope.data.pictures.decode import Scale
from transferscope.data.pictures.exposure import Exposure, exposure_of
from transferscope.data.pictures.look import HALF, Look, look_at
from transferscope.data.pictures.window import narrow, one_kind
from transferscope.errors import UserError

LOOKED = 100  # pictures, spread evenly over the target; one of every file ending besides
THREADS = 4
FEW = 0.05  # of the pictures looked at: more that hardly use the scale are said
OBLONG = 1.3  # longer over shorter side: where half of the pictures exceed it, what is cropped is said
UNREADABLE = 0.01  # of the images: more than this is refused
SURELY = 0.1  # of the images looked at: with so many unreadable, the share of all is surely more than that


@dataclass(frozen=True)
class Survey:
    """The scale of a target and sentences about its pictures; `sides` are shorter sides in pixels, `failures` (index,
    reason) of pictures that could not be opened or decoded, `looked` how many were looked at. `values` says what there
    is beyond 8 bits, and `dark` why pictures would be trained nearly black; each may be empty."""

    scale: Scale
    notes: tuple[str, ...]
    sides: tuple[int, ...]
    failures: tuple[tuple[int, str], ...]
    looked: int
    values: str = ""
    dark: str = ""


def chosen(names: Sequence[str], count: int = LOOKED) -> np.ndarray:
    """Which pictures to look at, increasing: `count` spread evenly over the names, and the first of every ending."""
    first: dict[str, int] = {}
    for place, name in enumerate(names):
        first.setdefault(ending_of(name.rpartition("/")[2]), place)
    spread = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(np.int64)
    return np.unique(np.concatenate([spread, np.fromiter(first.values(), dtype=np.int64)]))


def survey(listing: Listing, fit: str = "crop") -> Survey:
    """Look at the pictures of a listing: a pure function of them, so that every machine finds the same scale.

    `fit` is how they will become squares (`decode.square`): what a crop drops is said.

    UserError for kinds of pictures that have no common scale.
    """
    rows = chosen(listing.names)
    with ThreadPoolExecutor(THREADS) as pool:
        looks = list(pool.map(lambda row: look_at(listing, int(row)), rows))
    seen = [look for look in looks if not look.failure]
    kind = one_kind([look.kind for look in seen], listing.where)
    found = exposure_of(seen, kind, listing.window, listing.where, listing.depth)
    dark = _dark_colour([look.top for look in seen if look.top is not None], listing.where) or found.dark
    painted = sum(look.painted for look in seen)
    scale = Scale(found.window, alpha=painted <= HALF * sum(look.transparent for look in seen))
    failures = tuple((int(row), look.failure) for row, look in zip(rows, looks, strict=True) if look.failure)
    said = [*_grey_notes(seen, found), *_notes(seen, scale), *(_cropped(seen) if fit == "crop" else ())]
    sides = tuple(look.side for look in seen)
    return Survey(scale, tuple(said), sides, failures, len(rows), found.values, dark)


def refuse_dark(found: Survey) -> None:
    """UserError where pictures would be trained nearly black without a word of the study's."""
    if found.dark:
        raise UserError(found.dark)


def refuse_unreadable(failed: Sequence[tuple[str, str]], n: int, what: str) -> None:
    """UserError when more than 1% of `n` images cannot be read: `failed` are their names and why, `what` says whose."""
    if len(failed) > UNREADABLE * n:
        first = ", ".join(f"'{name}' ({reason})" for name, reason in failed[:3]) + (", ..." if len(failed) > 3 else "")
        raise UserError(f"{len(failed):,} of {n:,} {what} (more than 1%) cannot be read: {first}; mend or remove them.")


def unreadable(found: Survey, listing: Listing) -> tuple[str, ...]:
    """A sentence about images that could not be read in a survey; UserError where decoding all would be refused."""
    failed = [(listing.names[row], reason) for row, reason in found.failures]
    refuse_unreadable(failed, len(listing.names), f"images of '{listing.where}'")
    if len(failed) > SURELY * found.looked:
        refuse_unreadable(failed, found.looked, f"images looked at of '{listing.where}'")
    if not failed:
        return ()
    name, reason = failed[0]
    return (f"{len(failed):,} of {found.looked:,} images looked at cannot be read, such as '{name}' ({reason}).",)


def _dark_colour(tops: Sequence[int], where: str) -> str:
    """Why 16-bit colour that uses none of its upper half would come out dark; nothing of other pictures."""
    if not tops or max(tops) >= 128:
        return ""
    return (
        f"The 16-bit colour pictures of '{where}' use values up to {max(tops) * 256 + 255:,} of 65,535 only, and are "
        "read by their upper 8 bits, so they would come out dark; save them with 8 bits a channel, or as TIFF and set "
        "the target's window to percentile."
    )


def _grey_notes(seen: Sequence[Look], found: Exposure) -> Iterator[str]:
    """How pictures of more than 8 bits are read, or those whose window the study says."""
    if found.window is None:
        return
    n, deep = len(seen), [look.values for look in seen if look.values is not None]
    yield from found.said
    if found.empty:
        marks = " and ".join(f"{value:.6g}" for value in found.empty)
        yield f"The value {marks}, far from all others, is taken for 'no data' and left out of that scale."
    kinds = Counter(look.kind for look in seen)
    if len(kinds) > 1:
        counts = " and ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        yield f"Pictures of two depths lie side by side ({counts} of {n:,} looked at), each with its own scale."
    if holed := sum(len(finite) < len(values) for values, finite in zip(deep, found.finite, strict=True)):
        yield f"{holed:,} of {n:,} pictures looked at hold numbers that are not finite: NaN is read as black."
    few = sum(narrow(found.window, values[~np.isin(values, found.empty)]) for values in found.finite)
    if few > FEW * n:
        yield (
            f"{few:,} of {n:,} pictures looked at use less than a tenth of that scale and come out nearly uniform: "
            "were they stored with another one?"
        )


def _notes(seen: Sequence[Look], scale: Scale) -> list[str]:
    """Pages, bands and transparency."""
    said = []
    n = len(seen)
    if pages := [look.pages for look in seen if look.pages > 1]:
        said.append(
            f"{len(pages):,} of {n:,} pictures looked at have several pages or frames (up to {max(pages):,}); only the "
            "first is read."
        )
    if undeclared := sum(look.undeclared for look in seen):
        said.append(f"{undeclared:,} of {n:,} pictures looked at have a band beyond the colours; it is left out.")
    if not scale.alpha:
        count = sum(look.painted for look in seen)
        said.append(
            f"The fourth band of {count:,} of {n:,} pictures looked at varies like a picture: it is taken for a band, "
            "not for transparency, and left out of all."
        )
    return said


def _cropped(seen: Sequence[Look]) -> Iterator[str]:
    """How much the centre square leaves out, where pictures are far from square."""
    ratio = float(np.median([look.ratio for look in seen])) if seen else 1.0
    if ratio > OBLONG:
        yield (
            f"The longer side is {ratio:.2f} times the shorter in the median of {len(seen):,} pictures looked at, of "
            f"which the centre square leaves out {1 - 1 / ratio:.0%}: 'recipe.fit: pad' keeps all on black, 'stretch' "
            "resizes each side by itself."
        )
