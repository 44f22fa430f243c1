"""Pictures kept as numbers: arrays, DICOM files and deep TIFFs become the bytes that a window says."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transferscope.data import Target, build, open_listing, open_squares, source_fingerprint
from transferscope.data.pictures import numbers
from transferscope.data.pictures.decode import Scale, open_image, to_rgb
from transferscope.data.pictures.survey import refuse_dark, survey, unreadable
from transferscope.data.pictures.window import Window
from transferscope.errors import UserError

tifffile = pytest.importorskip("tifffile")
pydicom = pytest.importorskip("pydicom")
RNG = np.random.default_rng(0)
SCENE = RNG.uniform(0.05, 0.95, (16, 20))
BANDS = RNG.integers(0, 4096, (16, 20, 5)).astype(np.uint16)
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


def expected(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """The bytes of a window in float64, NaN black."""
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.rint(255 * np.nan_to_num(share)).astype(np.uint8)


def dicom(stored: np.ndarray, **said: Any) -> bytes:
    """A file of one frame (rows, columns), or of several, with attributes of one's own."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset("a", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = stored.ndim == 3 and stored.shape[-1] == 3
    file.Rows, file.Columns = stored.shape[-3:-1] if colour else stored.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        file.PlanarConfiguration = 0
    bits = 8 * stored.dtype.itemsize
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in said.items():
        setattr(file, name, value)
    file.PixelData = stored.tobytes()
    if said.get("PixelData", "") is None:
        del file.PixelData
    out = io.BytesIO()
    file.save_as(out, enforce_file_format=True)
    return out.getvalue()


