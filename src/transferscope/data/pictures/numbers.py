"""Pictures kept as numbers: numpy arrays, DICOM files, and the TIFFs that Pillow does not read or reads by 8 bits."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from transferscope import extras
from transferscope.data.pictures.window import Window, kind_of
from transferscope.errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_PIXELS = 89_478_485  # a quarter of a GiB as RGB: where Pillow starts to warn of decompression bombs
Span = tuple[float, float]
FULL: dict[str, Span] = {"8-bit": (0.0, 255.0), "16-bit": (0.0, 65535.0)}  # what values of a kind may be


@dataclass(frozen=True, eq=False)
class Numbers:
    """A picture as (height, width, bands) `values` of a kind: '8-bit', or one of `window.KINDS`.

    `full` is the range that its file could hold, `own` the window that its file carries, each (low, high) or None;
    `inverted`: the lowest value is white. `colours` of the bands are what its file calls colour (0: it says nothing),
    `left` beyond them were left out; of `pages` the first was read.
    """

    values: np.ndarray
    kind: str
    full: Span | None = None
    own: Span | None = None
    inverted: bool = False
    colours: int = 0
    left: int = 0
    pages: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as Pillow says it."""
        return self.values.shape[1], self.values.shape[0]

    def shown(self) -> "Numbers":
        """Its one band, three colours or picked ones. OSError for other bands of which none is said to be a colour."""
        bands = self.values.shape[2]
        if bands in (1, 3, self.colours):
            return self
        if 0 < self.colours < bands:
            return replace(self, values=self.values[..., : self.colours], left=bands - self.colours)
        some = ", ".join(map(str, range(min(3, bands - 1), 0, -1))) if bands > 3 else "0"
        raise OSError(
            f"a picture of {bands} bands: name those to use with the target's channels, as channels: [{some}]"
        )

    def bytes(self, window: Window | None) -> np.ndarray:
        """uint8 (height, width, bands) by a window of its kind; without one of '8-bit' the values themselves.

        OSError for another kind.
        """
        self.check_kind(window)
        return self.values if window is None else window.bytes(self.values, self.inverted)

    def check_kind(self, window: Window | None) -> None:
        """OSError unless the window is one of its kind; pictures of 8 bits need none."""
        if self.kind != (window.kind if window else "8-bit"):
            raise OSError(f"a {self.kind} picture in a target of {window.kind if window else '8-bit'} ones")

    def rgb(self, window: Window | None) -> Image.Image:
        """Its `bytes` as 8-bit RGB: the first three bands, or the first as grey."""
        shown = self.bytes(window)
        some = shown[..., :3] if shown.shape[2] > 2 else shown[..., 0]
        return Image.fromarray(np.ascontiguousarray(some)).convert("RGB")


Picture = Image.Image | Numbers


def reader(content: bytes) -> Callable[[bytes], Picture] | None:
    """What reads a file that Pillow has no part in; None for others."""
    if content.startswith(b"\x93NUMPY"):
        return of_array
    return of_dicom if content[128:132] == b"DICM" else None


def of_array(content: bytes) -> Numbers:
    """A .npy file: (height, width), or with bands first or last, whichever axis is shorter (last where both are)."""
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise OSError(f"a NumPy array that cannot be read ({error})") from None
    first = values.ndim == 3 and values.shape[0] < values.shape[2]
    return _plain(np.moveaxis(values, 0, -1) if first else values, "an array")


def _library(name: str, extra: str, what: str) -> Any:
    """A library that reads some files. OSError where it is not installed, or broken."""
    try:
        return extras.load(name, extra, what)
    except UserError as error:
        raise OSError(str(error).rstrip(".")) from None


def of_tiff(content: bytes, stacked: bool = False) -> Numbers:
    """The first page of a TIFF by tifffile, upright, or with `stacked` its pages of one band each as bands.

    OSError where tifffile is not installed or cannot read it either.
    """
    tifffile = _library(
        "tifffile", "tiff", "a TIFF of a layout that Pillow does not read, unless it is saved as 8 bits,"
    )
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page, pages = file.pages.first, len(file.pages)
            _refuse_bomb(page.imagewidth, page.imagelength)
            values, plan = page.asarray(), page.axes
            if stacked and plan == "YX" and pages > 1:
                values, plan, pages = file.asarray(key=slice(None)), "SYX", 1
            said = {name: page.tags.valueof(name) for name in ("Orientation", "PhotometricInterpretation")}
            photometric = int(said["PhotometricInterpretation"] or 0)
            bits = page.bitspersample
    except Exception as error:  # whatever a damaged file raises
        raise OSError(f"a TIFF that cannot be read ({(str(error).splitlines() or [''])[0]})") from None
    if photometric > 2 or "".join(sorted(plan.replace("S", ""))) != "XY":
        raise OSError(
            "a TIFF of a layout that is not read (neither grey nor RGB, or a volume); save it as 8 or 16 bits"
        )
    bands = np.moveaxis(values, plan.index("S"), -1) if "S" in plan else values[..., None]
    found = _plain(_upright(bands, int(said["Orientation"] or 1)), "a TIFF")
    full = (0.0, 2.0**bits - 1) if found.kind == "16-bit" else found.full
    return replace(found, full=full, inverted=photometric == 0, colours=3 if photometric == 2 else 0, pages=pages)


