"""The depth of a table: pictures kept as 8 bits a band, as 16, or as floats, of which all but the first keep fractions.

Deeper pictures are resized as floats, shares of their window from 0 to 1, and rounded once, when they are kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from transferscope.data.pictures import decode
from transferscope.data.pictures.decode import Scale
from transferscope.data.pictures.numbers import Numbers, Picture
from transferscope.data.pictures.window import kind_of

Depth = Literal[8, 16, "float"]
DTYPES = {8: "uint8", 16: "uint16", "float": "float32"}  # of the values that a table keeps
TOPS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}  # what the upper end of the window is kept as


def planes(image: Picture, scale: Scale, depth: Depth = 8) -> tuple[Image.Image, ...]:
    """What a table of `depth` is resized from: of 8 bits as by `decode.planes`, else floats of 0 to 1, a band each.

    Grey pictures have one band. OSError as `decode.to_rgb` raises it.
    """
    if depth == 8:
        return decode.planes(image, scale)
    shares = _shares(image, scale).astype(np.float32)
    return tuple(Image.fromarray(np.ascontiguousarray(shares[..., band])) for band in range(shares.shape[2]))


def _shares(image: Picture, scale: Scale) -> np.ndarray:
    """A picture as float64 (height, width, bands), 0 where its window begins and 1 where it ends."""
    window = scale.window
    if isinstance(image, Numbers):
        return image.shown().shares(window)
    kind = kind_of(image)
    if kind != "8-bit":
        if window is None or window.kind != kind:
            raise OSError(f"a {kind} picture in a target of {window.kind if window else '8-bit'} ones")
        return window.shares(np.asarray(ImageOps.exif_transpose(image)))[..., None]
    colours = np.asarray(decode.to_rgb(image, replace(scale, window=None)))
    return window.shares(colours) if window is not None and window.kind == "8-bit" else colours / 255.0


def squares(
    planes: Sequence[Image.Image], size: int, interpolation: str, crop: float, fit: str, depth: Depth, channels: int
) -> np.ndarray:
    """The squares of some planes as a table of `depth` keeps them, (size, size, channels) of its `DTYPES`."""
    if depth == 8:
        return decode.squares(planes, size, interpolation, crop, fit)
    found = decode.squares(planes, size, interpolation, crop, fit)
    shares = found if found.ndim == 3 else np.repeat(found[..., None], channels, axis=2)  # grey
    inside = np.clip(shares, 0.0, 1.0)  # what filters with negative lobes add is cut off
    kept: np.ndarray = inside if depth == "float" else np.rint(inside.astype(np.float64) * TOPS["uint16"])
    return kept.astype(DTYPES[depth])


def shown(pixels: np.ndarray) -> np.ndarray:
    """Kept values of any depth for a reader: uint8 of the same shape, rounded."""
    if pixels.dtype == np.uint8:
        return pixels
    levels: np.ndarray = np.rint(pixels.astype(np.float64) * (255.0 / TOPS[str(pixels.dtype)])).astype(np.uint8)
    return levels