def saved(file: Path, made: Any, **how: Any) -> Path:
    """Bytes as they are, arrays by the ending of the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(made, bytes):
        file.write_bytes(made)
    elif file.suffix == ".npy":
        np.save(file, made)
    else:
        tifffile.imwrite(file, made, **how)
    return file


def folder(root: Path, make: Callable[[int, int], Any], suffix: str, each: int = 8, **how: Any) -> str:
    """A reference to two classes of pictures."""
    for label in range(2):
        for place in range(each):
            saved(root / "ab"[label] / f"{place}.{suffix}", make(label, place), **how)
    return f"folder:{root}"


def with_options(ref: str, **options: Any) -> str:
    return Target(ref=ref, **options).reference


def pixels_of(ref: str, into: Path, **settings: Any) -> np.ndarray:
    build(open_listing(ref), into, **{**SETTINGS, "fit": "stretch", **settings})
    return open_squares(into).gather(np.arange(16), "eval")


@pytest.mark.parametrize(
    ("values", "kind", "top"),
    [
        ((SCENE * 4000).astype(np.uint16), "16-bit", 4095),
        (SCENE.astype(np.float64), "float", 1),
        (SCENE.astype(np.float16), "float", 1),
        ((SCENE * 4000).astype(np.int16), "32-bit", 4095),
        (np.moveaxis(BANDS[..., :3], -1, 0), "16-bit", 4095),  # bands first
        (BANDS[..., :3].astype(">u2"), "16-bit", 4095),
    ],
)
def test_an_array_is_a_picture(tmp_path: Path, values: np.ndarray, kind: str, top: float) -> None:
    found = to_rgb(open_image(saved(tmp_path / "a.npy", values)), Scale(Window(kind, 0.0, top)))
    upright = np.moveaxis(values, 0, -1) if values.shape[0] == 3 else values
    grey = upright if upright.ndim == 3 else np.repeat(upright[..., None], 3, axis=2)
    assert found.size == (20, 16) and np.array_equal(np.asarray(found), expected(grey, 0, top))


def test_an_array_of_bytes_or_bits_is_read_as_it_is(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (16, 20, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(to_rgb(open_image(saved(tmp_path / "a.npy", colours)))), colours)
    mask = np.asarray(to_rgb(open_image(saved(tmp_path / "b.npy", SCENE > 0.5))))
    assert np.array_equal(mask[..., 0], 255 * (SCENE > 0.5))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (np.zeros(9), "an array of float64 and shape 9 is no picture"),
        (np.zeros((4, 4), complex), "an array of complex128 and shape 4 x 4 is no picture"),
        (np.zeros((0, 4)), "shape 0 x 4 is no picture"),
        (np.array([[{}]]), "a NumPy array that cannot be read"),
        (BANDS, r"a picture of 5 bands: name those to use with the target's channels, as channels: \[3, 2, 1\]"),
        (BANDS[..., :2], r"a picture of 2 bands: name .* as channels: \[0\]"),
    ],
)
def test_an_array_that_is_no_picture_is_one_sentence(tmp_path: Path, made: np.ndarray, words: str) -> None:
    with pytest.raises(OSError, match=words) as error:
        to_rgb(open_image(saved(tmp_path / "a.npy", made)), Scale(Window("16-bit", 0, 1)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (SCENE.astype(np.float64), {}),  # Pillow reads no doubles
        (np.repeat(SCENE[..., None], 3, 2).astype(np.float32), {"photometric": "rgb"}),
        (np.moveaxis(np.repeat(SCENE[..., None], 3, 2), -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (SCENE.astype(np.float64), {"compression": "zlib", "bigtiff": True}),
    ],
)
def test_tiffs_that_pillow_does_not_read(tmp_path: Path, values: np.ndarray, how: dict[str, Any]) -> None:
    found = to_rgb(open_image(saved(tmp_path / "a.tif", values, **how)), Scale(Window("float", 0.0, 1.0)))
    assert np.array_equal(np.asarray(found)[..., 1], expected(SCENE.astype(values.dtype), 0, 1))


def test_the_lowest_value_is_white_where_the_file_says_so_and_nan_stays_black(tmp_path: Path) -> None:
    values = SCENE.copy()
    values[3, 3] = np.nan
    file = saved(tmp_path / "a.tif", values, photometric="miniswhite")
    found = np.asarray(to_rgb(open_image(file), Scale(Window("float", 0.0, 1.0))))[..., 0]
    assert (
        np.abs(found.astype(int) - np.where(np.isnan(values), 0, 255 - expected(values, 0, 1))).max() <= 1
    )  # rounding
    assert found[3, 3] == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    tag = [(274, "H", 1, orientation, True)]
    deep = saved(tmp_path / "a.tif", SCENE.astype(np.float64), extratags=tag)
    plain = saved(tmp_path / "b.tif", SCENE.astype(np.float32), extratags=tag)
    window = Scale(Window("float", 0.0, 1.0))
    ours, theirs = to_rgb(open_image(deep), window), to_rgb(open_image(plain), window)
    assert isinstance(open_image(plain), Image.Image) and np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_colour_of_16_bits_has_a_window_where_the_study_says_so(tmp_path: Path) -> None:
    """Read by Pillow's 8 bits such pictures are refused; with a window they are read as they are stored."""
    ref = folder(tmp_path / "set", lambda *_: BANDS[..., :3], "tif", photometric="rgb")
    with pytest.raises(UserError, match="use values up to 4,095 of 65,535 only"):
        refuse_dark(survey(open_listing(ref)))
    found = pixels_of(with_options(ref, window=[0, 4095]), tmp_path / "t", train_size=20, eval_size=20)
    columns = found[5][np.round(np.linspace(0, 19, 16)).astype(int)]
    assert found.shape == (16, 20, 20, 3) and set(columns.ravel()) <= set(expected(BANDS[..., :3], 0, 4095).ravel())
    listing = open_listing(with_options(ref, window=[0, 4095]))
    assert np.array_equal(np.asarray(to_rgb(listing.load(3), survey(listing).scale)), expected(BANDS[..., :3], 0, 4095))


