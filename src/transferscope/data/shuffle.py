"""Block shuffling: cut images into b x b blocks and move the blocks, which keeps statistics and destroys shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from transferscope.errors import UserError
from transferscope.random_streams import stream

if TYPE_CHECKING:
    import torch

Block = int | Literal["channels"]

PUBLISHED = 1234  # what the paper's code adds to a seed
STAGED = 1 << 18  # bytes gathered at a time: with their result they fit into the second-level cache of one core


def block_sizes(size: int) -> list[int]:
    """The block sizes that divide an image of side `size`, ascending."""
    return [b for b in range(1, size + 1) if size % b == 0]


def block_permutation(
    size: int, b: Block, *, seed: int, channels: int = 3, index: int | None = None, published: bool = False
) -> np.ndarray:
    """The permutation of one run (Neyshabur et al. 2020, section 3.1): one for all images, train and test.

    Returns int64 (n,): block k of a shuffled image is block `permutation[k]` of the original, blocks numbered row by
    row, n = (size / b)^2. With `b = "channels"` all channels * size * size values move, numbered in C, H, W order.
    `b = size` moves nothing. With `index`, the permutation is that image's own. A pure function of its arguments.

    With `published` it is that of the paper's code, ``numpy.random.RandomState(seed + 1234).permutation(n)``: the same
    numbers move the same blocks.
    """
    names: list[str | int] = ["permutation", size, b] if index is None else ["permutation", size, b, index]
    if b == "channels":
        count = channels * size * size
    else:
        if not isinstance(b, int) or b < 1 or size % b:
            raise UserError(
                f"Block size {b!r} does not divide images of {size} px; sizes that do: "
                f"{', '.join(map(str, block_sizes(size)))} (or 'channels')."
            )
        count = (size // b) ** 2
    if published:
        return np.random.RandomState(seed + PUBLISHED).permutation(count)
    return stream(seed, *names).permutation(count)


def image_permutations(indices: np.ndarray, size: int, b: Block, *, seed: int, channels: int = 3) -> np.ndarray:
    """One permutation per image, (len(indices), n), each a function of (seed, index): the harder experiment."""
    each = [block_permutation(size, b, seed=seed, channels=channels, index=int(i)) for i in indices]
    return np.stack(each)


def shuffle(x: torch.Tensor, permutation: np.ndarray) -> torch.Tensor:
    """The shuffled copy of a batch (B, C, H, H) of any dtype, in the same memory format, by one gather.

    `permutation` is (n,) from `block_permutation`, or (B, n) from `image_permutations`. Moving pixels commutes exactly
    with per-channel normalisation, so blocks may move while images are still uint8; "channels" must come after it.
    """
    import torch

    batch, channels, height, width = x.shape
    permutation = np.asarray(permutation)
    count = permutation.shape[-1]
    if height != width or not _fits(count, channels, height):
        raise ValueError(f"a permutation of {count} does not fit images of {channels} x {height} x {width}")
    if permutation.ndim == 2 and len(permutation) != batch:
        raise ValueError(f"{len(permutation)} permutations for {batch} images")
    last = channels > 1 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    flat = x.permute(0, 2, 3, 1) if last else x.contiguous()
    if count == channels * height * height:
        segments = flat.reshape(batch, count)
        moves = _value_moves(permutation, channels, height) if last else permutation
    else:
        block = height // round(count**0.5)
        # A block is `block` rows of contiguous memory: one per line of it, and per channel unless channels are last.
        segments = flat.reshape(batch, -1, block * channels) if last else flat.reshape(batch * channels, -1, block)
        moves = _line_moves(permutation, block)
        if moves.ndim == 2 and not last:
            moves = np.repeat(moves, channels, axis=0)
    moved = _gather(segments, moves)
    if last:
        return moved.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return moved.view(batch, channels, height, width)


def moves_across_channels(permutation: np.ndarray, size: int) -> bool:
    """Whether a permutation mixes channels ("channels"), so that it may only be applied after normalisation."""
    return bool(permutation.shape[-1] > size * size)


def _fits(count: int, channels: int, size: int) -> bool:
    per_side = round(count**0.5)
    return count == channels * size * size or (per_side**2 == count and per_side > 0 and size % per_side == 0)


def _line_moves(permutation: np.ndarray, block: int) -> np.ndarray:
    """Block numbers (..., g * g) to numbers of contiguous lines of one block (..., g * block * g)."""
    if block == 1:
        return permutation
    grid = round(permutation.shape[-1] ** 0.5)
    down, across = np.divmod(permutation.reshape(*permutation.shape[:-1], grid, 1, grid), grid)
    lines: np.ndarray = (down * block + np.arange(block)[:, None]) * grid + across
    return lines.reshape(*permutation.shape[:-1], -1)


def _value_moves(permutation: np.ndarray, channels: int, size: int) -> np.ndarray:
    """A permutation of values in C, H, W order, rewritten for values stored in H, W, C order."""
    channel, place = np.divmod(permutation, size * size)
    stored: np.ndarray = (place * channels + channel).reshape(*permutation.shape[:-1], channels, size * size)
    return stored.swapaxes(-1, -2).reshape(permutation.shape)


def _gather(segments: torch.Tensor, moves: np.ndarray) -> torch.Tensor:
    """segments[i, moves] of (m, n, ...), or segments[i, moves[i]] when every image has its own moves (m, n)."""
    import torch

    if segments.device.type != "cpu":
        return _gather_there(segments, moves)
    if segments.dtype == torch.bfloat16:  # unknown to numpy; only bits move
        return _gather(segments.view(torch.int16), moves).view(torch.bfloat16)
    # Reading main memory in a random order is slow: some images at a time are copied to a place that stays in the
    # core's cache and gathered from there. numpy allocates the result on huge pages, which saves page faults.
    source = segments.numpy()
    out = np.empty_like(source)
    some = 1 if moves.ndim == 2 else max(1, STAGED // source[0].nbytes)
    stage = np.empty_like(source[:some])
    for start in range(0, len(source), some):
        part = slice(start, start + some)
        count = len(source[part])
        stage[:count] = source[part]
        order = moves[start] if moves.ndim == 2 else moves
        stage[:count].take(order, axis=1, out=out[part], mode="clip")
    return torch.from_numpy(out)


def _gather_there(segments: torch.Tensor, moves: np.ndarray) -> torch.Tensor:
    """`_gather` by the tensor's own device."""
    import torch

    index = torch.as_tensor(moves, device=segments.device)
    if moves.ndim == 1:
        return segments.index_select(1, index)
    return segments[torch.arange(len(moves), device=segments.device)[:, None], index]
