"""A look at one picture before all are decoded: its kind, size and pages, and some of its values."""

from dataclasses import dataclass

import numpy as np

from transferscope.data.listing import Listing
from transferscope.data.pictures.decode import has_alpha, to_rgb, undeclared_band, wide_colour
from transferscope.data.pictures.numbers import FULL, Numbers
from transferscope.data.pictures.window import kind_of
from transferscope.errors import legible

VALUES = 50_000  # values kept of a picture: every so many, an odd number, so that no column is favoured
SHOWN = 64  # pixels a side that are kept of what an 8-bit picture becomes
HALF = 0.5


@dataclass(frozen=True)
class Look:
    """What opening one picture told. `side` is the shorter side in pixels, `ratio` the longer one over it; `values`
    are some of a picture with more than 8 bits, else none, and `shown` some of the 8-bit RGB that another one becomes;
    `full`, `own` and `inverted` as of `Numbers`; `top` the largest value of 16-bit colour, which is read by its upper 8
    bits."""

    kind: str = "8-bit"
    side: int = 0
    ratio: float = 1.0
    pages: int = 1
    values: np.ndarray | None = None
    shown: np.ndarray | None = None
    full: tuple[float, float] | None = None
    own: tuple[float, float] | None = None
    inverted: bool = False
    undeclared: bool = False  # a band beyond the colours that the file does not declare as alpha
    painted: bool = False  # most values of its alpha lie between clear and opaque: rather a band than transparency
    transparent: bool = False
    top: int | None = None
    failure: str = ""


def look_at(listing: Listing, row: int) -> Look:
    """What opening and decoding the picture of a row tells; whatever it raises is the `failure`."""
    try:
        image = listing.load(row)
        if isinstance(image, Numbers):
            return _of_numbers(image.shown())
        pages = getattr(image, "n_frames", 1)
        kind, wide = kind_of(image), wide_colour(image)
        undeclared, clear = undeclared_band(image), has_alpha(image)
        image.load()  # so that what is damaged is met here
        shown = None
        if kind == "8-bit":
            small = image.resize((min(SHOWN, image.width), min(SHOWN, image.height)), 0)
            shown = np.asarray(small.convert("RGB") if undeclared else to_rgb(small)).ravel()
    except Exception as error:  # whatever a loader or a damaged file raises
        return Look(failure=legible(f"{type(error).__name__}: {error}"))
    pixels = np.asarray(image) if kind != "8-bit" or wide or (clear and not undeclared) else np.zeros(0)
    alpha = pixels[..., 3] if image.mode == "RGBA" and pixels.size else np.zeros(0)
    return Look(
        kind=kind,
        side=min(image.size),
        ratio=max(image.size) / max(1, min(image.size)),
        pages=pages,
        values=_some(pixels) if kind != "8-bit" else None,
        shown=shown,
        full=FULL.get(kind),
        undeclared=undeclared,
        painted=bool(alpha.size) and float(np.mean((alpha > 0) & (alpha < 255))) > HALF,
        transparent=bool(alpha.size),
        top=int(pixels[..., : 1 if image.mode == "LA" else 3].max(initial=0)) if wide else None,
    )


def _of_numbers(picture: Numbers) -> Look:
    plain = picture.kind == "8-bit"
    return Look(
        kind=picture.kind,
        side=min(picture.size),
        ratio=max(picture.size) / min(picture.size),
        pages=picture.pages,
        values=None if plain else _some(picture.values),
        shown=_some(picture.values) if plain else None,
        full=picture.full,
        own=picture.own,
        inverted=picture.inverted,
        undeclared=picture.left > 0,
    )


def _some(values: np.ndarray) -> np.ndarray:
    return values.ravel()[:: values.size // VALUES | 1].copy()
