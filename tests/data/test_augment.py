"""Crop boxes follow torchvision's law and depend on (seed, epoch, index) alone; every resize equals torchvision's."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from transferscope.data.augment import CropAndFlip, crop_boxes, crop_resize, crop_resize_matmul, resize_weights
from transferscope.errors import UserError

MODES = {"bilinear": InterpolationMode.BILINEAR, "bicubic": InterpolationMode.BICUBIC}


def images(n: int, side: int, seed: int = 0) -> np.ndarray:
    """Smooth shapes, hard edges and pure noise: noise is the worst case of rounding and overshoot."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    waves = [127 + 127 * np.sin((k + 1) * (x + 2 * y) / side)[..., None] * np.array([1, -1, 0.5]) for k in range(n)]
    out = np.stack(waves).astype(np.uint8)
    out[1::3] = rng.integers(0, 256, out[1::3].shape)
    out[2::3] = np.where(rng.random(out[2::3].shape) < 0.5, 0, 255)
    return out


def torchvision_crops(pixels, rows, boxes, flips, size, interpolation):
    out = []
    for row, (top, left, h, w), flip in zip(rows, boxes.tolist(), flips, strict=True):
        image = torch.from_numpy(pixels[row].transpose(2, 0, 1).copy())
        image = tv.resized_crop(image, top, left, h, w, [size, size], MODES[interpolation], antialias=True)
        out.append(tv.horizontal_flip(image) if flip else image)
    return torch.stack(out)


def some_crops(n: int, side: int):
    boxes, flips = crop_boxes(np.arange(n), seed=3, epoch=1, table_size=side)
    boxes[0] = 0, 0, side, side
    boxes[1] = side - 5, side - 7, 5, 7  # enlarged, in the corner
    boxes[2] = 3, 4, 1, 1
    boxes[3] = 0, 5, side, 2
    return boxes, flips


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "size"), [(96, 64), (48, 64), (80, 16)])
def test_crops_equal_torchvision_within_two_levels(interpolation, side, size):
    n = 24
    pixels = images(n, side)
    boxes, flips = some_crops(n, side)
    assert 4 < flips.sum() < n - 4
    rows = np.random.default_rng(1).permutation(n)
    want = torchvision_crops(pixels, rows, boxes, flips, size, interpolation).int()
    fast = crop_resize(pixels, rows, boxes, flips, size, interpolation)
    assert fast.dtype == torch.uint8 and fast.is_contiguous(memory_format=torch.channels_last)
    assert (fast.int() - want).abs().max() <= 2
    products = crop_resize_matmul(torch.from_numpy(pixels[rows]), boxes, flips, size, interpolation)
    assert products.dtype == torch.uint8 and products.is_contiguous(memory_format=torch.channels_last)
    assert (products.int() - want).abs().max() <= 2


def slow_resize(image: np.ndarray, box, flip: bool, size: int, interpolation: str) -> np.ndarray:
    """The definition in float64: each output pixel is a weighted mean of the crop's pixels, first along x, then y."""

    def kernel(t: float) -> float:
        t = abs(t)
        if interpolation == "bilinear":
            return max(0.0, 1 - t)
        if t < 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    def resize_first_axis(a: np.ndarray) -> np.ndarray:
        step = len(a) / size
        out = []
        for i in range(size):
            w = np.array([kernel((j + 0.5 - step * (i + 0.5)) / max(step, 1)) for j in range(len(a))])
            out.append(np.tensordot(w / w.sum(), a, 1).clip(0, 255))
        return np.stack(out)

    top, left, h, w = box
    crop = image[top : top + h, left : left + w].astype(np.float64)
    out = resize_first_axis(resize_first_axis(crop.swapaxes(0, 1)).swapaxes(0, 1))
    return out[:, ::-1] if flip else out


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_both_paths_equal_the_definition_in_float64(interpolation):
    n, side, size = 8, 20, 12
    pixels = images(n, side)
    boxes, flips = some_crops(n, side)
    rows = np.arange(n)
    cases = zip(pixels, boxes.tolist(), flips, strict=True)
    want = np.stack([slow_resize(image, box, flip, size, interpolation) for image, box, flip in cases])
    products = crop_resize_matmul(torch.from_numpy(pixels), boxes, flips, size, interpolation)
    assert np.abs(products.permute(0, 2, 3, 1).numpy() - want).max() <= 0.5001  # rounding alone
    fast = crop_resize(pixels, rows, boxes, flips, size, interpolation)
    assert np.abs(fast.permute(0, 2, 3, 1).numpy() - want).max() <= 2


