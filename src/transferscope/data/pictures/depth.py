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
from transferscope.data.pictures.window import Window, kind_of

Depth = Literal[8, 16, "float"]
DTYPES = {8: "uint8", 16: "uint16", "float": "float32"}  # of the values that a table keeps
TOPS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}  # what the upper end of the window is kept as


def planes(image: Picture, scale: Scale, depth: Depth = 8) -> tuple[Image.Image, ...]:
    """What a table of `depth` is resized from: of 8 bits as by `decode.planes`, else floats of 0 to 1, a band each.

    Grey pictures have one band. OSError as `decode.to_rgb` raises it.
    """
    if depth == 8:
        return decode.planes(image, scale)
    values, window, inverted = _read(image, scale)
    bands = (np.ascontiguousarray(values[..., band]) for band in range(values.shape[2]))  # one by one: floats are large
    shares = (band / np.float32(255) if window is None else window.shares(band, inverted) for band in bands)
    return tuple(Image.fromarray(share.astype(np.float32)) for share in shares)


def _read(image: Picture, scale: Scale) -> tuple[np.ndarray, Window | None, bool]:
    """The values (height, width, bands) of a picture, the window to lay on them (None: 0 to 255), and whether the
    lowest is white."""
    window = scale.window
    if isinstance(image, Numbers):
        image = image.shown()
        image.check_kind(window)
        return image.values, window, image.inverted
    kind = kind_of(image)
    if kind == "8-bit":
        colours = np.asarray(decode.to_rgb(image, replace(scale, window=None)))
        return colours, window if window is not None and window.kind == "8-bit" else None, False
    if window is None or window.kind != kind:
        raise OSError(f"a {kind} picture in a target of {window.kind if window else '8-bit'} ones")
    return np.asarray(ImageOps.exif_transpose(image))[..., None], window, False


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