def of_dicom(content: bytes) -> Picture:
    """The first frame of a DICOM file by pydicom, in its rescaled values; colour and plain 8 bits as they look.

    MONOCHROME1 is inverted, padding is NaN. OSError where pydicom is not installed, or the file holds no pixels.
    """
    pydicom = _library("pydicom", "dicom", "a DICOM file")
    try:
        file = pydicom.dcmread(io.BytesIO(content))
        if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise OSError(f"a DICOM file without pixels ({file.get('Modality') or 'no modality'}); take it out")
        _refuse_bomb(int(file.Columns), int(file.Rows))
        return _frame(file)
    except (OSError, Image.DecompressionBombError):
        raise
    except Exception as error:  # whatever a damaged file raises, or one packed in a way that needs another package
        why = (str(error).splitlines() or [""])[0].rstrip(":. ")
        raise OSError(f"a DICOM file that cannot be read ({why}); save it unpacked") from None


def _frame(file: "Dataset") -> Picture:
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    stored = pixel_array(file, index=0)
    how = str(file.get("PhotometricInterpretation", "MONOCHROME2"))
    pages = int(file.get("NumberOfFrames") or 1)
    if how == "PALETTE COLOR":
        stored = apply_color_lut(stored, file)
        stored = stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
    if stored.ndim == 3:
        if stored.dtype != np.uint8:
            raise OSError(f"a DICOM file of colour in {stored.dtype}; save it as 8 bits")
        return Numbers(stored, "8-bit", FULL["8-bit"], pages=pages)
    values = apply_modality_lut(stored, file)
    inverted = how == "MONOCHROME1"
    if values.dtype == np.uint8 and "WindowWidth" not in file:
        return Numbers((255 - values if inverted else values)[..., None], "8-bit", FULL["8-bit"], pages=pages)
    values = values.astype(np.float64)
    if (padding := file.get("PixelPaddingValue")) is not None:
        ends = sorted((float(padding), float(file.get("PixelPaddingRangeLimit", padding))))
        values[(stored >= ends[0]) & (stored <= ends[1])] = np.nan
    return Numbers(values[..., None], "DICOM", _full(file), _own(file), inverted, pages=pages)


def _full(file: "Dataset") -> Span | None:
    """The rescaled range of the bits that are stored; None where a table or floats say no range."""
    if file.get("ModalityLUTSequence") or "PixelData" not in file:
        return None
    bits, signed = int(file.BitsStored), bool(file.get("PixelRepresentation"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, start = float(file.get("RescaleSlope", 1)), float(file.get("RescaleIntercept", 0))
    ends = sorted((low * slope + start, high * slope + start))
    return ends[0], ends[1]


def _own(file: "Dataset") -> Span | None:
    """The first window of a DICOM file, in rescaled values (PS3.3 C.11.2.1.2); None without one, or for a sigmoid."""
    if "WindowCenter" not in file or "WindowWidth" not in file:
        return None
    centre, width = (float(np.atleast_1d(file[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    how = str(file.get("VOILUTFunction", "LINEAR"))
    if how == "LINEAR" and width > 1:
        return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return (centre - width / 2, centre + width / 2) if how == "LINEAR_EXACT" and width > 0 else None


def picked(picture: Picture, channels: Sequence[int]) -> Numbers:
    """Some bands of a picture, counted from 0, in the order given. OSError for a band that it does not have."""
    if isinstance(picture, Image.Image):
        picture = _of_pillow(picture)
    bands = picture.values.shape[2]
    if absent := [band for band in channels if band >= bands]:
        raise OSError(f"a picture of {bands} bands (0 to {bands - 1}) has no band {absent[0]}")
    return replace(picture, values=picture.values[..., list(channels)], colours=len(channels))


def _of_pillow(image: Image.Image) -> Numbers:
    """The upright bands of a picture that Pillow opened, a palette looked up."""
    kind, image = kind_of(image), ImageOps.exif_transpose(image)
    if image.mode in ("1", "P"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA", "I", "F") and not image.mode.startswith("I;16"):
        raise OSError(f"a picture of mode {image.mode}, whose bands are no grey values or colours; save it as RGB")
    values = np.asarray(image)
    return Numbers(values if values.ndim == 3 else values[..., None], kind, FULL.get(kind))


def _plain(values: np.ndarray, what: str) -> Numbers:
    """An array as a picture. OSError for values that are no real numbers, or axes that are no picture's."""
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    if values.ndim not in (2, 3) or 0 in values.shape or values.dtype.kind not in "uif":
        sides = " x ".join(map(str, values.shape)) or "1"
        raise OSError(f"{what} of {values.dtype} and shape {sides} is no picture; give (height, width) or with bands")
    values = values[..., None] if values.ndim == 2 else values
    _refuse_bomb(values.shape[1], values.shape[0])
    kinds: dict[Any, str] = {np.dtype(np.uint8): "8-bit", np.dtype(np.uint16): "16-bit"}
    kind = kinds.get(values.dtype.newbyteorder("="), "float" if values.dtype.kind == "f" else "32-bit")
    return Numbers(values, kind, FULL.get(kind))


def _upright(values: np.ndarray, orientation: int) -> np.ndarray:
    """(height, width, bands) turned as a TIFF's orientation (1 to 8) says that it is to be shown."""
    if orientation >= 5:
        values = values.swapaxes(0, 1)
    turned = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.flip(values, turned)


def _refuse_bomb(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{width} x {height} pixels are more than the limit of {MAX_PIXELS}")
