"""Block shuffling obeys its laws, equals unfold-permute-fold, and is the same on every machine."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import transferscope.data.shuffle as module
from transferscope.data.batches import normalise
from transferscope.data.shuffle import (
    block_permutation,
    block_sizes,
    image_permutations,
    moves_across_channels,
    shuffle,
)
from transferscope.errors import UserError

SIZE = 24
BLOCKS = [1, 2, 3, 8, 12, 24, "channels"]
FORMATS = [torch.contiguous_format, torch.channels_last]
GOLDEN_BLOCKS = [15, 8, 14, 12, 3, 9, 11, 10, 1, 13, 0, 6, 7, 5, 4, 2]
GOLDEN_CHANNELS = [2853, 569, 1710, 2613, 1017, 1749, 731, 333]
GOLDEN_IMAGE = [4, 10, 0, 12, 11, 6, 7, 13, 15, 14, 2, 3, 5, 9, 8, 1]


def batch(dtype=torch.float32, memory_format=torch.contiguous_format, channels=3, n=5):
    values = torch.randperm(n * channels * SIZE * SIZE, generator=torch.Generator().manual_seed(0))
    x = (values % 251 if dtype in (torch.uint8, torch.bfloat16) else values).to(dtype)
    return x.view(n, channels, SIZE, SIZE).contiguous(memory_format=memory_format)


def slow_shuffle(x: torch.Tensor, permutation: np.ndarray, b) -> torch.Tensor:
    """The definition, image by image in float64: unfold into blocks, permute, fold."""
    out = []
    for image in x.double():
        if b == "channels":
            out.append(image.reshape(-1)[permutation].view(image.shape))
        else:
            patches = F.unfold(image[None], b, stride=b)
            out.append(F.fold(patches[:, :, permutation], image.shape[-2:], b, stride=b)[0])
    return torch.stack(out)


@pytest.mark.parametrize("b", BLOCKS)
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16])
def test_shuffle_equals_unfold_permute_fold_and_is_undone(b, memory_format, dtype):
    x = batch(dtype, memory_format)
    before = x.clone()
    permutation = block_permutation(SIZE, b, seed=1)
    shuffled = shuffle(x, permutation)
    assert torch.equal(shuffled.double(), slow_shuffle(x, permutation, b))
    assert shuffled.dtype == dtype and shuffled.is_contiguous(memory_format=memory_format)
    assert torch.equal(shuffle(shuffled, np.argsort(permutation)), x)
    assert torch.equal(x, before)
    assert torch.equal(shuffled, x) == (b == SIZE)


@pytest.mark.parametrize("b", BLOCKS)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_a_permutation_per_image(b, memory_format):
    x = batch(memory_format=memory_format)
    indices = np.array([7, 3, 7, 100, 0])
    permutations = image_permutations(indices, SIZE, b, seed=2)
    shuffled = shuffle(x, permutations)
    for k in range(len(x)):
        assert torch.equal(shuffled[k].double(), slow_shuffle(x[k : k + 1], permutations[k], b)[0])
    assert torch.equal(shuffle(shuffled, np.argsort(permutations, axis=-1)), x)
    assert (permutations[0] == permutations[2]).all()
    assert (permutations[1] == image_permutations(np.array([3]), SIZE, b, seed=2)[0]).all()
    assert b == SIZE or (permutations[0] != permutations[1]).any()


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("b", [2, "channels"])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_other_devices_gather_the_same(monkeypatch, per_image, b, memory_format):
    x = batch(memory_format=memory_format)
    permutation = image_permutations(np.arange(5), SIZE, b, seed=0) if per_image else block_permutation(SIZE, b, seed=0)
    here = shuffle(x, permutation)
    monkeypatch.setattr(module, "_gather", module._gather_there)
    assert torch.equal(shuffle(x, permutation), here)


@pytest.mark.parametrize("b", [1, 8, "channels"])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_images_are_staged_a_few_at_a_time(monkeypatch, b, memory_format):
    """Two planes of 24 x 24 floats fit, and 15 are an odd number."""
    x, permutation = batch(memory_format=memory_format), block_permutation(SIZE, b, seed=3)
    monkeypatch.setattr(module, "STAGED", 5_000)
    assert torch.equal(shuffle(x, permutation).double(), slow_shuffle(x, permutation, b))


@pytest.mark.parametrize("b", [b for b in BLOCKS if b != "channels"])
def test_moving_blocks_before_normalisation_is_exactly_moving_them_after(b):
    x = batch(torch.uint8, torch.channels_last)
    permutation = block_permutation(SIZE, b, seed=4)
    assert not moves_across_channels(permutation, SIZE)
    assert torch.equal(normalise(shuffle(x, permutation)), shuffle(normalise(x), permutation))


def test_channels_do_not_commute_with_normalisation():
    x = batch(torch.uint8, torch.channels_last)
    permutation = block_permutation(SIZE, "channels", seed=4)
    assert moves_across_channels(permutation, SIZE)
    assert not torch.equal(normalise(shuffle(x, permutation)), shuffle(normalise(x), permutation))


@pytest.mark.parametrize("channels", [1, 4])
def test_other_numbers_of_channels(channels):
    x = batch(channels=channels)
    for b in (1, 4, "channels"):
        permutation = block_permutation(SIZE, b, seed=0, channels=channels)
        assert torch.equal(shuffle(x, permutation).double(), slow_shuffle(x, permutation, b))


@pytest.mark.parametrize(("size", "b", "count"), [(224, 112, 4), (224, 1, 224**2), (8, 8, 1), (16, "channels", 768)])
def test_a_permutation_holds_every_block_once(size, b, count):
    permutation = block_permutation(size, b, seed=0)
    assert permutation.dtype == np.int64
    assert (np.sort(permutation) == np.arange(count)).all()


def test_the_permutation_is_the_same_on_every_machine():
    """Printed once by numpy 2.4 on x86-64; a change would make shuffled runs of two machines incomparable."""
    assert block_permutation(32, 8, seed=0).tolist() == GOLDEN_BLOCKS
    assert block_permutation(32, "channels", seed=7)[:8].tolist() == GOLDEN_CHANNELS
    assert block_permutation(32, 8, seed=0, index=5).tolist() == GOLDEN_IMAGE


def test_seed_and_block_size_change_the_permutation():
    first = block_permutation(64, 8, seed=0)
    assert (block_permutation(64, 8, seed=0) == first).all()
    assert (block_permutation(64, 8, seed=1) != first).any()
    assert (block_permutation(128, 16, seed=0) != first).any()


@pytest.mark.parametrize("b", [5, 0, -8, 225, "chanels", 2.0])
def test_a_block_that_does_not_divide_the_image_names_those_that_do(b):
    with pytest.raises(UserError, match="1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 112, 224"):
        block_permutation(224, b, seed=0)


def test_block_sizes():
    assert block_sizes(12) == [1, 2, 3, 4, 6, 12]


def test_a_permutation_of_another_image_size_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        shuffle(batch(), block_permutation(32, "channels", seed=0))
    with pytest.raises(ValueError, match="does not fit"):
        shuffle(batch(), block_permutation(35, 5, seed=0))
    with pytest.raises(ValueError, match="permutations for"):
        shuffle(batch(), image_permutations(np.arange(4), SIZE, 8, seed=0))


def test_the_published_order_is_the_papers() -> None:
    """As its code has it: an unfold into blocks, `RandomState(seed + 1234)`, a fold; the same for single values."""
    x, side, b = torch.randn(2, 3, 24, 24), 24, 6
    order = torch.from_numpy(np.random.RandomState(2 + 1234).permutation((side // b) ** 2))
    blocks = torch.nn.functional.unfold(x, b, stride=b)[..., order]
    expected = torch.nn.functional.fold(blocks, side, b, stride=b)
    assert torch.equal(shuffle(x, block_permutation(side, b, seed=2, published=True)), expected)
    values = torch.from_numpy(np.random.RandomState(1234).permutation(3 * side * side))
    moved = shuffle(x, block_permutation(side, "channels", seed=0, published=True))
    assert torch.equal(moved, x.flatten(1)[:, values].view_as(x))
    first = [13, 11, 0, 12, 14, 2, 10, 7, 1, 9, 8, 4, 5, 6, 3, 15]
    assert block_permutation(224, 56, seed=0, published=True).tolist() == first
