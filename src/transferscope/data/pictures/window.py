"""One scale for all grey values of a target whose pictures have more than 8 bits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from transferscope.errors import UserError

KINDS = {"16-bit": 65535.0, "32-bit": 65535.0, "float": 1.0, "DICOM": 65535.0}  # of pictures with more than 8 bits
ROUND = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # tops of 8, 10, 12, 14 and 16 bits; of floats 1 as well
TAIL = 0.001  # of the values at either end may be clipped where no round range fits
LEVELS = 16  # different values; with fewer a picture is a mask
NARROW = 0.1  # of a window
USED = 0.5  # of a round range that the values must span, for it to be taken
ASKED_TAIL = 0.01  # of the values at either end that `window: percentile` clips
WORDS = {
    "8-bit": "8-bit pictures",
    "16-bit": "16-bit pictures",
    "32-bit": "32-bit pictures",
    "float": "floating-point pictures",
    "DICOM": "DICOM files",
}
How = Literal["full", "percentile"] | tuple[float, float]


@dataclass(frozen=True)
class Window:
    """Values `low` to `high` of pictures of one kind ('8-bit', '16-bit', '32-bit' integers, 'float' or 'DICOM') spread
    to 0..255."""

    kind: str
    low: float
    high: float

    def bytes(self, values: np.ndarray, inverted: bool = False) -> np.ndarray:
        """uint8 of any shape: 255 (v - low) / (high - low), rounded and clipped, or 255 less that; NaN is black."""
        scaled: np.ndarray = np.rint(self.shares(values, inverted) * 255.0).astype(np.uint8)
        return scaled

    def shares(self, values: np.ndarray, inverted: bool = False) -> np.ndarray:
        """float64 of any shape: (v - low) / (high - low), clipped to 0..1, or 1 less that; NaN is 0."""
        exact = np.asarray(values, dtype=np.float64)
        share = np.clip((exact - self.low) / (self.high - self.low), 0.0, 1.0)
        share = 1.0 - share if inverted else share
        return np.nan_to_num(share, nan=0.0)

    def said(self, looked: int, top: str = "255") -> str:
        """The sentence about it; `looked` pictures were looked at to find it, and its upper end is kept as `top`."""
        low, high = (f"{value:.6g}" for value in (self.low, self.high))
        use = (self.high - self.low) / 65535.0
        part = f" ({max(use, 0.001):.1%} of the 16-bit range)" if self.kind == "16-bit" and use < 1 else ""
        clipped = "" if self.low == 0 and self.high in (1.0, *ROUND) else f"; {TAIL:.1%} at either end are clipped"
        return (
            f"Grey values {low} to {high}{part} of the {WORDS[self.kind]} are spread to 0..{top}, alike in all of "
            f"them, as found in {looked:,} pictures spread over the target{clipped}."
        )


def kind_of(image: Image.Image) -> str:
    """'8-bit', or a kind of `KINDS`; only the header is read."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return "16-bit"
    return {"I": "32-bit", "F": "float"}.get(image.mode, "8-bit")


def markers(values: np.ndarray) -> tuple[float, ...]:
    """Values, other than 0, that stand for "no data" among finite `values` (n,): -9999, 65535 and the like.

    The least and the greatest value are, when more than 0.1% of all are equal to it and it lies farther from the values
    between these two than those spread; they must take more than 16 different values, so that masks have no marker.
    """
    ends = (float(values.min(initial=0.0)), float(values.max(initial=0.0)))
    core = values[(values != ends[0]) & (values != ends[1])]
    if len(np.unique(core)) <= LEVELS:
        return ()
    low, high = float(core.min()), float(core.max())
    return tuple(
        end
        for end, far in ((ends[0], low - ends[0]), (ends[1], ends[1] - high))
        if end != 0 and far > high - low and np.count_nonzero(values == end) > TAIL * len(values)
    )


def window_of(kind: str, values: np.ndarray) -> Window:
    """The window of a kind for finite values (n,) of several pictures, without markers.

    Where 0.1% to 99.9% of the values lie within 0 and a round top (255, 1023, 4095, 16383 or 65535; of floats 1 first)
    and span more than half of it, the smallest such range; otherwise these two percentiles.
    """
    if not len(values):
        return Window(kind, 0.0, KINDS[kind])
    low, high = _span(values)
    for top in (1.0, *ROUND) if kind == "float" else ROUND:
        if low >= 0.0 and high <= top:
            if high - low > USED * top:
                return Window(kind, 0.0, top)
            break
    return Window(kind, low, high if high > low else low + 1.0)


def window_asked(how: How, kind: str, values: np.ndarray, full: tuple[float, float] | None) -> Window:
    """The window that a study says, for finite values (n,) of several pictures, without markers.

    "full" is what the files can hold (`full`; None: all that is found), "percentile" 1% to 99% of the values; else the
    two ends themselves.
    """
    if how == "full":
        low, high = full or (float(values.min(initial=np.inf)), float(values.max(initial=-np.inf)))
    elif how == "percentile":
        low, high = map(float, np.quantile(values, (ASKED_TAIL, 1 - ASKED_TAIL))) if len(values) else (0.0, 1.0)
    else:
        low, high = how
    if not low < high:
        low, high = (low, low + 1.0) if np.isfinite(low) else (0.0, 1.0)
    return Window(kind, float(low), float(high))


def narrow(window: Window, values: np.ndarray) -> bool:
    """Do the finite values (n,) of one picture use so little of the window that it comes out nearly uniform?"""
    low, high = _span(np.clip(values, window.low, window.high)) if len(values) else (0.0, 0.0)
    return high - low < NARROW * (window.high - window.low)


def _span(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (TAIL, 1 - TAIL))
    return float(low), float(high)


def one_kind(kinds: Sequence[str], where: str) -> str | None:
    """The kind of the deep pictures of a target, None where all have 8 bits.

    8-bit and 16-bit pictures may lie side by side, each scaled from a range of its own; 32-bit integers and floats have
    no range that another kind could share: UserError.
    """
    deep = sorted(set(kinds) - {"8-bit"})
    if len(deep) > 1 or (deep and deep[0] != "16-bit" and "8-bit" in kinds):
        counts = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in sorted(set(kinds)))
        raise UserError(
            f"'{where}' mixes pictures whose grey values have no common scale ({counts} of {len(kinds):,} looked at); "
            "convert them to one kind."
        )
    return deep[0] if deep else None
