"""Batches hold every row exactly once, look the same whatever the batch size, and continue where an epoch stopped."""

from functools import partial

import numpy as np
import pytest
import torch

from transferscope.data.augment import CropAndFlip
from transferscope.data.batches import Batches, Normalisation, eval_batches, mixup, normalise
from transferscope.data.epoch_order import epoch_order
from transferscope.data.shuffle import block_permutation, image_permutations, shuffle


class ArrayTable:
    """A table held in memory; `mapped=False` stands for one that is streamed."""

    def __init__(self, n: int = 50, mapped: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.images = {
            "train": rng.integers(0, 256, (n, 24, 24, 3), dtype=np.uint8),
            "eval": rng.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8),
        }
        self.mapped = mapped

    def gather(self, rows, which):
        return self.images[which][rows]

    def pixels(self, which):
        return self.images[which] if self.mapped else None


LABELS = np.arange(50) % 7
ROWS = np.arange(3, 47)


def training(table=None, **changes) -> Batches:
    options = {
        "rows": ROWS,
        "labels": LABELS,
        "size": 16,
        "batch_size": 8,
        "seed": 1,
        "epoch": 2,
        "augment": CropAndFlip(),
    }
    return Batches(table=table or ArrayTable(), **{**options, "augment": CropAndFlip(), **changes})


def naive_batches(rows: list[int], size: int) -> list[list[int]]:
    """Cut by hand: a last image by itself goes to the batch before."""
    cut = [rows[i : i + size] for i in range(0, len(rows), size)]
    if size > 1 and len(cut) > 1 and len(cut[-1]) == 1:
        cut[-2:] = [cut[-2] + cut[-1]]
    return cut


@pytest.mark.parametrize("augment", [None, CropAndFlip()])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 32, 33, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 17, 33, 34, 44])
def test_an_image_left_over_joins_the_batch_before(count, size, augment):
    batches = training(rows=ROWS[:count], batch_size=size, augment=augment)
    order = epoch_order(ROWS[:count], seed=1, epoch=2).tolist()
    found = [rows.tolist() for _, _, rows in batches]
    assert found == naive_batches(order, size) and len(found) == len(batches)
    assert size == 1 or count == 1 or min(map(len, found)) > 1
    for start in range(len(found) + 2):  # an epoch goes on in the same batches
        rest = training(rows=ROWS[:count], batch_size=size, augment=augment, start_batch=start)
        assert [rows.tolist() for _, _, rows in rest] == found[start:] and len(rest) == len(found[start:])


def by_row(batches) -> dict[int, torch.Tensor]:
    return {int(row): image for x, _, rows in batches for row, image in zip(rows, x, strict=True)}


def test_epoch_order_holds_every_row_once_and_changes_with_seed_and_epoch():
    order = epoch_order(ROWS, seed=1, epoch=0)
    assert sorted(order) == list(ROWS) and (order != ROWS).any()
    assert (order == epoch_order(ROWS, seed=1, epoch=0)).all()
    assert (order != epoch_order(ROWS, seed=1, epoch=1)).any() and (order != epoch_order(ROWS, seed=2, epoch=0)).any()
    assert (np.arange(3, 47) == ROWS).all()


