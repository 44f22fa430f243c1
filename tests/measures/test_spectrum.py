"""Spectra against SVDs and against convolution operators written out as matrices."""

import math

import numpy as np
import pytest
import torch

from transferscope.measures.spectrum import conv_singular_values, effective_rank, overlaps, singular_values

ROTATION = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (6, 3, 3, 3), (40, 4, 1, 1), (5, 5)])
def test_values_match_the_svd(shape):
    w = normal(*shape)
    expected = torch.linalg.svdvals(w.double().flatten(1)).numpy()
    np.testing.assert_allclose(singular_values(w), expected, atol=2e-8 * expected[0])


def test_values_are_unchanged_by_rotation_and_scale_with_the_weight():
    w = normal(40, 12).double()
    np.testing.assert_allclose(singular_values(3 * ROTATION @ w), 3 * singular_values(w), atol=1e-7)


def test_effective_rank_of_known_spectra():
    assert effective_rank([2.0] * 5) == pytest.approx(5)
    assert effective_rank([1.0, 0.0, 0.0]) == pytest.approx(1)
    assert effective_rank([0.0, 0.0]) == 0
    assert effective_rank([3.0, 1.0]) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_overlap_matches_the_svd(side, shape):
    a, b = normal(*shape), normal(*shape) + torch.linspace(0, 1, shape[1])
    found = overlaps(a, b, [1, 3, 10], side)
    for o in found:
        (ua, _, va), (ub, _, vb) = (torch.linalg.svd(m.double(), full_matrices=False) for m in (a, b))
        u, v = (ua[:, : o.k], ub[:, : o.k]) if side == "left" else (va[: o.k].T, vb[: o.k].T)
        assert o.value == pytest.approx(float((u.T @ v).square().sum()) / o.k, abs=1e-9)
        assert o.expected == o.k / (shape[0] if side == "left" else shape[1])


def test_overlap_with_itself_is_one_and_with_chance_its_expectation():
    a = normal(20, 50)
    assert all(o.value == pytest.approx(1) for o in overlaps(a, -2 * a, [1, 7, 20]))
    generator = torch.Generator().manual_seed(1)
    draws = [overlaps(*torch.randn(2, 12, 30, generator=generator), [4])[0].value for _ in range(300)]
    assert np.mean(draws) == pytest.approx(4 / 30, abs=4 * np.std(draws) / math.sqrt(300))


def test_directions_beyond_the_rank_are_undefined():
    low = normal(8, 2) @ normal(2, 9)
    assert [o.value is None for o in overlaps(low, low, [1, 2, 3])] == [False, False, True]
    zero = torch.zeros(8, 9)
    assert overlaps(zero, low, [1])[0].value is None and singular_values(zero).max() == 0
    with pytest.raises(ValueError, match="between 1 and 8"):
        overlaps(low, low, [9])


def operator(weight, height, width, groups):
    """The matrix of a circular convolution, one basis image at a time."""
    channels = weight.shape[1] * groups
    basis = torch.eye(channels * height * width, dtype=torch.float64).view(-1, channels, height, width)
    kh, kw = weight.shape[2:]
    index_h, index_w = (torch.arange(height + kh - 1) % height), (torch.arange(width + kw - 1) % width)
    padded = basis[:, :, index_h][:, :, :, index_w]
    return torch.nn.functional.conv2d(padded, weight.double(), groups=groups).flatten(1)


@pytest.mark.parametrize(
    ("shape", "size", "groups"),
    [
        ((3, 2, 3, 3), (5, 4), 1),
        ((2, 4, 3, 3), (4, 5), 1),
        ((4, 1, 3, 3), (3, 3), 4),
        ((6, 2, 1, 1), (2, 3), 2),
        ((2, 2, 5, 7), (3, 4), 1),
        ((2, 3, 3, 3), (1, 1), 1),
    ],
)
def test_the_operator_spectrum_is_that_of_the_written_out_matrix(shape, size, groups):
    w = normal(*shape)
    expected = torch.linalg.svdvals(operator(w, *size, groups)).numpy()
    found = conv_singular_values(w, *size, groups)
    assert found.shape == expected[: len(found)].shape
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-7 * expected[0])
    np.testing.assert_allclose(expected[len(found) :], 0, atol=1e-6)


def test_a_vector_has_no_spectrum():
    with pytest.raises(ValueError, match="two dimensions"):
        singular_values(torch.ones(3))
