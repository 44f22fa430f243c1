"""Random-resized-crop and flip of a whole batch: boxes that depend on (seed, epoch, index) alone, and their resize."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from transferscope.data.levels import bits, grey
from transferscope.errors import UserError, did_you_mean
from transferscope.random_streams import stream

INTERPOLATIONS = ("bilinear", "bicubic")

_TRIES = 10  # torchvision gives up after ten boxes that do not fit and takes the centre
_DRAWS = 2 * _TRIES + 3  # area and ratio of each try, then top, left, flip
_BLOCK = 4096  # rows drawn from one stream: bounds memory and the cost of asking for a single index


@dataclass(frozen=True)
class CropAndFlip:
    """How a training image is cropped: share of the area, width/height ratio, chance of a flip, resampling filter."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise UserError(f"Crop scale {self.scale} must be two shares of the area in (0, 1], the smaller first.")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise UserError(f"Crop ratio {self.ratio} must be two positive numbers, the smaller first.")
        if not 0 <= self.flip <= 1:
            raise UserError(f"Flip chance {self.flip} must lie in [0, 1].")
        _check_interpolation(self.interpolation)


def crop_boxes(
    indices: np.ndarray,
    *,
    seed: int,
    epoch: int,
    table_size: int,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """The crop boxes (b, 4) as top, left, height, width in pixels, and the flips (b,), of images `indices` (b,).

    The law is that of torchvision's RandomResizedCrop on a square image of side `table_size`: up to ten boxes with area
    uniform in `scale` and log-ratio uniform in `ratio`, the first that fits, else the centre. Each row depends on
    (seed, epoch, index) alone: neither on the other indices nor on their order.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if indices.size and indices.min() < 0:
        raise ValueError("image indices must not be negative")
    boxes = np.empty((len(indices), 4), dtype=np.int64)
    flips = np.empty(len(indices), dtype=bool)
    blocks = indices // _BLOCK
    for block in np.unique(blocks).tolist():
        members = np.flatnonzero(blocks == block)
        draws = stream(seed, "augment", epoch, block).random((_BLOCK, _DRAWS))[indices[members] % _BLOCK]
        boxes[members] = _boxes_from(draws, table_size, scale, ratio)
        flips[members] = draws[:, -1] < flip
    return boxes, flips


def _boxes_from(draws: np.ndarray, side: int, scale: tuple[float, float], ratio: tuple[float, float]) -> np.ndarray:
    """Boxes (n, 4) from uniform draws (n, _DRAWS)."""
    area = side * side * (scale[0] + (scale[1] - scale[0]) * draws[:, :_TRIES])
    low, high = np.log(ratio)
    aspect = np.exp(low + (high - low) * draws[:, _TRIES : 2 * _TRIES])
    width, height = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
    fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
    first = (np.arange(len(draws)), fits.argmax(axis=1))
    found = fits.any(axis=1)
    # The centre fallback of torchvision, for an image of ratio 1.
    centre_w = side if ratio[1] >= 1 else max(1, round(side * ratio[1]))
    centre_h = side if ratio[0] <= 1 else max(1, round(side / ratio[0]))
    w, h = np.where(found, width[first], centre_w), np.where(found, height[first], centre_h)
    top = np.where(found, np.floor(draws[:, -3] * (side - h + 1)), (side - h) // 2)
    left = np.where(found, np.floor(draws[:, -2] * (side - w + 1)), (side - w) // 2)
    return np.stack([top, left, h, w], axis=1).astype(np.int64)


def crop_resize(
    pixels: np.ndarray | torch.Tensor,
    rows: np.ndarray,
    boxes: np.ndarray,
    flips: np.ndarray,
    size: int,
    interpolation: str = "bilinear",
) -> torch.Tensor:
    """Images `rows` of `pixels` (n, S, S, C), cropped, resized with antialiasing to `size`, then mirrored.

    Returns (b, C, size, size), channels_last, on the device of `pixels`: of uint8 pixels uint8, of deeper ones float32
    (`levels.grey`). Arrays (memory maps too) and CPU tensors go image by image through torch's own kernels, so a result
    never depends on the rest of the batch; tensors on an accelerator go through `crop_resize_matmul`.
    """
    _check_interpolation(interpolation)
    if isinstance(pixels, torch.Tensor):
        if pixels.device.type != "cpu":
            picked = pixels[torch.as_tensor(rows, device=pixels.device)]
            return crop_resize_matmul(picked, boxes, flips, size, interpolation)
        pixels = pixels.numpy()
    source = np.asarray(pixels)  # a plain view: slicing np.memmap itself is several times slower
    kind = torch.uint8 if source.dtype == np.uint8 else torch.float32
    out = torch.empty((len(rows), source.shape[3], size, size), dtype=kind, memory_format=torch.channels_last)
    places = zip(out.unsqueeze(1).unbind(), np.asarray(rows).tolist(), boxes.tolist(), flips.tolist(), strict=True)
    for target, row, (top, left, height, width), flip in places:
        crop = source[row : row + 1, top : top + height, left : left + width].copy()
        image = grey(bits(crop)).permute(0, 3, 1, 2)
        image = F.interpolate(image, (size, size), mode=interpolation, align_corners=False, antialias=True)
        image = image.clamp_(0, 255) if kind != torch.uint8 else image  # bicubic overshoots
        target.copy_(image.flip(3) if flip else image)
    return out


def crop_resize_matmul(
    images: torch.Tensor, boxes: np.ndarray, flips: np.ndarray, size: int, interpolation: str = "bilinear"
) -> torch.Tensor:
    """The crop, resize and flip of `crop_resize` as two batched matrix products on any device.

    `images` is (b, S, S, C), uint8 or deeper; box i belongs to image i. Every image has its own weights Wy, Wx (size x
    S) that hold crop, antialiasing filter and flip; the result is Wy @ clamp(image @ Wx^T), computed in float32 and
    rounded to uint8 (b, C, size, size), channels_last. It is within 2/255 of the uint8 kernels. Of deeper images
    nothing is rounded, and only the result is clamped.
    """
    _check_interpolation(interpolation)
    batch, side, _, channels = images.shape
    box = torch.as_tensor(boxes, device=images.device)
    mirrored = torch.as_tensor(flips, device=images.device)
    vertical = resize_weights(box[:, 0], box[:, 2], side, size, interpolation)
    horizontal = resize_weights(box[:, 1], box[:, 3], side, size, interpolation)
    horizontal = torch.where(mirrored[:, None, None], horizontal.flip(1), horizontal)
    planes = grey(images).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # The 8-bit kernels clamp between the two passes; bicubic overshoots there, so this must too.
    rows = torch.bmm(planes.reshape(batch, channels * side, side), horizontal.mT)
    rows = rows.clamp_(0, 255) if images.dtype == torch.uint8 else rows
    out = torch.matmul(vertical[:, None], rows.view(batch, channels, side, size))
    if images.dtype != torch.uint8:
        return out.clamp_(0, 255).contiguous(memory_format=torch.channels_last)
    return out.round_().clamp_(0, 255).to(torch.uint8, memory_format=torch.channels_last)


def resize_weights(
    start: torch.Tensor, length: torch.Tensor, side: int, size: int, interpolation: str = "bilinear"
) -> torch.Tensor:
    """Antialiased weights (b, size, side) that resample pixels [start, start + length) to `size` pixels; rows sum to 1.

    The filter is stretched by the shrink factor and cut off at the edge of the crop, as in Pillow and torch
    (`antialias=True`): triangle for bilinear, Keys' cubic with a = -0.5 for bicubic.
    """
    kernel = _FILTERS[interpolation]
    begin = start.to(torch.float32)[:, None, None]
    span = length.to(torch.float32)[:, None, None]
    step = span / size
    centre = begin + step * (torch.arange(size, device=start.device)[:, None] + 0.5)
    position = torch.arange(side, device=start.device) + 0.5
    weights = kernel((position - centre) / step.clamp(min=1))
    weights = weights * ((position > begin) & (position < begin + span))
    return weights / weights.sum(-1, keepdim=True)


def _triangle(x: torch.Tensor) -> torch.Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: torch.Tensor) -> torch.Tensor:
    x = x.abs()
    inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))


_FILTERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"bilinear": _triangle, "bicubic": _cubic}


def _check_interpolation(name: str) -> None:
    if name not in INTERPOLATIONS:
        raise UserError(f"Unknown interpolation '{name}' for augmentation; {did_you_mean(name, INTERPOLATIONS)}")