def test_weights_sum_to_one_and_stay_inside_the_crop():
    weights = resize_weights(torch.tensor([3]), torch.tensor([9]), 16, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 5))
    assert (weights[..., :3] == 0).all() and (weights[..., 12:] == 0).all() and (weights[..., 3:12].sum(1) > 0).all()


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_the_same_index_gives_the_same_pixels_in_any_batch(batch):
    n = 32
    pixels = images(n, 40)
    options = {"seed": 5, "epoch": 2, "table_size": 40}
    boxes, flips = crop_boxes(np.arange(n), **options)
    whole = crop_resize(pixels, np.arange(n), boxes, flips, 24)
    order = np.random.default_rng(0).permutation(n)
    for start in range(0, n, batch):
        rows = order[start : start + batch]
        part = crop_resize(pixels, rows, *crop_boxes(rows, **options), 24)
        assert torch.equal(part, whole[torch.from_numpy(rows)])


def test_memory_maps_and_tensors_give_the_same_pixels_as_arrays(tmp_path):
    pixels = images(6, 32)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=pixels.shape)
    mapped[:] = pixels
    mapped.flush()
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=pixels.shape)
    boxes, flips = crop_boxes(np.arange(6), seed=0, epoch=0, table_size=32)
    want = crop_resize(pixels, np.arange(6), boxes, flips, 16)
    assert torch.equal(crop_resize(mapped, np.arange(6), boxes, flips, 16), want)
    assert torch.equal(crop_resize(torch.from_numpy(pixels), np.arange(6), boxes, flips, 16), want)


def test_boxes_do_not_depend_on_order_company_or_duplicates():
    options = {"seed": 1, "epoch": 3, "table_size": 96}
    indices = np.array([9000, 5, 4095, 4096, 5, 0])  # several blocks of draws
    boxes, flips = crop_boxes(indices, **options)
    for k, index in enumerate(indices):
        box, flip = crop_boxes(np.array([index]), **options)
        assert (box[0] == boxes[k]).all() and flip[0] == flips[k]
    for change in ({"seed": 2}, {"epoch": 4}):
        other, _ = crop_boxes(np.arange(50), **{**options, **change})
        assert (other != crop_boxes(np.arange(50), **options)[0]).any(axis=1).mean() > 0.9
    assert len(np.unique(crop_boxes(np.arange(5000), **options)[0], axis=0)) > 4500  # blocks differ from each other
    empty, none = crop_boxes(np.array([], dtype=int), **options)
    assert empty.shape == (0, 4) and none.shape == (0,)


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [((0.08, 1.0), (3 / 4, 4 / 3)), ((0.5, 0.9), (0.9, 1.1)), ((0.9, 1.0), (1.5, 3.0)), ((0.9, 1.0), (0.3, 0.6))],
)
def test_boxes_follow_the_law_of_torchvision(scale, ratio):
    """The last two settings rarely fit, so they also exercise the second try and the centre fallback."""
    n, side = 4000, 96
    boxes, flips = crop_boxes(np.arange(n), seed=0, epoch=0, table_size=side, scale=scale, ratio=ratio)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blank = torch.empty(3, side, side)
        theirs = np.array([RandomResizedCrop.get_params(blank, scale, ratio) for _ in range(n)])
    assert boxes.min() >= 0 and boxes[:, 2:].min() >= 1
    assert (boxes[:, :2] + boxes[:, 2:]).max() <= side
    features = [lambda b: b[:, 2], lambda b: b[:, 3], lambda b: b[:, 0], lambda b: b[:, 1]]
    features += [lambda b: b[:, 2] * b[:, 3] / side**2, lambda b: np.log(b[:, 3] / b[:, 2])]
    for feature in features:
        ours, reference = np.sort(feature(boxes)), np.sort(feature(theirs))
        both = np.concatenate([ours, reference])
        gap = np.searchsorted(ours, both, "right") - np.searchsorted(reference, both, "right")
        assert np.abs(gap).max() / n < 1.95 * math.sqrt(2 / n)  # Kolmogorov-Smirnov, p about 0.001
    assert abs(flips.mean() - 0.5) < 0.04


def test_flip_chance_is_kept():
    for chance in (0.0, 1.0):
        _, flips = crop_boxes(np.arange(100), seed=0, epoch=0, table_size=32, flip=chance)
        assert (flips == bool(chance)).all()


@pytest.mark.parametrize(
    "bad", [{"interpolation": "biliner"}, {"scale": (0.5, 0.1)}, {"scale": (0.0, 1.0)}, {"ratio": (2, 1)}, {"flip": 2}]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(UserError):
        CropAndFlip(**bad)


def test_an_unknown_filter_is_named():
    with pytest.raises(UserError, match="did you mean 'bicubic'"):
        crop_resize(images(1, 8), np.array([0]), np.array([[0, 0, 8, 8]]), np.array([False]), 4, "bicubik")