@pytest.mark.parametrize("suffix", ["npy", "tif"])
@pytest.mark.parametrize("channels", [[3, 1, 0], [4], 2])
def test_bands_are_picked(tmp_path: Path, suffix: str, channels: Any) -> None:
    ref = folder(tmp_path / "set", lambda *_: BANDS, suffix, photometric="minisblack", planarconfig="contig")
    listing = open_listing(ref)
    found = survey(listing)
    with pytest.raises(UserError, match=r"16 of 16 images .* cannot be read.*a picture of 5 bands: name those to use"):
        unreadable(found, listing)
    listing = open_listing(with_options(ref, channels=channels))
    scale = survey(listing).scale
    bands = BANDS[..., channels if isinstance(channels, list) else [channels]]
    assert scale.window == Window("16-bit", 0.0, 4095.0)
    assert np.array_equal(
        np.asarray(to_rgb(listing.load(1), scale)), np.broadcast_to(expected(bands, 0, 4095), (16, 20, 3))
    )
    far = open_listing(with_options(ref, channels=[5]))
    found = survey(far)
    with pytest.raises(UserError, match=r"a picture of 5 bands \(0 to 4\) has no band 5"):
        unreadable(found, far)


@pytest.mark.parametrize("channels", [[2, 1, 0], [1]])
def test_bands_of_ordinary_pictures_are_picked_upright_and_by_colour(tmp_path: Path, channels: list[int]) -> None:
    colours = RNG.integers(0, 4, (16, 20, 3), dtype=np.uint8) * 80
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    for label in "ab":
        (tmp_path / "set" / label).mkdir(parents=True)
        Image.fromarray(colours).quantize(64).save(tmp_path / "set" / label / "a.png", exif=exif)
        Image.fromarray(colours).convert("CMYK").save(tmp_path / "set" / label / "b.tif")
    plain = open_listing(f"folder:{tmp_path / 'set'}")
    picked = open_listing(with_options(f"folder:{tmp_path / 'set'}", channels=channels))
    whole = np.asarray(to_rgb(plain.load(0)))
    assert whole.shape == (20, 16, 3)
    assert np.array_equal(np.asarray(to_rgb(picked.load(0))), np.broadcast_to(whole[..., channels], whole.shape))
    full = open_listing(with_options(f"folder:{tmp_path / 'set'}", channels=channels, window="full"))
    assert survey(full).scale.window == Window("8-bit", 0.0, 255.0)
    with pytest.raises(OSError, match="a picture of mode CMYK, whose bands are no grey values or colours"):
        picked.load(1)


def test_signed_bytes_are_no_unsigned_ones(tmp_path: Path) -> None:
    values = RNG.integers(-100, 100, (16, 20, 3)).astype(np.int8)
    ref = folder(tmp_path / "set", lambda *_: values, "tif", photometric="rgb")
    listing = open_listing(with_options(ref, channels=[2, 1, 0], window=[-100, 100]))
    found = np.asarray(to_rgb(listing.load(0), survey(listing).scale))
    assert np.array_equal(found, expected(values[..., ::-1], -100, 100))


def test_a_window_takes_no_picture_from_pillow_that_it_reads_whole(tmp_path: Path) -> None:
    """Pillow unpacks what tifffile needs another package for."""
    colours = RNG.integers(0, 256, (16, 20, 3), dtype=np.uint8)
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "b").mkdir()
    for label in "ab":
        Image.fromarray(colours).save(tmp_path / "set" / label / "a.tif", compression="tiff_lzw")
    listing = open_listing(with_options(f"folder:{tmp_path / 'set'}", window=[0, 200]))
    found = survey(listing)
    assert not found.failures and np.array_equal(
        np.asarray(to_rgb(listing.load(1), found.scale)), expected(colours, 0, 200)
    )


@pytest.mark.parametrize("window", ["full", "percentile", [0, 9]])
def test_a_window_of_pictures_that_cannot_be_read_is_the_sentence_about_them(tmp_path: Path, window: Any) -> None:
    ref = folder(tmp_path / "set", lambda *_: b"no picture", "png")
    listing = open_listing(with_options(ref, window=window))
    found = survey(listing)
    with pytest.raises(UserError, match="16 of 16 images"):
        unreadable(found, listing)


