"""Tables of more than 8 bits keep what their pictures hold: files, squares and batches against float64 references."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from transferscope.data import Target, build, open_listing, open_squares
from transferscope.data.augment import CropAndFlip, crop_boxes, crop_resize, crop_resize_matmul
from transferscope.data.batches import Batches, Normalisation, eval_batches, normalise
from transferscope.data.levels import bits, grey
from transferscope.data.pictures.blank import is_blank
from transferscope.data.pictures.depth import shown
from transferscope.data.shuffle import block_permutation, shuffle
from transferscope.engine.step import Outside
from transferscope.input_shape import picture
from transferscope.tasks.inputs.images import examples, ingest, stored_bytes

HOW: dict[str, Any] = {"crop": 1.0, "val": 0.2, "test": 0.2, "split_seed": 0, "cores": 1}
SIDES: dict[str, Any] = {"train_size": 20, "eval_size": 20, "interpolation": "bilinear"}
TOPS = {16: 65535.0, "float": 1.0}
RNG = np.random.default_rng(0)


def reference(root: Path, pictures: np.ndarray, write: Callable[[Path, np.ndarray], None], **options: Any) -> str:
    """Pictures (n, height, width, ...) of two classes in files."""
    for row, values in enumerate(pictures):
        folder = root / "ab"[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / f"{row:02d}", values)
    return Target(ref=f"folder:{root}", **options).reference


def npy(file: Path, values: np.ndarray) -> None:
    np.save(file.with_suffix(".npy"), values)


def png(file: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(file.with_suffix(".png"))


def tiff(file: Path, values: np.ndarray) -> None:
    Image.fromarray(values).save(file.with_suffix(".tif"))


def resized(values: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    """Values (height, width) float64 resampled to (size, size) with antialiasing, by the definition."""
    kernels = {
        "box": (0.5, lambda x: float(-0.5 < x <= 0.5)),
        "bilinear": (1.0, lambda x: max(0.0, 1 - abs(x))),
        "bicubic": (2.0, keys_cubic),
    }
    support, kernel = kernels[interpolation]
    for axis in (0, 1):
        side = values.shape[axis]
        step = side / size
        stretch = max(step, 1.0)
        lines = []
        for place in range(size):
            centre = step * (place + 0.5)
            within = [at for at in range(side) if abs(at + 0.5 - centre) < support * stretch + 1]
            weights = np.array([kernel((at + 0.5 - centre) / stretch) for at in within])
            lines.append(np.tensordot(weights / weights.sum(), values.take(within, axis), (0, axis)))
        values = np.stack(lines, axis)
    return values


def keys_cubic(x: float) -> float:
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


@pytest.mark.parametrize("interpolation", ["box", "bilinear", "bicubic"])
@pytest.mark.parametrize("depth", [16, "float"])
def test_squares_are_those_of_float64(tmp_path: Path, depth: Any, interpolation: str) -> None:
    pictures = RNG.integers(0, 4096, (10, 36, 36)).astype(np.uint16)
    pictures[0, 0, 0] = 60000  # beyond the window, and cut off before anything is resized
    ref = reference(tmp_path / "set", pictures, npy, window=[0, 4095], depth=depth)
    sides = {"train_size": 24, "eval_size": 16, "interpolation": interpolation}
    build(open_listing(ref), tmp_path / "table", **HOW, **sides)
    table = open_squares(tmp_path / "table")
    for which, size in (("train", 24), ("eval", 16)):
        found = table.gather(np.arange(10), which)
        assert found.dtype == {16: np.uint16, "float": np.float32}[depth] and found.shape == (10, size, size, 3)
        for row, name in enumerate(table.names):
            values = np.load(tmp_path / "set" / name)
            wanted = np.clip(resized(np.clip(values / 4095, 0, 1), size, interpolation), 0, 1) * TOPS[depth]
            # float32 between the two passes of the filter, and half a level of rounding
            assert np.abs(found[row] - wanted[..., None]).max() <= (0.51 if depth == 16 else 1e-6)


KINDS = {
    "npy16": (npy, RNG.integers(0, 65536, (10, 20, 20)).astype(np.uint16), 65535),
    "png16": (png, RNG.integers(0, 65536, (10, 20, 20)).astype(np.uint16), 65535),
    "tiff16": (tiff, RNG.integers(0, 65536, (10, 20, 20)).astype(np.uint16), 65535),
    "tiff-float": (tiff, RNG.uniform(0, 1, (10, 20, 20)).astype(np.float32), 1),
    "doubles": (npy, RNG.uniform(0, 1, (10, 20, 20)), 1),
    "colour16": (npy, RNG.integers(0, 65536, (10, 20, 20, 3)).astype(np.uint16), 65535),
    "colour8": (png, RNG.integers(0, 256, (10, 20, 20, 3)).astype(np.uint8), 255),
    "grey8": (png, RNG.integers(0, 256, (10, 20, 20)).astype(np.uint8), 255),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [16, "float"])
def test_what_is_not_resized_is_kept_as_it_is(tmp_path: Path, kind: str, depth: Any) -> None:
    """Of every kind of file, mapped and streamed alike."""
    write, pictures, top = KINDS[kind]
    window = None if top == 255 else [0, top]
    listing = open_listing(reference(tmp_path / "set", pictures, write, depth=depth, window=window))
    for streamed in (False, True):
        build(listing, tmp_path / str(streamed), **HOW, **SIDES, streamed=streamed)
    table, other = open_squares(tmp_path / "False"), open_squares(tmp_path / "True")
    found = table.gather(np.arange(10), "eval")
    assert np.array_equal(found, other.gather(np.arange(10), "eval"))
    rows = [int(name.partition(".")[0][2:]) for name in table.names]
    colours = pictures if pictures.ndim == 4 else np.repeat(pictures[..., None], 3, axis=3)
    wanted = colours[rows].astype(np.float64) / top
    if depth == 16 and top in (255, 65535):
        assert np.array_equal(found, np.rint(wanted * 65535)), "not a level is lost"
    # half a level, and the last bits of float32
    assert np.abs(found / TOPS[depth] - wanted).max() <= (0.5 / 65535 if depth == 16 else 0) + 1e-7
    assert np.array_equal(table.pictures(np.arange(10)), np.rint(found / TOPS[depth] * 255).astype(np.uint8))


def test_nan_is_black_and_padding_too(tmp_path: Path) -> None:
    pictures = RNG.uniform(2, 3, (10, 24, 12)).astype(np.float32)
    pictures[:, 4] = np.nan
    listing = open_listing(reference(tmp_path / "set", pictures, npy, depth="float", window=[1, 3]))
    build(listing, tmp_path / "table", **HOW, train_size=24, eval_size=24, interpolation="bilinear", fit="pad")
    found = open_squares(tmp_path / "table").gather(np.arange(10), "eval")
    assert (found[:, 4] == 0).all() and (found[:, :, :6] == 0).all() and (found[:, :, 18:] == 0).all()
    assert found[:, 5:, 6:18].min() > 0.49 and found.max() <= 1


def test_tables_of_8_bits_are_those_of_before(tmp_path: Path) -> None:
    assert Target(ref="folder:x", depth=8) == Target(ref="folder:x")
    assert Target(ref="folder:x", depth=8).reference == "folder:x" and Target(ref="folder:x", depth=8).options == {}
    step = {"source": Outside("folder:x", "0"), **SIDES, **{k: v for k, v in HOW.items() if k != "cores"}}
    assert ingest.step(**step).key == ingest.step(**step, depth=8).key != ingest.step(**step, depth=16).key
    pictures = RNG.integers(0, 65536, (10, 30, 30)).astype(np.uint16)
    how = {"window": [0, 65535]}
    for name, more in (("plain", {}), ("said", {"depth": 8})):
        build(open_listing(reference(tmp_path / "set", pictures, npy, **how, **more)), tmp_path / name, **HOW, **SIDES)
    for file in (tmp_path / "plain").iterdir():
        assert file.read_bytes() == (tmp_path / "said" / file.name).read_bytes()
    assert "depth" not in (tmp_path / "plain" / "table.json").read_text()


@pytest.mark.parametrize(("depth", "each"), [(8, 1), (16, 2), ("float", 4)])
def test_bytes_are_foretold(tmp_path: Path, depth: Any, each: int) -> None:
    pictures = RNG.integers(0, 65536, (10, 30, 30)).astype(np.uint16)
    listing = open_listing(reference(tmp_path / "set", pictures, npy, window=[0, 65535], depth=depth))
    said = build(listing, tmp_path / "table", **HOW, train_size=24, eval_size=16, interpolation="bilinear")
    params = {"train_size": 24, "eval_size": 16, "interpolation": "bilinear", "crop": 1.0, "channels": 3}
    assert 10 * stored_bytes({**params, "depth": depth}) == said["bytes"] == 10 * 3 * each * (24**2 + 16**2)
    files = [tmp_path / "table" / f"{name}.safetensors" for name in ("train", "eval")]
    assert sum(file.stat().st_size for file in files) == said["bytes"] + 2 * 256
    example = open_squares(tmp_path / "table").example("eval")
    assert example == examples({**params, "depth": depth})["eval"] and example.bytes == 3 * each * 16**2
    assert example.noun == "images"


def test_files_are_safetensors(tmp_path: Path) -> None:
    from safetensors import safe_open

    pictures = RNG.integers(0, 65536, (10, 20, 20)).astype(np.uint16)
    listing = open_listing(reference(tmp_path / "set", pictures, npy, window=[0, 65535], depth="float"))
    build(listing, tmp_path / "table", **HOW, **SIDES)
    with safe_open(tmp_path / "table" / "train.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("pixels"), open_squares(tmp_path / "table").pixels("train"))


class Held:
    """A table in memory, of one side."""

    def __init__(self, dtype: str, side: int = 24, mapped: bool = True) -> None:
        levels = np.random.default_rng(1).integers(0, 65536, (12, side, side, 3))
        self.images = (levels / 65535).astype(np.float32) if dtype == "float32" else levels.astype(dtype)
        self.shares = self.images.astype(np.float64) / (1 if dtype == "float32" else 65535)
        self.mapped = mapped

    def gather(self, rows: np.ndarray, which: str) -> np.ndarray:
        return self.images[rows]

    def pixels(self, which: str) -> np.ndarray | None:
        return self.images if self.mapped else None


MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_evaluation_is_normalised_as_in_float64(dtype: str) -> None:
    table, rows, labels = Held(dtype), np.array([5, 0, 11, 3]), np.arange(12)
    before = table.images.copy()
    moves = block_permutation(24, 6, seed=0)
    for permutation in (None, moves, block_permutation(24, "channels", seed=0)):
        how = {"labels": labels, "normalisation": Normalisation(MEAN, STD), "permutation": permutation}
        found = torch.cat([x for x, _, _ in eval_batches(table, rows, 3, **how)])
        wanted = torch.from_numpy((table.shares[rows] - MEAN) / STD).permute(0, 3, 1, 2)
        wanted = wanted if permutation is None else shuffle(wanted.contiguous(), permutation)
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.double(), wanted, atol=2e-6, rtol=0)  # float32, at most 3 in size
    assert np.array_equal(table.images, before), "what is kept stays as it is"


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_crops_are_those_of_torchvision_in_float64(dtype: str, interpolation: str) -> None:
    table, rows = Held(dtype, side=40), np.array([7, 2, 2, 9])
    boxes, flips = crop_boxes(np.arange(4), seed=3, epoch=1, table_size=40)
    flips[0] = True
    mode = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}[interpolation]
    wanted = []
    for row, (top, left, height, width), flip in zip(rows, boxes.tolist(), flips, strict=True):
        image = torch.from_numpy(255 * table.shares[row]).permute(2, 0, 1)
        image = tv.resized_crop(image, top, left, height, width, [24, 24], mode, antialias=True).clamp(0, 255)
        wanted.append(tv.horizontal_flip(image) if flip else image)
    by_kernel = crop_resize(table.images, rows, boxes, flips, 24, interpolation)
    by_products = crop_resize_matmul(bits(table.images[rows]), boxes, flips, 24, interpolation)
    for found in (by_kernel, by_products):
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
        # half a level of 16 bits is 0.002 grey values; weights of places up to 40 are float32
        torch.testing.assert_close(found.double(), torch.stack(wanted), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_training_looks_the_same_mapped_and_streamed_whatever_the_batch(dtype: str) -> None:
    rows, labels, looks = np.arange(12), np.arange(12), []
    for mapped, batch_size in ((True, 12), (False, 5)):
        how = {"size": 16, "batch_size": batch_size, "seed": 1, "epoch": 2, "augment": CropAndFlip()}
        batches = Batches(Held(dtype, mapped=mapped), rows, labels, **how, normalisation=Normalisation(MEAN, STD))
        looks.append({int(row): x for xs, _, own in batches for x, row in zip(xs, own, strict=True)})
    assert all(torch.equal(looks[0][row], looks[1][row]) for row in range(12))


def test_sixteen_bits_are_the_same_grey_values_on_every_device() -> None:
    levels = np.array([0, 1, 257, 32767, 32768, 65535], dtype=np.uint16)
    assert bits(levels).dtype == torch.int16  # which every device can index
    torch.testing.assert_close(grey(bits(levels)).double(), torch.from_numpy(levels / 257.0), atol=3e-5, rtol=0)
    assert grey(bits(np.array([7], np.uint8))).dtype == torch.uint8
    assert grey(bits(np.array([0.5], np.float32))).tolist() == [127.5]


def test_normalising_floats_leaves_them_as_they_are() -> None:
    x = 255 * torch.rand(2, 4, 4, 3)
    before = x.clone()
    found = normalise(x, MEAN, STD)
    assert torch.equal(x, before)
    wanted = (before.double() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(found.permute(0, 2, 3, 1).double(), wanted, atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    ("pixels", "blank"),
    [
        (np.array([0, 7], np.uint8), True),
        (np.array([0, 8], np.uint8), False),
        (np.array([30000, 30007], np.uint16), True),
        (np.array([30000, 30008], np.uint16), False),  # a fortieth of a level of 8 bits
        (np.array([0.5, 0.5 + 7 / 65535], np.float32), True),
        (np.array([0.5, 0.5 + 9 / 65535], np.float32), False),
    ],
)
def test_what_is_nearly_one_colour_hangs_on_the_depth(pixels: np.ndarray, blank: bool) -> None:
    assert is_blank(pixels[:, None, None]) is blank


def test_what_a_reader_is_shown() -> None:
    assert shown(np.array([0, 128, 129, 65535], np.uint16)).tolist() == [0, 0, 1, 255]
    assert shown(np.array([0, 0.5, 1], np.float32)).tolist() == [0, 128, 255]
    assert picture(8, 3, "uint16").bytes == 2 * picture(8).bytes
