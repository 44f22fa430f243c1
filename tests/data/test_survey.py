"""What a look at some pictures finds, and that the decoded table keeps it: one scale, pages, bands, blank pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferscope.data import build, open_listing, open_squares
from transferscope.data.pictures.blank import blank_note, is_blank, try_out
from transferscope.data.pictures.survey import chosen, refuse_dark, survey, unreadable
from transferscope.errors import UserError

SETTINGS: dict[str, Any] = {
    "train_size": 16,
    "eval_size": 16,
    "interpolation": "nearest",
    "crop": 1.0,
    "val": 0.2,
    "test": 0.2,
    "split_seed": 0,
    "cores": 1,
}
RNG = np.random.default_rng(0)
SCENE = RNG.uniform(0.05, 0.55, (16, 16))
Make = Callable[[int, int], Any]  # class, number -> picture or array


def folder(root: Path, make: Make, suffix: str, each: int = 8) -> str:
    """A reference to two classes of pictures."""
    for label in range(2):
        (root / "ab"[label]).mkdir(parents=True, exist_ok=True)
        for place in range(each):
            made = make(label, place)
            image = made if isinstance(made, Image.Image) else Image.fromarray(made)
            image.save(root / "ab"[label] / f"{place}.{suffix}")
    return f"folder:{root}"


def noise(*_: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8))


def reflectance(label: int, place: int) -> np.ndarray:
    """The same scene for every number of a class, with one specular pixel in one of eight."""
    scene = (SCENE + 0.2 * label).astype(np.float32)
    if place == 3:
        scene[8, 8] = 1.04
    return scene


def radar(label: int, place: int) -> np.ndarray:
    return (10 * label - 22 + 4 * SCENE).astype(np.float32)


def hounsfield(label: int, place: int) -> np.ndarray:
    return (2000 * (label - 0.5) + 1000 * SCENE).astype(np.int32)


def twelve_bits(label: int, place: int) -> np.ndarray:
    return (SCENE * 7000 + label).astype(np.uint16)


@pytest.mark.parametrize(
    ("make", "suffix", "words"),
    [
        (reflectance, "tif", "0 to 1 of the floating-point"),
        (radar, "tif", "floating-point"),
        (hounsfield, "tif", "32-bit"),
        (twelve_bits, "png", "0 to 4095 (6.2% of the 16-bit range)"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_one_scale_for_the_whole_target(tmp_path: Path, make: Make, suffix: str, words: str, streamed: bool) -> None:
    """The same scene decodes alike wherever it lies, and as a float64 reference says; mapped and streamed."""
    ref = folder(tmp_path / "set", make, suffix)
    build(open_listing(ref), tmp_path / "t", **SETTINGS, streamed=streamed)
    table = open_squares(tmp_path / "t")
    window = table.scale.window
    assert window is not None and words in " ".join(table.notes)
    pixels = table.gather(np.arange(16), "eval")
    for row in range(16):
        scene = make(row // 8, row % 8).astype(np.float64)
        expected = np.rint(255 * np.clip((scene - window.low) / (window.high - window.low), 0, 1))
        assert (pixels[row] == expected[..., None]).all()
    assert pixels.max() - pixels.min() > 100 and window == survey(open_listing(ref)).scale.window


def test_full_range_16_bit_is_read_as_before(tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", lambda label, place: (SCENE * 119_000).astype(np.uint16), "png")
    build(open_listing(ref), tmp_path / "t", **SETTINGS)
    expected = np.rint((SCENE * 119_000).astype(np.uint16) / 257)
    assert (open_squares(tmp_path / "t").gather(np.array([3]))[0] == expected[..., None]).all()


def test_two_depths_side_by_side_are_said_and_floats_among_bytes_refused(tmp_path: Path) -> None:
    def mixed(label: int, place: int) -> Any:
        return twelve_bits(label, place) if place % 2 else noise()

    notes = survey(open_listing(folder(tmp_path / "a", mixed, "png"))).notes
    assert "Pictures of two depths lie side by side (8 16-bit and 8 8-bit of 16 looked at)" in notes[1]
    ref = folder(tmp_path / "b", lambda label, place: reflectance(label, place) if label else noise(), "tif")
    with pytest.raises(UserError, match=r"no common scale \(8 8-bit, 8 float of 16 looked at\)"):
        survey(open_listing(ref))


def test_a_kind_met_later_is_counted_as_unreadable(tmp_path: Path) -> None:
    """Of many pictures some are looked at; one of another kind among the rest is no black picture."""
    ref = folder(tmp_path / "set", noise, "png", each=120)
    listing = open_listing(ref)
    missed = int(np.setdiff1d(np.arange(240), chosen(listing.names))[0])
    Image.fromarray(twelve_bits(0, 0)).save(tmp_path / "set" / listing.names[missed])
    build(open_listing(ref), tmp_path / "t", **SETTINGS)
    assert open_squares(tmp_path / "t").skipped == (
        (listing.names[missed], "OSError: a 16-bit picture in a target of 8-bit ones"),
    )


def test_a_value_for_no_data_and_pictures_of_another_scale_are_said(tmp_path: Path) -> None:
    def holed(label: int, place: int) -> np.ndarray:
        return np.where(SCENE > 0.5, -9999.0, SCENE + 0.4 * label).astype(np.float32)

    found = survey(open_listing(folder(tmp_path / "a", holed, "tif")))
    assert found.scale.window is not None and (found.scale.window.low, found.scale.window.high) == (0.0, 1.0)
    assert "-9999, far from all others, is taken for 'no data'" in found.notes[1]
    ref = folder(tmp_path / "b", lambda _, place: (SCENE * (119_000 if place % 2 else 7000)).astype(np.uint16), "png")
    assert "8 of 16 pictures looked at use less than a tenth of that scale" in survey(open_listing(ref)).notes[1]


def test_numbers_that_are_not_finite_are_said(tmp_path: Path) -> None:
    def holes(label: int, place: int) -> np.ndarray:
        scene = reflectance(label, place)
        scene[:2] = np.nan if place < 3 else scene[:2]
        return scene

    assert "6 of 16 pictures looked at hold numbers that are not finite" in " ".join(
        survey(open_listing(folder(tmp_path / "set", holes, "tif"))).notes
    )


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_pages_after_the_first_are_said(tmp_path: Path, suffix: str) -> None:
    ref = folder(tmp_path / "set", noise, suffix)
    noise().save(tmp_path / "set" / "a" / f"0.{suffix}", save_all=True, append_images=[noise(), noise()])
    (note,) = survey(open_listing(ref)).notes
    assert note == "1 of 16 pictures looked at have several pages or frames (up to 3); only the first is read."


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_fourth_band_that_is_a_picture_is_no_transparency(tmp_path: Path, suffix: str) -> None:
    colours = RNG.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    ref = folder(tmp_path / "set", lambda *_: colours, suffix)
    build(open_listing(ref), tmp_path / "t", **SETTINGS)
    table = open_squares(tmp_path / "t")
    assert (table.gather(np.array([0]))[0] == colours[..., :3]).all()
    assert "fourth band of 16 of 16 pictures" in table.notes[0]
    colours[..., 3] = 255 * (colours[..., 3] > 100)
    found = survey(open_listing(folder(tmp_path / "clear", lambda *_: colours, suffix)))
    assert found.scale.alpha and found.notes == ()


def colour_png(values: np.ndarray) -> bytes:
    """A PNG of 16-bit RGB, which Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = values.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_colour_of_16_bits_that_uses_few_of_them_is_refused(tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", noise, "png")
    values = RNG.integers(0, 65536, (16, 16, 3), dtype=np.uint16)
    for file in (tmp_path / "set").rglob("*.png"):
        file.write_bytes(colour_png(values))
    build(open_listing(ref), tmp_path / "t", **SETTINGS)
    assert (open_squares(tmp_path / "t").gather(np.array([0]))[0] == values // 256).all()
    for file in (tmp_path / "set").rglob("*.png"):
        file.write_bytes(colour_png(values // 16))
    with pytest.raises(UserError, match=r"16-bit colour pictures of .* use values up to 4,095 of 65,535 only"):
        refuse_dark(survey(open_listing(ref)))


@pytest.mark.parametrize("grey", [0, 255, 90])
def test_a_target_of_blank_pictures_is_refused(tmp_path: Path, grey: int) -> None:
    def plain(label: int, place: int) -> np.ndarray:
        return (grey + RNG.integers(-2, 3, (16, 16, 3))).clip(0, 255).astype(np.uint8)

    listing = open_listing(folder(tmp_path / "set", plain, "png"))
    for look in (
        lambda: try_out(listing, survey(listing), 16, "nearest"),
        lambda: build(listing, tmp_path / "t", **SETTINGS),
    ):
        with pytest.raises(
            UserError, match=r"16 of 16 pictures of .* are nearly one colour once decoded \(such as 'a/0"
        ):
            look()


def test_some_blank_pictures_are_said(tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", lambda label, place: noise() if place % 4 else Image.new("L", (16, 16)), "png")
    listing = open_listing(ref)
    build(listing, tmp_path / "t", **SETTINGS)
    words = "4 of 16 pictures (25%) are nearly one colour once decoded: 'a/0.png', 'a/4.png', 'b/0.png', 'b/4.png'."
    assert open_squares(tmp_path / "t").notes == try_out(listing, survey(listing), 16, "nearest") == (words,)
    assert blank_note(["x"], 200, "lab") == ()


def test_blank_is_a_matter_of_the_widest_channel() -> None:
    pixels = np.full((4, 4, 3), 100, dtype=np.uint8)
    assert is_blank(pixels)
    pixels[0, 0, 2] = 107
    assert is_blank(pixels)
    pixels[0, 0, 2] = 108
    assert not is_blank(pixels)


def test_every_ending_is_looked_at() -> None:
    names = sorted([*(f"a/{i:05}.jpg" for i in range(5000)), "a/00001.webp", "b/04999.TIF"])
    rows = chosen(names)
    assert {names[row].rpartition(".")[2] for row in rows} == {"jpg", "webp", "TIF"} and 100 <= len(rows) <= 103
    assert chosen(names[:7]).tolist() == list(range(7))


def test_unreadable_pictures_are_said_or_refused_before_all_are_decoded(tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", noise, "png", each=120)
    listing = open_listing(ref)
    rows = chosen(listing.names)
    for count, refused in ((1, False), (2, False), (3, True)):
        (tmp_path / "set" / listing.names[rows[count]]).write_bytes(b"no image")
        found = survey(listing)
        if refused:
            with pytest.raises(UserError, match=r"3 of 240 images of 'folder.*\(more than 1%\) cannot be read"):
                unreadable(found, listing)
        else:
            assert f"{count} of 100 images looked at cannot be read" in unreadable(found, listing)[0]