def test_pages_are_bands_where_bands_are_named(tmp_path: Path) -> None:
    """As microscopes write them; else the first page alone is read, and that is said."""
    ref = folder(tmp_path / "set", lambda *_: np.moveaxis(BANDS, -1, 0), "tif", photometric="minisblack")
    assert "have several pages or frames (up to 5)" in " ".join(survey(open_listing(ref)).notes)
    listing = open_listing(with_options(ref, channels=[4, 0, 2]))
    found = survey(listing)
    assert not any("pages" in note for note in found.notes)
    assert np.array_equal(np.asarray(to_rgb(listing.load(1), found.scale)), expected(BANDS[..., [4, 0, 2]], 0, 4095))


def test_a_fourth_band_beside_colours_is_a_band(tmp_path: Path) -> None:
    """Near infrared beside red, green and blue: left out unless it is picked, and never transparency."""
    ref = folder(tmp_path / "set", lambda *_: BANDS[..., :4], "tif", photometric="rgb")
    listing = open_listing(with_options(ref, window="full"))
    assert "16 of 16 pictures looked at have a band beyond the colours; it is left out." in survey(listing).notes
    assert np.array_equal(
        np.asarray(to_rgb(listing.load(0), survey(listing).scale)), expected(BANDS[..., :3], 0, 65535)
    )
    infrared = open_listing(with_options(ref, window="full", channels=3))
    assert np.array_equal(
        np.asarray(to_rgb(infrared.load(0), survey(infrared).scale))[..., 2], expected(BANDS[..., 3], 0, 65535)
    )


