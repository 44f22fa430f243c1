"""Orthogonal Procrustes distance between two representations."""

import torch
from torch import Tensor

from transferscope.devices import exactly
from transferscope.measures.gram import COLUMNS, CONSTANT, as_rows


def procrustes(features_a: Tensor, features_b: Tensor) -> float | None:
    """min over rotations Q of ||A - B Q||_F^2, columns centred and both scaled to norm 1: 2 - 2 ||A'B||_*, in [0, 2].

    Arguments are (n, ...) features of the same n samples in the same order; widths may differ (Ding et al. 2021,
    section 3). None if one is constant. In float64: the roots of a float32 Gram are good to 1e-4 only.
    """
    if len(features_a) != len(features_b):
        raise ValueError(f"Procrustes needs the same samples twice, not {len(features_a)} and {len(features_b)}.")
    a, b = _root(as_rows(features_a)), _root(as_rows(features_b))
    if a is None or b is None:
        return None
    return 2 - 2 * float(torch.linalg.svdvals(a.T @ b).sum())


def _root(rows: Tensor) -> Tensor | None:
    """An (n, r) matrix with r <= n and the same inner products as the centred rows of norm 1; None if constant."""
    rows = exactly(rows)
    n, d = rows.shape
    gram = rows.new_zeros(n, n, dtype=torch.float64)
    energy, centred = 0.0, rows.new_zeros(n, 0, dtype=torch.float64)
    for start in range(0, d, COLUMNS):
        block = rows[:, start : start + COLUMNS].double()
        mean = block.mean(0)
        energy += n * float(mean.square().sum())
        centred = block - mean
        gram.addmm_(centred, centred.T)
    trace = float(gram.diagonal().sum())
    if trace <= CONSTANT * energy:
        return None
    if d <= min(n, COLUMNS):
        root: Tensor = centred / trace**0.5
    else:
        values, vectors = torch.linalg.eigh(gram / trace)
        root = vectors * values.clamp_min(0).sqrt()
    return root
