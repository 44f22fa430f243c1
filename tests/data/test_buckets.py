"""Batches by length: every row once, little padding, a function of (seed, epoch), and hardly less of a draw."""

import numpy as np
import pytest

from transferscope.data.buckets import LEAST, MOST, bucketed, by_length
from transferscope.data.epoch_order import Epoch, batch_starts, epoch_order

# Tokens (MiniLM's) of the articles of BBC News: 5%, 25%, 50%, 75% and 95% of 2,225.
QUANTILES = ((0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0), (108, 213, 314, 421, 591, 913, 1500))


def lengths_of(count: int, most: int, seed: int = 0) -> np.ndarray:
    shares = np.random.default_rng(seed).random(count)
    return np.minimum(np.interp(shares, *QUANTILES), most).astype(np.int64)


def batches(lengths: np.ndarray, size: int, seed: int = 0, epoch: int = 1) -> list[np.ndarray]:
    order = epoch_order(np.arange(len(lengths)), seed=seed, epoch=epoch)
    found = bucketed(order, lengths[order], size, seed=seed, epoch=epoch)
    return np.split(found, batch_starts(len(found), size)[1:])


def padding(parts: list[np.ndarray], lengths: np.ndarray) -> float:
    """The share of padding where every batch is as long as its longest."""
    return 1 - lengths.sum() / sum(len(part) * lengths[part].max() for part in parts)


def slow(order: list[int], lengths: dict[int, int], size: int, drawn: list[int]) -> list[list[int]]:
    """The rule, one row after another."""
    starts = list(range(0, len(order), size))
    if size > 1 and len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    last = order[starts[-1] :]
    window = max(1, min(MOST, (len(starts) - 1) // LEAST)) * size
    made: list[list[int]] = []
    for begin in range(0, starts[-1], window):
        alike = sorted(order[begin : min(begin + window, starts[-1])], key=lambda row: lengths[row])
        made += [alike[place : place + size] for place in range(0, len(alike), size)]
    return [*(made[place] for place in drawn), last]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 32])
@pytest.mark.parametrize("count", [1, 2, 7, 33, 64, 65, 400, 500])
def test_the_rule(count: int, size: int) -> None:
    from transferscope.random_streams import stream

    lengths = lengths_of(count, 512)
    order = epoch_order(np.arange(count), seed=3, epoch=2)
    found = [part.tolist() for part in batches(lengths, size, seed=3, epoch=2)]
    drawn = stream(3, "buckets", 2).permutation(len(batch_starts(count, size)) - 1).tolist()
    assert found == slow(order.tolist(), dict(enumerate(lengths.tolist())), size, drawn)
    assert sorted(row for part in found for row in part) == list(range(count))


@pytest.mark.parametrize(("count", "size"), [(500, 16), (1557, 32), (1557, 16), (10_000, 32)])
def test_little_is_padding(count: int, size: int) -> None:
    lengths = lengths_of(count, 512)
    plain = np.split(epoch_order(np.arange(count), seed=0, epoch=1), batch_starts(count, size)[1:])
    assert padding(plain, lengths) > 0.15
    assert max(padding(batches(lengths, size, epoch=epoch), lengths) for epoch in (1, 2, 3)) < 0.1


def test_texts_of_one_length_are_drawn_as_others_are() -> None:
    """Batches are then those of the order itself, in another order."""
    lengths = np.full(100, 24)
    order = epoch_order(np.arange(100), seed=0, epoch=1)
    plain = np.split(order, batch_starts(100, 8)[1:])
    assert sorted(map(list, batches(lengths, 8))) == sorted(map(list, plain))


def test_it_is_a_function_of_seed_and_epoch() -> None:
    lengths = lengths_of(300, 512)
    first = np.concatenate(batches(lengths, 8))
    assert np.array_equal(first, np.concatenate(batches(lengths, 8)))
    for other in (batches(lengths, 8, seed=1), batches(lengths, 8, epoch=2)):
        assert not np.array_equal(first, np.concatenate(other))


def test_company_is_drawn_anew_every_epoch() -> None:
    """And when a text comes says nothing of its length."""
    lengths = lengths_of(800, 512)
    met: dict[int, set[int]] = {row: set() for row in range(800)}
    together, places = 0, np.zeros((40, 800))
    for epoch in range(40):
        for place, part in enumerate(batches(lengths, 8, epoch=epoch)):
            places[epoch, part] = place
            for row in part.tolist():
                together += len(met[row] & set(part.tolist()))
                met[row] |= set(part.tolist()) - {row}
    assert min(map(len, met.values())) > 40, "of 40 x 7 others, and 20 that would always be the same"
    late = places.mean(0)
    assert abs(np.corrcoef(late, lengths)[0, 1]) < 0.15  # 800 rows: four standard errors are 0.14


def test_an_epoch_goes_on_in_the_batches_that_it_began_with() -> None:
    import torch

    rows, lengths = np.arange(60), lengths_of(60, 512)

    def epoch(start: int = 0) -> Epoch:
        def arrange(order: np.ndarray) -> np.ndarray:
            return bucketed(order, lengths[order], 7, seed=0, epoch=1)

        feed = lambda order: lambda part: torch.from_numpy(order[part])  # noqa: E731
        return Epoch(rows, rows, feed, 7, 0, 1, start, arrange=arrange)

    whole = [at.tolist() for _, _, at in epoch()]
    assert all(x.tolist() == y.tolist() == at.tolist() for x, y, at in epoch())
    for start in range(len(whole) + 1):
        assert [at.tolist() for _, _, at in epoch(start)] == whole[start:] and len(epoch(start)) == len(whole) - start


def test_the_longest_come_first_where_only_answers_count() -> None:
    assert by_length(np.array([3, 9, 3, 12])).tolist() == [3, 1, 0, 2] and by_length(np.zeros(0, np.int64)).shape == (
        0,
    )
