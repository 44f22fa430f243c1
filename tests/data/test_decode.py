"""Every kind of image becomes upright RGB bytes; squares equal the slow resize-then-crop."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferscope.data import decode
from transferscope.data.decode import open_image, square, to_rgb
from transferscope.errors import UserError


def through(image: Image.Image, kind: str, **options: object) -> np.ndarray:
    """The RGB pixels of an image saved as a file of some kind and read back."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return np.asarray(to_rgb(Image.open(io.BytesIO(buffer.getvalue()))))


def flat(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (4, 4), colour)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "kind", "colour", "within"),
    [
        (flat("L", 77), "PNG", (77, 77, 77), 0),
        (flat("1", 1), "PNG", (255, 255, 255), 0),
        (flat("RGB", (10, 20, 30)), "PNG", (10, 20, 30), 0),
        (flat("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0), 0),
        (flat("CMYK", (255, 0, 255, 0)), "JPEG", (0, 255, 0), 3),
        (flat("RGBA", (200, 100, 0, 255)), "PNG", (200, 100, 0), 0),
        (flat("RGBA", (200, 100, 0, 0)), "PNG", (255, 255, 255), 0),
        (flat("RGBA", (0, 0, 0, 51)), "PNG", (204, 204, 204), 1),
        (flat("LA", (0, 128)), "PNG", (127, 127, 127), 1),
        (flat("I;16", 257 * 100), "PNG", (100, 100, 100), 0),
        (flat("I;16", 65535), "TIFF", (255, 255, 255), 0),
        (flat("I;16", 257 * 3 + 200), "PNG", (4, 4, 4), 0),
        (flat("I", 257 * 9), "TIFF", (9, 9, 9), 0),
        (flat("I", 200), "TIFF", (200, 200, 200), 0),
        (flat("F", 0.2), "TIFF", (51, 51, 51), 0),
        (flat("F", 130.0), "TIFF", (130, 130, 130), 0),
        (flat("F", -3.0), "TIFF", (0, 0, 0), 0),
        (flat("F", float("nan")), "TIFF", (0, 0, 0), 0),
        (flat("F", 1e9), "TIFF", (255, 255, 255), 0),
    ],
)
def test_modes(image: Image.Image, kind: str, colour: tuple[int, int, int], within: int) -> None:
    pixels = through(image, kind)
    assert pixels.shape == (4, 4, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - colour).max() <= within


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 0)
    assert through(image, "PNG")[0, 0].tolist() == [255, 0, 0]
    clear = through(image, "PNG", transparency=0)
    assert clear[0, 0].tolist() == [255, 255, 255] and clear[1, 1].tolist() == [0, 0, 255]
    assert through(image, "GIF", transparency=0)[0, 0].tolist() == [255, 255, 255]


def test_transparent_colour_of_a_grey_png_is_white() -> None:
    image = flat("L", 9)
    image.putpixel((0, 0), 80)
    assert through(image, "PNG", transparency=9)[1, 1].tolist() == [255, 255, 255]


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (6, 2), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    assert through(image, "JPEG", exif=exif).shape == (6, 2, 3)


def test_bomb_is_refused_before_decoding_and_pillow_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(decode, "MAX_PIXELS", 99)
    Image.new("L", (10, 10)).save(tmp_path / "big.png")
    with pytest.raises(Image.DecompressionBombError, match="10 x 10"):
        open_image(tmp_path / "big.png")
    with pytest.raises(Image.DecompressionBombError):
        to_rgb(Image.new("L", (10, 10)))
    assert to_rgb(Image.new("L", (9, 11))).size == (9, 11)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_truncated_and_empty_files_raise(tmp_path: Path, kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = tmp_path / f"image.{kind.lower()}"
    Image.fromarray(noise).save(file, kind)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Exception):  # noqa: B017 (each format has its own)
        to_rgb(open_image(file))


@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
@pytest.mark.parametrize("shape", [(128, 64), (64, 128), (112, 112)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_square_equals_resize_then_crop(crop: float, shape: tuple[int, int], interpolation: str) -> None:
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    size = 14
    ratio = size / crop / min(image.size)
    whole = image.resize(
        (round(image.width * ratio), round(image.height * ratio)), decode.INTERPOLATIONS[interpolation]
    )
    left, top = (whole.width - size) // 2, (whole.height - size) // 2
    slow = np.asarray(whole)[top : top + size, left : left + size].astype(int)
    fast = square(image, size, interpolation, crop)
    assert fast.shape == (size, size, 3) and fast.dtype == np.uint8
    assert np.abs(fast - slow).max() <= 2 and np.abs(fast - slow).mean() < 0.6  # both round between the two passes


def test_square_is_the_centre_and_antialiased() -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 255
    assert (square(Image.fromarray(pixels), 10, "nearest") == 255).all()
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    grey = square(to_rgb(Image.fromarray(checks)), 8, "bilinear")
    assert np.abs(grey.astype(int) - 127).max() <= 12


def test_unknown_interpolation() -> None:
    with pytest.raises(UserError, match="did you mean 'bicubic'"):
        square(Image.new("RGB", (4, 4)), 2, "bicubik")
