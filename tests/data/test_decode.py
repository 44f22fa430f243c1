"""Every kind of image becomes upright RGB bytes; squares equal the slow resize-then-crop."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferscope.data.pictures import decode
from transferscope.data.pictures.decode import Scale, open_image, square, to_rgb, undeclared_band
from transferscope.data.pictures.window import Window
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
    ],
)
def test_modes(image: Image.Image, kind: str, colour: tuple[int, int, int], within: int) -> None:
    pixels = through(image, kind)
    assert pixels.shape == (4, 4, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - colour).max() <= within


def lab_of(red: int, green: int, blue: int) -> np.ndarray:
    """CIE L*a*b* (D50) of an sRGB colour, as TIFF stores it in 8 bits: L* to 0..255, a* and b* as signed bytes."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in np.array([red, green, blue]) / 255]
    to_xyz = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    f = np.cbrt(np.array(to_xyz) @ linear / [0.96422, 1.0, 0.82521])  # above the linear part for the colours used here
    lab = np.array([(116 * f[1] - 16) * 2.55, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    return np.rint(lab).astype(int)


@pytest.mark.parametrize("colour", [(200, 100, 50), (60, 120, 200), (128, 128, 128)])
def test_lab(colour: tuple[int, int, int]) -> None:
    light, a, b = lab_of(*colour).tolist()
    image = flat("LAB", (light, a + 128, b + 128))  # Pillow holds a* and b* offset by 128
    assert np.abs(through(image, "TIFF").astype(int) - colour).max() <= 3


@pytest.mark.parametrize(
    ("kind", "top", "values"),
    [
        ("16-bit", 65535.0, np.array([0, 257, 257 * 3 + 200, 65535], dtype=np.uint16)),
        ("16-bit", 4095.0, np.array([0, 16, 4000, 5000], dtype=np.uint16)),
        ("float", 1.0, np.array([-3.0, 0.2, 1.04, np.nan, np.inf, -np.inf], dtype=np.float32)),
        ("32-bit", 255.0, np.array([-5, 0, 77, 300], dtype=np.int32)),
    ],
)
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_deep_pictures_go_through_the_window_of_their_target(
    kind: str, top: float, values: np.ndarray, suffix: str, tmp_path: Path
) -> None:
    if suffix == "png" and kind != "16-bit":
        pytest.skip("PNG holds no such numbers")
    Image.fromarray(np.tile(values, (3, 1))).save(tmp_path / f"a.{suffix}")
    pixels = np.asarray(to_rgb(open_image(tmp_path / f"a.{suffix}"), Scale(Window(kind, 0.0, top))))
    expected = [0 if v != v else round(min(max(float(v) / top, 0.0), 1.0) * 255) for v in values.astype(np.float64)]
    assert pixels[1, :, 0].tolist() == pixels[2, :, 2].tolist() == expected


@pytest.mark.parametrize("image", [flat("I;16", 9), flat("I", 9), flat("F", 0.5)])
def test_a_deep_picture_without_a_scale_is_not_read(image: Image.Image) -> None:
    with pytest.raises(OSError, match="picture in a target of 8-bit ones"):
        through(image, "TIFF")
    with pytest.raises(OSError, match=r"in a target of .* ones"):
        to_rgb(image, Scale(Window("16-bit" if image.mode != "I;16" else "float", 0.0, 1.0)))


def test_byte_orders_and_pgm_are_16_bit(tmp_path: Path) -> None:
    values = np.arange(0, 60000, 4000, dtype=np.uint16).reshape(3, 5)
    (tmp_path / "a.pgm").write_bytes(b"P5\n5 3\n65535\n" + values.astype(">u2").tobytes())
    (tmp_path / "b.tif").write_bytes(big_endian_tiff(values))
    for file in ("a.pgm", "b.tif"):
        found = to_rgb(open_image(tmp_path / file), Scale(Window("16-bit", 0.0, 65535.0)))
        assert np.asarray(found)[..., 0].tolist() == np.rint(values / 257.0).astype(int).tolist()


def big_endian_tiff(values: np.ndarray) -> bytes:
    """One strip of uint16 in the byte order of Motorola."""
    data = values.astype(">u2").tobytes()
    height, width = values.shape
    entries = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    directory = struct.pack(">H", len(entries) + 1)
    directory += b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in entries)
    directory += struct.pack(">HHII", 279, 4, 1, len(data)) + struct.pack(">I", 0)
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + directory


def with_band(folder: Path, extra: int | None) -> Path:
    """A TIFF of red, green, blue and a fourth band of 0, which `extra` declares to be what (None: nothing said)."""
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(folder / "whole.tif")
    content = bytearray((folder / "whole.tif").read_bytes())
    place = content.index(struct.pack("<HH", 338, 3))  # the entry of the tag ExtraSamples
    if extra is None:
        content[place : place + 2] = struct.pack("<H", 340)  # SMinSampleValue, which nothing reads
    else:
        content[place + 8 : place + 10] = struct.pack("<H", extra)
    (folder / "band.tif").write_bytes(content)
    return folder / "band.tif"


@pytest.mark.parametrize(("extra", "colour"), [(None, [10, 20, 30]), (0, [10, 20, 30]), (2, [255, 255, 255])])
def test_a_fourth_band_is_transparency_only_where_the_file_says_so(
    tmp_path: Path, extra: int | None, colour: list[int]
) -> None:
    image = open_image(with_band(tmp_path, extra))
    assert undeclared_band(image) is (extra != 2)
    assert np.asarray(to_rgb(image))[1, 1].tolist() == colour


def test_a_band_taken_for_alpha_can_be_left_out() -> None:
    image = flat("RGBA", (10, 20, 30, 128))
    assert np.asarray(to_rgb(image, Scale(alpha=False)))[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\0" * 128 + b"DICM", "DICOM"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\x93NUMPY\1\0", "NumPy"),
        (b"<!doctype html><html>", "web page"),
        (b"II*\0\x08\0\0\0\0\0", "TIFF of a layout"),
        (b"hello", "known kind"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(OSError, match=words):
        open_image(tmp_path / "a.png")


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