HU = np.linspace(-1000, 2000, 320).reshape(16, 20)
STORED = np.rint(HU + 1024).astype(np.uint16)
RESCALED = {"RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}


@pytest.mark.parametrize("how", ["MONOCHROME2", "MONOCHROME1"])
def test_dicom_is_rescaled_and_inverted_where_it_says_so(tmp_path: Path, how: str) -> None:
    file = saved(tmp_path / "a.dcm", dicom(STORED, PhotometricInterpretation=how, **RESCALED))
    found = open_image(file)
    assert isinstance(found, numbers.Numbers) and found.kind == "DICOM" and found.full == (-1024, 3071)
    assert np.array_equal(found.values[..., 0], STORED - 1024.0) and found.own is None
    shown = np.asarray(to_rgb(found, Scale(Window("DICOM", -160.0, 240.0))))[..., 0].astype(int)
    plain = expected(STORED - 1024.0, -160, 240).astype(int)
    assert np.abs(shown - (plain if how == "MONOCHROME2" else 255 - plain)).max() <= (how == "MONOCHROME1")  # rounding


@pytest.mark.parametrize(
    ("said", "own"),
    [
        ({"WindowCenter": 40, "WindowWidth": 400}, (-160, 239)),
        ({"WindowCenter": [40, 300], "WindowWidth": [400, 1500]}, (-160, 239)),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "LINEAR_EXACT"}, (-160, 240)),
        ({"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "SIGMOID"}, None),
    ],
)
def test_a_dicom_file_carries_a_window(tmp_path: Path, said: dict[str, Any], own: Any) -> None:
    """As pydicom applies it, to the level."""
    from pydicom.pixels import apply_voi_lut

    content = dicom(STORED, **RESCALED, **said)
    found = open_image(saved(tmp_path / "a.dcm", content))
    assert isinstance(found, numbers.Numbers) and found.own == own
    if own is not None:
        theirs = apply_voi_lut(STORED - 1024.0, pydicom.dcmread(io.BytesIO(content)))
        theirs = 255 * (theirs - theirs.min()) / (theirs.max() - theirs.min())
        assert np.abs(theirs - np.asarray(found.rgb(Window("DICOM", *own)))[..., 0]).max() <= 0.5 + 1e-6


def test_other_dicom_files(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (16, 20, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(to_rgb(open_image(saved(tmp_path / "a.dcm", dicom(colours))))), colours)
    bytes_ = saved(tmp_path / "b.dcm", dicom(colours[..., 0].copy(), PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(np.asarray(to_rgb(open_image(bytes_)))[..., 2], 255 - colours[..., 0])
    frames = np.stack([STORED, STORED + 5])
    found = open_image(saved(tmp_path / "c.dcm", dicom(frames, NumberOfFrames=2)))
    assert isinstance(found, numbers.Numbers) and found.pages == 2 and np.array_equal(found.values[..., 0], STORED)
    signed = STORED.astype(np.int16)
    signed[:4] = -2000
    padded = open_image(saved(tmp_path / "d.dcm", dicom(signed, PixelPaddingValue=-2000)))
    assert isinstance(padded, numbers.Numbers) and np.isnan(padded.values[:4]).all() and padded.full == (-32768, 32767)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dicom(STORED, PixelData=None, Modality="SR"), r"a DICOM file without pixels \(SR\)"),
        (dicom(STORED)[:-100], "a DICOM file that cannot be read"),
        (dicom(STORED, Rows=20_000, Columns=20_000), "20000 x 20000 pixels are more than the limit"),
        (b"\0" * 128 + b"DICM", "a DICOM file without pixels"),
    ],
    ids=["a report", "cut short", "too large", "nothing"],  # the bytes of one are new at every start
)
def test_a_dicom_file_that_is_no_picture_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises((OSError, Image.DecompressionBombError), match=words) as error:
        open_image(saved(tmp_path / "a.dcm", content))
    assert "\n" not in str(error.value)


def test_the_window_that_all_dicom_files_carry_is_taken(tmp_path: Path) -> None:
    def film(label: int, place: int, width: int = 400) -> bytes:
        return dicom(STORED + 7 * label, WindowCenter=40, WindowWidth=width, **RESCALED)

    found = survey(open_listing(folder(tmp_path / "a", film, "dcm")))
    assert found.scale.window == Window("DICOM", -160.0, 239.0)
    assert "the window that all of 16 DICOM files looked at carry" in found.notes[0]
    assert found.values == "DICOM values from -1000 to 2007 in 16 pictures looked at"
    ref = folder(tmp_path / "b", lambda label, place: film(label, place, 400 + place), "dcm")
    apart = survey(open_listing(ref))
    assert apart.notes[1] == "The DICOM files carry 8 windows of their own; none is used."
    said = survey(open_listing(with_options(ref, window=[-160, 240])))
    assert said.scale.window == Window("DICOM", -160.0, 240.0)
    whole = survey(open_listing(with_options(ref, window="full")))
    assert whole.scale.window == Window("DICOM", -1024.0, 3071.0)


@pytest.mark.parametrize("streamed", [False, True])
def test_arrays_in_folders_go_through_one_window(tmp_path: Path, streamed: bool) -> None:
    def make(label: int, place: int) -> np.ndarray:
        return (SCENE[:, :16] * 3000 + 100 * label + place).astype(np.uint16)

    ref = with_options(folder(tmp_path / "set", make, "npy"), window="percentile")
    found = pixels_of(ref, tmp_path / "t", streamed=streamed)
    window = open_squares(tmp_path / "t").scale.window
    every = np.concatenate([make(label, place).ravel() for label in range(2) for place in range(8)])
    assert window is not None and (window.low, window.high) == pytest.approx(np.quantile(every, (0.01, 0.99)))
    for row in range(16):
        assert np.array_equal(found[row, ..., 1], expected(make(row // 8, row % 8), window.low, window.high))


def test_a_window_of_8_bits_spreads_them(tmp_path: Path) -> None:
    grey = RNG.integers(3, 20, (16, 16)).astype(np.uint8)
    ref = folder(tmp_path / "set", lambda *_: grey, "tif")
    dark = survey(open_listing(ref))
    assert "99% of the values of 16 pictures looked at of 'folder:" in dark.dark
    assert (
        "lie in the lowest tenth of 0 to 255, so that they would be trained nearly black; set the target's" in dark.dark
    )
    with pytest.raises(UserError, match="trained nearly black"):
        pixels_of(ref, tmp_path / "t")
    found = pixels_of(with_options(ref, window=[3, 19]), tmp_path / "u")
    assert np.array_equal(found[7, ..., 0], expected(grey, 3, 19))
    kept = survey(open_listing(with_options(ref, window="full")))
    assert not kept.dark and any("the window that the study says" in note for note in kept.notes)
    assert np.array_equal(pixels_of(with_options(ref, window="full"), tmp_path / "v")[7, ..., 0], grey)


def test_deep_pictures_of_which_few_values_are_bright_are_refused_not_trained_dark(tmp_path: Path) -> None:
    def stars(*_: int) -> np.ndarray:
        values = RNG.integers(0, 60, (64, 64)).astype(np.uint16)
        values[0, :30] = np.arange(30_000, 60_000, 1000)
        return values

    found = survey(open_listing(folder(tmp_path / "set", stars, "npy")))
    assert "lie in the lowest tenth of 0 to 65535" in found.dark


def test_arrays_and_dicom_are_pictures_only_where_there_are_no_others(tmp_path: Path) -> None:
    """A study of photographs with masks beside them as arrays is what it was."""
    ref = folder(tmp_path / "set", lambda *_: BANDS[..., :3].astype(np.uint8), "tif", photometric="rgb")
    before = source_fingerprint(ref)
    folder(tmp_path / "set", lambda *_: SCENE, "npy")
    listing = open_listing(ref)
    assert len(listing.names) == 16 and source_fingerprint(ref) == before
    assert "Files that are not pictures of a kind that is read: 16 .npy." in listing.notes


def test_how_pictures_are_read_is_part_of_the_identity(tmp_path: Path) -> None:
    ref = folder(tmp_path / "set", lambda *_: SCENE, "npy")
    prints = {
        source_fingerprint(with_options(ref, **options))
        for options in ({}, {"window": "full"}, {"window": [0, 1]}, {"window": [0, 2]}, {"channels": 0})
    }
    assert len(prints) == 5 and source_fingerprint(ref) == source_fingerprint(with_options(ref, window=None))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": [5, 5]}, "the two ends of a window rise"),
        ({"window": "fill"}, "window"),
        ({"window": [0, float("inf")]}, "finite"),
        ({"channels": []}, "name one band or several"),
        ({"channels": [-1]}, "name one band or several"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Target(ref="folder:x", **options)


def test_a_table_names_dicom_files_too(tmp_path: Path) -> None:
    folder(tmp_path, lambda *_: dicom(STORED, **RESCALED), "dcm", each=2)
    rows = [f"{label}/{place}.dcm,{label}" for label in "ab" for place in range(2)]
    (tmp_path / "table.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    listing = open_listing(with_options(f"csv:{tmp_path / 'table.csv'}", window=[-160, 240]))
    assert len(listing.names) == 4
    assert survey(listing).values == "DICOM values from -1000 to 2000 in 4 pictures looked at"


def test_arrays_of_numbers_have_no_window(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((8, 3)), y=np.arange(8) % 2)
    with pytest.raises(UserError, match=r"window: 'npz:.*a.npz' holds arrays, no pictures; remove it"):
        open_listing(with_options(f"npz:{tmp_path / 'a.npz'}", window="full"))


@pytest.mark.parametrize(("package", "suffix", "extra"), [("tifffile", "tif", "tiff"), ("pydicom", "dcm", "dicom")])
def test_a_package_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, suffix: str, extra: str
) -> None:
    file = saved(tmp_path / f"a.{suffix}", dicom(STORED) if suffix == "dcm" else SCENE.astype(np.float64))
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(OSError, match=rf"pip install 'transferscope\[{extra}\]'"):
        open_image(file)
