"""Image files of every kind to one kind of pixels: upright 8-bit RGB, and squares cut from it."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from transferscope.errors import UserError, did_you_mean

MAX_PIXELS = 89_478_485  # a quarter of a GiB as RGB: where Pillow starts to warn of decompression bombs

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class ImageFiles:
    """The loader of a listing whose images are files: `load(i)` opens `paths[i]`."""

    paths: tuple[str, ...]

    def __call__(self, index: int) -> Image.Image:
        return open_image(Path(self.paths[index]))


def open_image(path: Path) -> Image.Image:
    """The image of a file, pixels not decoded yet; no file stays open. Raises OSError, or what Pillow raises."""
    content = path.read_bytes()
    if not content:
        raise OSError("the file is empty")
    try:
        return _refuse_bomb(Image.open(io.BytesIO(content)))
    except UnidentifiedImageError:
        raise OSError("not an image of a known kind") from None


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` as an upright 8-bit RGB image.

    - The EXIF orientation is applied; of an animation the first frame is taken.
    - Transparency (RGBA, LA, transparent palette entries) is composited on white.
    - 16-bit greyscale is divided by 257, so that the range of the type is kept.
    - 32-bit integers and floats have no agreed range: full scale is the smallest of 1 (floats only), 255 and 65535 that
      no pixel of the image exceeds, else the image's own maximum; values below 0 are black, NaN too.
    - An image of more than `MAX_PIXELS` pixels raises PIL.Image.DecompressionBombError before it is decoded; a
      truncated one raises OSError.
    """
    image = ImageOps.exif_transpose(_refuse_bomb(image))
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.rint(np.asarray(image) / 257.0).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def square(image: Image.Image, size: int, interpolation: str, crop: float = 1.0) -> np.ndarray:
    """The central square of an RGB image, its side `crop` (0 to 1] of the shorter side, as uint8 (size, size, 3).

    One antialiased resize straight from `image`: the same as resizing the shorter side to `size` / `crop` and cropping
    `size` from the centre, without rounding in between.
    """
    if interpolation not in INTERPOLATIONS:
        hint = did_you_mean(interpolation, tuple(INTERPOLATIONS))
        raise UserError(f"Unknown interpolation '{interpolation}'; {hint}")
    side = min(image.size) * crop
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), INTERPOLATIONS[interpolation], box=box))


def _refuse_bomb(image: Image.Image) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError(
            f"{image.width} x {image.height} pixels are more than the limit of {MAX_PIXELS}"
        )
    return image


def _to_bytes(values: np.ndarray) -> np.ndarray:
    exact = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(exact.max(initial=0.0))
    scales = (255.0, 65535.0) if np.issubdtype(values.dtype, np.integer) else (1.0, 255.0, 65535.0)
    full = next((scale for scale in scales if top <= scale), top)
    return np.rint(np.clip(exact / full, 0.0, 1.0) * 255.0).astype(np.uint8)
