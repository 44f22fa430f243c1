"""Gram matrices of features: column blocks are centred before the product, only the upper triangle is computed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["linear", "rbf"]

COLUMNS = 2048  # column blocks of about this width stay in cache and make the centred copy small
TILE = 64  # rows of a tile of the upper triangle on a CPU
CONSTANT = 1e-12  # variance over squared mean below which float32 features are rounding noise about a constant


def as_rows(features: Tensor) -> Tensor:
    """Features (n, ...) as (n, d) without a copy where memory allows: the order of the columns does not matter here."""
    x = features.detach()
    if x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(len(x), -1)


def centred_gram(chunks: Sequence[Tensor], columns: int = COLUMNS) -> tuple[Tensor, Tensor]:
    """The (n, n) float32 Gram of centred columns, and whether the features are not constant (a 0-d bool tensor).

    `chunks` are consecutive rows (n_i, d) of one feature matrix, n = sum of n_i, of any float type; they are never
    joined: extra memory is n x `columns`. Centring first keeps features whose mean is 1,000 standard deviations
    exact where centring the Gram loses 3e-2.
    """
    n, d, device = sum(map(len, chunks)), chunks[0].shape[1], chunks[0].device
    tile = max(TILE, n // 16) if device.type == "cpu" else n
    total = torch.zeros(n, n, dtype=torch.float32, device=device)
    energy = torch.zeros((), dtype=torch.float32, device=device)
    buffer = torch.empty(n * min(columns, d), dtype=torch.float32, device=device)
    with full_precision(device):
        for start in range(0, d, columns):
            block = [c[:, start : start + columns] for c in chunks]
            centred = buffer[: n * block[0].shape[1]].view(n, -1)
            mean = torch.stack([b.sum(0, dtype=torch.float32) for b in block]).sum(0) / n
            row = 0
            for b in block:
                torch.sub(b, mean, out=centred[row : row + len(b)])
                row += len(b)
            energy += mean.square().sum()
            for top in range(0, n, tile):
                total[top : top + tile, top:].addmm_(centred[top : top + tile], centred[top:].T)
    for top in range(0, n, tile):  # the lower triangle, a copy
        total[top + tile :, top : top + tile] = total[top : top + tile, top + tile :].T
    return total, total.diagonal().sum() > CONSTANT * n * energy


def kernel_gram(chunks: Sequence[Tensor], kernel: Kernel = "linear", bandwidth: float = 1.0) -> tuple[Tensor, Tensor]:
    """The kernel matrix (n, n) of the rows of `chunks` and whether the features vary.

    "rbf" is exp(-d^2 / (2 bandwidth^2 median)), the (lower) median being that of the squared distances between
    different rows: bandwidth is a fraction of the median distance (Kornblith et al. 2019, section 3).
    """
    linear, varies = centred_gram(chunks)
    if kernel == "linear":
        return linear, varies
    if kernel != "rbf" or bandwidth <= 0:
        raise ValueError(f"kernel must be 'linear' or 'rbf' with a positive bandwidth, not '{kernel}', {bandwidth}.")
    norms = linear.diagonal().clone()
    squared = linear.mul_(-2).add_(norms[:, None]).add_(norms[None]).clamp_(min=0)
    median = squared.view(-1)[upper(len(norms), squared.device)].median()
    tiny = torch.finfo(torch.float32).tiny
    result = squared.div_(-2 * bandwidth**2 * median.clamp_min(tiny)).exp_()
    return result, varies & (median > 0) | ~torch.isfinite(median)


@lru_cache(maxsize=4)
def upper(n: int, device: torch.device) -> Tensor:
    """Flat positions of the strict upper triangle of an (n, n) matrix, row by row, (n (n - 1) / 2,) int32."""
    rows, columns = torch.triu_indices(n, n, 1, device=device, dtype=torch.int32)
    flat: Tensor = rows * n + columns
    return flat


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 products without autocast, TF32 or bf16 shortcuts, whatever the caller has switched on."""
    before = torch.get_float32_matmul_precision()
    try:
        if before != "highest":
            torch.set_float32_matmul_precision("highest")
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        if before != "highest":
            torch.set_float32_matmul_precision(before)
