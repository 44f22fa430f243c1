"""The seeds of all pairs of a kind, for tables made up by hand."""

from itertools import combinations


def seeds_of(kind: str, seeds: int) -> list[tuple[int, int]]:
    """(seed, seed_b): every two seeds where both sides are of one arm, else each seed with itself."""
    a, _, b = kind.partition(" & ")
    return [(j, i) for i, j in combinations(range(seeds), 2)] if a == b else [(seed, seed) for seed in range(seeds)]
