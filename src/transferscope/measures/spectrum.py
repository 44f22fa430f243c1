"""Spectra of weight matrices and of convolution operators, and how far two share their leading directions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from transferscope.devices import exact

Array = NDArray[np.float64]
RANK = 1e-6  # singular values below this share of the largest have no direction of their own


@dataclass(frozen=True)
class Overlap:
    """||U_k' V_k||_F^2 / k of two top-k singular subspaces of a d-dimensional space, in [0, 1].

    `expected` = k / d is its mean for random subspaces. `value` is None where one matrix has rank below k.
    """

    k: int
    value: float | None
    expected: float


def as_matrix(weight: Tensor) -> Tensor:
    """A weight tensor as (out, in x kh x kw) in float64; a vector is refused."""
    if weight.dim() < 2:
        raise ValueError(f"a spectrum needs a weight of at least two dimensions, not {tuple(weight.shape)}.")
    return exact(weight.detach()).flatten(1)


def singular_values(weight: Tensor) -> Array:
    """All min(out, in...) singular values of `as_matrix(weight)`, descending, by eigenvalues of the smaller Gram.

    Float64 throughout: errors stay below about 2e-8 of the largest value, several times faster than an SVD.
    """
    m = as_matrix(weight)
    return _roots(torch.linalg.eigvalsh(m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m))


def effective_rank(values: ArrayLike) -> float:
    """Exponential of the entropy of the singular values scaled to sum 1 (Roy & Vetterli 2007); 0 for a zero matrix."""
    s = np.asarray(values, dtype=np.float64)
    if s.sum() == 0:
        return 0.0
    p = s[s > 0] / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def overlaps(a: Tensor, b: Tensor, ks: Sequence[int], side: Literal["left", "right"] = "right") -> tuple[Overlap, ...]:
    """Overlap of the top-k singular subspaces of two weights of one shape, for every k in `ks`.

    "right" compares directions of the input (d = in x kh x kw), "left" of the output (d = out).
    """
    if a.shape != b.shape:
        raise ValueError(f"subspaces of weights of different shapes cannot be compared: {a.shape}, {b.shape}.")
    x, y = as_matrix(a), as_matrix(b)
    d = x.shape[1 if side == "right" else 0]
    largest = max(ks, default=1)
    if not 1 <= min(ks, default=1) <= largest <= min(x.shape):
        raise ValueError(f"k must lie between 1 and {min(x.shape)} for weights of shape {tuple(a.shape)}.")
    (u, rank_u), (v, rank_v) = _directions(x, largest, side), _directions(y, largest, side)
    squares = (u.T @ v).square()
    rank = min(rank_u, rank_v)
    return tuple(Overlap(k, float(squares[:k, :k].sum()) / k if k <= rank else None, k / d) for k in ks)


def conv_singular_values(weight: Tensor, height: int, width: int, groups: int = 1) -> Array:
    """All singular values, descending, of a stride-1 convolution with circular padding on height x width images.

    Exact: the operator is block-diagonal in the Fourier basis (Sedghi, Gupta & Long 2019, theorem 6). `weight` is
    (out, in / groups, kh, kw); the result has height x width x min(out, in / groups or out / groups) x groups values.
    """
    if weight.dim() != 4 or height < 1 or width < 1 or weight.shape[0] % groups:
        raise ValueError(f"a convolution's weight is (out, in, kh, kw), not {tuple(weight.shape)}.")
    w = exact(weight.detach())
    out, inner, kh, kw = w.shape
    torus = w.new_zeros(out, inner, math.ceil(kh / height) * height, math.ceil(kw / width) * width)
    torus[:, :, :kh, :kw] = w
    folded = torus.view(out, inner, -1, height, torus.shape[3] // width, width).sum((2, 4))  # wraps a larger kernel
    half = torch.fft.rfft2(folded).permute(2, 3, 0, 1)  # the other frequencies are conjugates: same values
    blocks = half.reshape(height, width // 2 + 1, groups, out // groups, inner)
    adjoint = blocks.mH
    gram = blocks @ adjoint if out // groups <= inner else adjoint @ blocks
    values = torch.linalg.eigvalsh(gram)
    mirrored = values[:, 1 : (width + 1) // 2]
    return _roots(torch.cat([values.flatten(), mirrored.flatten()]))


def _roots(squares: Tensor) -> Array:
    values: Array = squares.clamp_min(0).sqrt().cpu().numpy()
    return np.sort(values)[::-1].copy()


def _directions(m: Tensor, k: int, side: str) -> tuple[Tensor, int]:
    """The top-k singular vectors (d, k) on one side, and the rank of the matrix."""
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', not '{side}'.")
    m = m if side == "left" else m.T  # now the left side is wanted
    wide = m.shape[0] <= m.shape[1]
    squares, vectors = torch.linalg.eigh(m @ m.T if wide else m.T @ m)
    values = squares.flip(0).clamp_min(0).sqrt()
    rank = int((values > RANK * values[0]).sum())
    vectors = vectors.flip(1)[:, :k]
    if wide:
        return vectors, rank
    return torch.linalg.qr(m @ vectors)[0], rank
