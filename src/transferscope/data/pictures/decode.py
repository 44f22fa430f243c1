"""Image files of every kind to one kind of pixels: upright 8-bit RGB, and squares cut from it."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from transferscope.data.pictures import numbers
from transferscope.data.pictures.numbers import MAX_PIXELS, Numbers, Picture
from transferscope.data.pictures.window import Window, kind_of
from transferscope.errors import UserError, did_you_mean

EXTRA_SAMPLES = 338  # the TIFF tag that says what bands beyond the colours are
SAMPLE_FORMAT = 339

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
FITS = ("crop", "pad", "stretch")  # how a picture with unequal sides becomes a square
# (where, the bytes there, what such a file is): what is met under the names of pictures
KNOWN = (
    (0, b"version https://git-lfs", "a git-lfs pointer; fetch the picture with 'git lfs pull'"),
    (4, b"ftyphei", "a HEIC file; convert it to JPEG or PNG"),
    (4, b"ftypmif1", "a HEIC file; convert it to JPEG or PNG"),
    (0, b"%PDF", "a PDF file"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
)
TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class ImageFiles:
    """The loader of a listing whose images are files: `load(i)` opens `paths[i]`, the rest is as in `open_image`."""

    paths: tuple[str, ...]
    exact: bool = False
    stacked: bool = False

    def __call__(self, index: int) -> Picture:
        return open_image(Path(self.paths[index]), self.exact, self.stacked)


@dataclass(frozen=True)
class Picked:
    """The loader of some bands, counted from 0, of what another one opens."""

    load: Callable[[int], Picture]
    channels: tuple[int, ...]

    def __call__(self, index: int) -> Numbers:
        return numbers.picked(self.load(index), self.channels)


@dataclass(frozen=True)
class Scale:
    """How the pictures of one target become 8-bit RGB: the window of those with more bits (None: there are none), and
    whether a fourth band declared as alpha is transparency; else it is left out."""

    window: Window | None = None
    alpha: bool = True


AS_IT_IS = Scale()


def open_image(path: Path, exact: bool = False, stacked: bool = False) -> Picture:
    """The picture of a file: as Pillow opens it, pixels not decoded yet, or `Numbers`; no file stays open.

    With `exact` colour of 16 bits and bands beyond three are read as they are stored, where Pillow gives 8 bits and
    leaves them out; with `stacked` the pages of a TIFF are bands. Raises OSError, or what Pillow raises.
    """
    return decoded(path.read_bytes(), exact, stacked)


def decoded(content: bytes, exact: bool = False, stacked: bool = False) -> Picture:
    """`open_image` of the bytes of a file."""
    if not content:
        raise OSError("the file is empty")
    if read := numbers.reader(content):
        return read(content)
    tiff = content.startswith(TIFFS)
    try:
        image = _refuse_bomb(Image.open(io.BytesIO(content)))
    except UnidentifiedImageError:
        if tiff:
            return numbers.of_tiff(content, stacked)
        found = (what for start, mark, what in KNOWN if content[start : start + len(mark)].lower() == mark.lower())
        raise OSError(next(found, "not an image of a known kind")) from None
    signed = kind_of(image) == "8-bit" and _tag(image, SAMPLE_FORMAT) == 2
    more = signed or undeclared_band(image) or getattr(image, "n_frames", 1) > 1
    if tiff and ((stacked and more) or (exact and wide_colour(image))):
        return numbers.of_tiff(content, stacked)
    if exact and wide_colour(image):
        raise OSError(
            "16-bit colour of which Pillow reads the upper 8 bits, so no window or depth fits; save it as TIFF"
        )
    return image


def to_rgb(image: Picture, scale: Scale = AS_IT_IS) -> Image.Image:
    """`image` as an upright 8-bit RGB image, by the scale of its target.

    - The EXIF orientation is applied; of an animation or a file of several pages the first is taken.
    - Transparency (RGBA, LA, transparent palette entries) is composited on white, unless the scale says that the
      fourth band is none; a band beyond the colours that a TIFF does not declare as alpha is left out.
    - Grey pictures of 16 bits, 32-bit integers and floats, and `Numbers`, are spread by the scale's window; without a
      window for their kind they raise OSError. 16-bit colour that Pillow opened is read by its upper 8 bits.
    - A window of the kind '8-bit' is laid on the RGB that the others become.
    - An image of more than `MAX_PIXELS` pixels raises PIL.Image.DecompressionBombError before it is decoded; a
      truncated one raises OSError.
    """
    if isinstance(image, Numbers):
        return image.shown().rgb(scale.window)
    if scale.window is not None and scale.window.kind == "8-bit":
        whole = to_rgb(image, replace(scale, window=None))
        return Image.fromarray(scale.window.bytes(np.asarray(whole)))
    kind, undeclared = kind_of(_refuse_bomb(image)), undeclared_band(image)
    if _tag(image, SAMPLE_FORMAT) == 2 and kind == "8-bit":
        raise OSError("a TIFF of signed 8-bit numbers is not read; save it as unsigned ones")
    image = ImageOps.exif_transpose(image)
    if kind != "8-bit":
        window = scale.window
        if window is None or window.kind != kind:
            raise OSError(f"a {kind} picture in a target of {window.kind if window else '8-bit'} ones")
        return Image.fromarray(window.bytes(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _from_lab()) or image
    if has_alpha(image):
        if undeclared or (image.mode == "RGBA" and not scale.alpha):
            return image.convert("RGB")  # Pillow drops the fourth band
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def planes(image: Picture, scale: Scale = AS_IT_IS) -> tuple[Image.Image, ...]:
    """What a table keeps of a picture: one image as of `to_rgb`, or of two or more than three bands a grey one each."""
    if not isinstance(image, Numbers) or (image := image.shown()).values.shape[2] in (1, 3):
        return (to_rgb(image, scale),)
    shown = image.bytes(scale.window)
    return tuple(Image.fromarray(np.ascontiguousarray(shown[..., band])) for band in range(shown.shape[2]))


def squares(
    planes: Sequence[Image.Image], size: int, interpolation: str, crop: float = 1.0, fit: str = "crop"
) -> np.ndarray:
    """The `square` of every one of some planes, (size, size, channels) of their type; of a single grey one without the
    channels."""
    cut = [square(plane, size, interpolation, crop, fit) for plane in planes]
    return cut[0] if len(cut) == 1 else np.stack(cut, axis=2)


def has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def wide_colour(image: Image.Image) -> bool:
    """Is it colour (or grey with alpha) of 16 bits, which Pillow reads by its upper 8?"""
    tiles = getattr(image, "tile", [])  # what files that are not loaded yet have
    return image.mode in ("RGB", "RGBA", "LA", "CMYK") and bool(tiles) and ";16" in str(tiles[0][3])


def undeclared_band(image: Image.Image) -> bool:
    """Has the image, a TIFF, a band beyond the colours that is not declared as alpha?"""
    if image.format != "TIFF":
        return False
    return _tag(image, EXTRA_SAMPLES) == 0 or (image.mode == "RGBA" and _tag(image, EXTRA_SAMPLES) is None)


def square(image: Image.Image, size: int, interpolation: str, crop: float = 1.0, fit: str = "crop") -> np.ndarray:
    """The centre of an image, a share `crop` (0 to 1] of its sides, as uint8 (size, size, 3), or (size, size) of grey,
    which may be float32.

    One antialiased resize straight from `image`, without rounding in between. `fit` says what becomes of unequal sides:

    - crop: the square in the centre, its side `crop` of the shorter side: the same as resizing the shorter side to
      `size` / `crop` and cropping `size` from the centre.
    - pad: a square with `crop` of the longer side, in whose centre the image lies on black, its ratio kept to a pixel.
    - stretch: `crop` of each side, each resized by a factor of its own.
    """
    if interpolation not in INTERPOLATIONS:
        hint = did_you_mean(interpolation, tuple(INTERPOLATIONS))
        raise UserError(f"Unknown interpolation '{interpolation}'; {hint}")
    if fit not in FITS:
        raise UserError(f"Unknown fit '{fit}'; {did_you_mean(fit, FITS)}")
    shown = _shown(image.size, crop, fit)
    left, top = (image.width - shown[0]) / 2, (image.height - shown[1]) / 2
    box = (left, top, left + shown[0], top + shown[1])
    if fit != "pad":
        return np.asarray(image.resize((size, size), INTERPOLATIONS[interpolation], box=box))
    rows, columns = covered(image.size, size, crop, fit)
    inner = (columns.stop - columns.start, rows.stop - rows.start)
    resized = np.asarray(image.resize(inner, INTERPOLATIONS[interpolation], box=box))
    out = np.zeros((size, size, *resized.shape[2:]), dtype=resized.dtype)
    out[rows, columns] = resized
    return out


def covered(sides: tuple[int, int], size: int, crop: float = 1.0, fit: str = "crop") -> tuple[slice, slice]:
    """The rows and columns of a `square` that an image of `sides` (width, height) covers: all unless it is padded."""
    if fit != "pad":
        return slice(0, size), slice(0, size)
    whole = max(sides) * crop
    columns, rows = (max(1, round(side / whole * size)) for side in _shown(sides, crop, fit))
    top, left = round((size - rows) / 2), round((size - columns) / 2)
    return slice(top, top + rows), slice(left, left + columns)


def _shown(sides: tuple[int, int], crop: float, fit: str) -> tuple[float, float]:
    """Width and height, in pixels of an image with `sides`, of the part around its centre that a `square` shows."""
    if fit == "stretch":
        return sides[0] * crop, sides[1] * crop
    most = (max if fit == "pad" else min)(sides) * crop
    return min(sides[0], most), min(sides[1], most)


def _refuse_bomb(image: Image.Image) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError(
            f"{image.width} x {image.height} pixels are more than the limit of {MAX_PIXELS}"
        )
    return image


def _tag(image: Image.Image, number: int) -> Any:
    """The first value of a TIFF tag; None without it, and for other files."""
    value = getattr(image, "tag_v2", {}).get(number)
    return value[0] if isinstance(value, tuple) and value else value


@cache
def _from_lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
