"""Exposure: which values of a target's pictures become black and white, and whether they would come out dark."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transferscope.data.pictures.depth import Depth
from transferscope.data.pictures.look import Look
from transferscope.data.pictures.window import WORDS, How, Window, markers, window_asked, window_of

MOST = 0.99  # of the values: where they lie in the lowest tenth of what is read, pictures are dark
TENTH = 25.5  # of the 255 levels
UPPER: dict[Depth, str] = {8: "255", 16: "65535", "float": "1"}  # what the end of a window is kept as


@dataclass(frozen=True)
class Exposure:
    """The window of a target (None: 8 bits are read as they are) and sentences about it; `finite` are the values of
    its deep pictures that are numbers, picture by picture, `empty` those that stand for "no data". `values` says what
    was found, `dark` why the study should say a window; each may be empty."""

    window: Window | None
    said: tuple[str, ...]
    finite: tuple[np.ndarray, ...]
    empty: tuple[float, ...]
    values: str
    dark: str


def exposure_of(seen: Sequence[Look], deep: str | None, asked: How | None, where: str, depth: Depth = 8) -> Exposure:
    """How the pictures of the target `where` are exposed: `deep` is the kind of those with more than 8 bits, None
    where there are none, `asked` the window that the study says, `depth` that of the table. A pure function of what was
    seen."""
    kind = "8-bit" if deep is None and asked is not None else deep
    finite = tuple(_finite(look.values) for look in seen if look.values is not None)
    plain = [look.shown for look in seen if look.shown is not None and kind == "8-bit"]
    pooled = np.concatenate([*finite, *plain, np.zeros(0)])
    empty = markers(pooled) if deep else ()
    kept = pooled[~np.isin(pooled, empty)]
    window, values = None, ""
    said: tuple[str, ...] = ()
    if kind is not None:
        window, said = _window(kind, kept, [look for look in seen if look.kind == kind], asked, len(seen), UPPER[depth])
        if len(kept):
            values = f"{kind} values from {kept.min():.6g} to {kept.max():.6g} in {len(seen):,} pictures looked at"
    if not _is_dark(seen, window, empty):
        return Exposure(window, said, finite, empty, values, "")
    span = f"{window.low:.6g} to {window.high:.6g}" if window else "0 to 255"
    told = f"99% of the values of {len(seen):,} pictures looked at of '{where}' lie in the lowest tenth of {span}"
    if asked is not None:
        return Exposure(window, (*said, f"{told}, the window that the study says."), finite, empty, values, "")
    why = (
        f"{told}, so that they would be trained nearly black; set the target's window to percentile to spread what is "
        "there, or to full if they are meant so."
    )
    return Exposure(window, said, finite, empty, values, why)


def _window(
    kind: str, values: np.ndarray, seen: Sequence[Look], asked: How | None, looked: int, top: str
) -> tuple[Window, tuple[str, ...]]:
    """The window for `values` (n,) of pictures of one kind, kept as 0 to `top`, and what is said of it."""
    full = [look.full for look in seen]
    whole = (
        None if None in full or not full else (min(one[0] for one in full if one), max(one[1] for one in full if one))
    )
    if asked is not None:
        window = window_asked(asked, kind, values, whole)
        out = float(np.mean((values < window.low) | (values > window.high))) if len(values) else 0.0
        how = asked if isinstance(asked, str) else f"[{asked[0]:g}, {asked[1]:g}]"
        return window, (
            f"Values {window.low:.6g} to {window.high:.6g} of the {WORDS[kind]} are spread to 0..{top}, as the study's "
            f"window says ({how}); {out:.1%} of those in {looked:,} pictures looked at lie outside.",
        )
    own = {look.own for look in seen}
    if len(own) == 1 and (one := own.pop()) is not None:
        return Window(kind, *one), (
            f"Values {one[0]:.6g} to {one[1]:.6g} are spread to 0..{top}: the window that all of {len(seen):,} DICOM "
            "files looked at carry.",
        )
    window = window_of(kind, values)
    apart = () if len(own) < 2 else (f"The DICOM files carry {len(own):,} windows of their own; none is used.",)
    return window, (window.said(looked, top), *apart)


def _is_dark(seen: Sequence[Look], window: Window | None, empty: Sequence[float]) -> bool:
    """Do 99% of the values that are shown lie in the lowest tenth?"""
    levels = []
    for look in seen:
        values = look.shown if look.values is None else look.values[~np.isin(look.values, empty)]
        deep = window is not None and window.kind == look.kind
        if values is not None and len(values):
            levels.append(window.bytes(values, look.inverted) if window and deep else values)
    return bool(levels) and float(np.quantile(np.concatenate(levels), MOST)) < TENTH


def _finite(values: np.ndarray) -> np.ndarray:
    exact = values.astype(np.float64)
    return exact[np.isfinite(exact)]