@pytest.mark.parametrize("augment", [None, CropAndFlip()])
@pytest.mark.parametrize("batch_size", [1, 7, 8, 43, 44, 100])
def test_no_row_is_dropped_or_seen_twice_and_labels_stay_with_their_images(augment, batch_size):
    batches = training(batch_size=batch_size, augment=augment)
    seen = list(batches)
    assert len(seen) == len(batches) == (1 if batch_size == 43 else -(-len(ROWS) // batch_size))
    assert sorted(np.concatenate([rows for _, _, rows in seen])) == list(ROWS)
    for x, y, rows in seen:
        assert x.shape == (len(rows), 3, 16, 16) and x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert y.tolist() == LABELS[rows].tolist()


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_pixels_depend_on_seed_epoch_and_row_only(batch_size, mapped):
    whole = by_row(training(batch_size=44))
    part = by_row(training(ArrayTable(mapped=mapped), batch_size=batch_size))
    subset = by_row(training(batch_size=batch_size, rows=ROWS[::3]))
    assert all(torch.equal(part[row], whole[row]) for row in whole)
    assert all(torch.equal(subset[row], whole[row]) for row in subset)
    other = by_row(training(epoch=3))
    assert sum(torch.equal(other[row], whole[row]) for row in whole) < 3


def darker(images, rows):
    """What is done to an image by its row alone."""
    return images // torch.from_numpy(1 + rows % 3).to(torch.uint8)[:, None, None, None]


def halves(x, labels, rows):
    """Each with the one after it, labels as they come."""
    assert len(x) == len(labels) == len(rows)
    return (x[:-1] + x[1:]) / 2, torch.stack([labels[:-1], labels[1:]], 1).float()


def test_images_are_altered_between_crop_and_normalisation():
    plain, altered = by_row(training(normalisation=None)), by_row(training(normalisation=None, alter=darker))
    for row, image in plain.items():
        assert torch.equal(altered[row], image // (1 + row % 3))
    assert torch.equal(by_row(training(alter=darker))[5], normalise(altered[5][None])[0])
    whole = by_row(training(augment=None, normalisation=None, alter=darker))
    assert torch.equal(whole[4], torch.from_numpy(ArrayTable().images["eval"][4]).permute(2, 0, 1) // 2)


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("augment", [None, CropAndFlip()])
@pytest.mark.parametrize("batch_size", [1, 7, 32, 43, 44])
def test_an_image_is_mixed_with_the_next_of_the_epoch_wherever_batches_are_cut(batch_size, augment, mapped):
    plain = by_row(training(augment=augment))
    order = epoch_order(ROWS, seed=1, epoch=2).tolist()
    batches = list(training(ArrayTable(mapped=mapped), augment=augment, batch_size=batch_size, mix=halves))
    assert np.concatenate([rows for _, _, rows in batches]).tolist() == order
    for x, y, rows in batches:
        assert len(x) == len(y) == len(rows)
        for image, pair, row in zip(x, y.tolist(), rows.tolist(), strict=True):
            after = order[(order.index(row) + 1) % len(order)]
            assert torch.equal(image, (plain[row] + plain[after]) / 2) and pair == [LABELS[row], LABELS[after]]
    for start in range(len(batches) + 1):  # an epoch goes on in the same pairs
        rest = list(training(augment=augment, batch_size=batch_size, mix=halves, start_batch=start))
        assert len(rest) == len(batches) - start
        for (x, y, rows), (x2, y2, rows2) in zip(batches[start:], rest, strict=True):
            assert torch.equal(x, x2) and torch.equal(y, y2) and (rows == rows2).all()


def test_an_image_by_itself_is_mixed_with_itself():
    ((x, y, rows),) = training(rows=ROWS[:1], mix=halves)
    assert torch.equal(x[0], by_row(training())[3]) and y.tolist() == [[LABELS[3]] * 2] and rows.tolist() == [3]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("mapped", [True, False])
def test_a_share_of_every_batch_holds_what_the_whole_has_there(mapped, mixed):
    options = {"table": ArrayTable(mapped=mapped), "mix": halves if mixed else None, "start_batch": 1}
    whole = list(training(**options))
    for share in (lambda n: slice(0, n // 2), lambda n: slice(n // 2, n), lambda n: slice(0, 1)):
        parts = training(**options, share=share)
        assert len(parts) == len(whole)
        for (x, y, rows), (x2, y2, rows2) in zip(whole, parts, strict=True):
            own = share(len(rows))
            assert torch.equal(x[own], x2) and torch.equal(y[own], y2) and (rows[own] == rows2).all()


@pytest.mark.parametrize("start", [0, 2, 5, 6, 9])
def test_an_epoch_continues_where_it_stopped(start):
    straight = list(training())[start:]
    resumed = training(start_batch=start)
    assert len(resumed) == len(straight)
    for (x, y, rows), (x2, y2, rows2) in zip(straight, resumed, strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2) and (rows == rows2).all()


def test_without_normalisation_images_stay_bytes():
    table = ArrayTable()
    x, _, rows = next(iter(training(table, augment=None, normalisation=None)))
    assert x.dtype == torch.uint8
    assert torch.equal(x, torch.from_numpy(table.images["eval"][rows]).permute(0, 3, 1, 2))
    crops, _, _ = next(iter(training(table, normalisation=None)))
    assert crops.dtype == torch.uint8 and crops.float().std() > 10


def test_evaluation_keeps_the_order_given():
    table = ArrayTable()
    rows = np.array([9, 3, 3, 40, 1])
    seen = list(eval_batches(table, rows, 2, labels=LABELS))
    assert np.concatenate([r for _, _, r in seen]).tolist() == rows.tolist()
    x = torch.cat([x for x, _, _ in seen])
    assert torch.equal(x, normalise(table.images["eval"][rows]))
    assert torch.cat([y for _, y, _ in seen]).tolist() == LABELS[rows].tolist()


@pytest.mark.parametrize("b", [1, 4, "channels"])
def test_train_and_eval_batches_are_shuffled_as_after_normalisation(b):
    permutation = block_permutation(16, b, seed=0)
    plain, shuffled = by_row(training(augment=None)), by_row(training(augment=None, permutation=permutation))
    test = by_row(eval_batches(ArrayTable(), ROWS, 10, labels=LABELS, permutation=permutation))
    for row, image in plain.items():
        want = shuffle(image[None], permutation)[0]
        assert torch.equal(shuffled[row], want) and torch.equal(test[row], want)


@pytest.mark.parametrize("b", [4, "channels"])
def test_a_permutation_per_image_follows_the_image(b):
    permutation = partial(image_permutations, size=16, b=b, seed=0)
    plain = by_row(training(augment=None))
    shuffled = by_row(training(augment=None, permutation=permutation, batch_size=5))
    for row, image in plain.items():
        assert torch.equal(shuffled[row], shuffle(image[None], permutation(np.array([row])))[0])


def test_channels_cannot_move_before_normalisation():
    permutation = block_permutation(16, "channels", seed=0)
    with pytest.raises(ValueError, match="normalised"):
        next(iter(training(augment=None, normalisation=None, permutation=permutation)))


def test_a_table_of_another_size_is_refused():
    with pytest.raises(ValueError, match="side 16, not 20"):
        next(iter(training(augment=None, size=20)))


@pytest.mark.parametrize("layout", ["NCHW", "channels_last", "NHWC", "numpy"])
def test_normalise_equals_the_formula_in_float64(layout):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 10, 10, 3), dtype=np.uint8)
    nchw = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    forms = {"NCHW": nchw.contiguous(), "channels_last": nchw, "NHWC": torch.from_numpy(pixels), "numpy": pixels}
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    want = (pixels.astype(np.float64) / 255 - mean) / std
    x = normalise(forms[layout], mean, std)
    assert x.shape == (4, 3, 10, 10) and x.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), want, atol=2e-6)
    half = normalise(forms[layout], mean, std, torch.bfloat16)
    assert half.dtype == torch.bfloat16 and torch.equal(half, x.bfloat16())
    assert (nchw.permute(0, 2, 3, 1).numpy() == pixels).all()


def test_normalise_refuses_another_number_of_channels():
    with pytest.raises(ValueError, match="3 channels"):
        normalise(np.zeros((2, 8, 8, 1), dtype=np.uint8))


def test_the_type_asked_for_arrives():
    x, _, _ = next(iter(training(normalisation=Normalisation(dtype=torch.bfloat16))))
    assert x.dtype == torch.bfloat16


def test_mixup_is_one_weight_for_the_batch():
    x = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.eye(16)
    mixed, targets = mixup(x, y, alpha=0.7, seed=0, epoch=1, batch=3)
    # With one-hot targets all different, the targets spell out weight and partners.
    weight = targets.diagonal().min().item()
    assert 0 < weight < 1
    partners = [int((row - weight * torch.eye(16)[k]).argmax()) for k, row in enumerate(targets)]
    assert sorted(partners) == list(range(16)) and partners != list(range(16))
    want = weight * x.double() + (1 - weight) * x[partners].double()
    torch.testing.assert_close(mixed.double(), want, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, torch.eye(16))


def test_mixup_is_pure_and_off_at_zero():
    x, y = torch.randn(8, 3, 4, 4), torch.eye(8)
    first = mixup(x, y, alpha=0.7, seed=0, epoch=1, batch=3)
    torch.manual_seed(99)
    again = mixup(x, y, alpha=0.7, seed=0, epoch=1, batch=3)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    for change in ({"seed": 1}, {"epoch": 2}, {"batch": 4}):
        options = {"alpha": 0.7, "seed": 0, "epoch": 1, "batch": 3, **change}
        assert not torch.equal(mixup(x, y, **options)[0], first[0])
    same = mixup(x, y, alpha=0, seed=0, epoch=1, batch=3)
    assert same[0] is x and same[1] is y


def test_mixup_weights_follow_the_beta_law():
    x, y = torch.tensor([[0.0], [1.0]]), torch.eye(2)
    draws = [mixup(x, y, alpha=0.7, seed=0, epoch=0, batch=k)[1][0].tolist() for k in range(2000)]
    weights = np.array([a for a, b in draws if b > 0])  # half the permutations of two are the identity
    assert abs(weights.mean() - 0.5) < 0.04 and abs(weights.var() - 1 / (4 * (2 * 0.7 + 1))) < 0.01
