"""Whether two networks make the same mistakes, beyond what their accuracies alone would make common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Agreement:
    """Mistakes of networks a and b on the n examples of one group ("all", a class, or a label).

    `expected` is the common mistakes if errors were independent, err_a err_b n, and `expected_jaccard` the Jaccard
    index at that count. `kappa` is Cohen's (1960) on the two error indicators, in [-1, 1]: 0 at independence (error
    consistency, Geirhos et al. 2020). `mcnemar` is the exact two-sided p of equal error rates. None where undefined.
    """

    group: str
    n: int
    common: int
    only_a: int
    only_b: int

    @property
    def wrong_a(self) -> int:
        return self.common + self.only_a

    @property
    def wrong_b(self) -> int:
        return self.common + self.only_b

    @property
    def jaccard(self) -> float | None:
        union = self.common + self.only_a + self.only_b
        return self.common / union if union else None

    @property
    def share_a(self) -> float | None:
        """Share of a's mistakes that b makes too, in [0, 1]."""
        return self.common / self.wrong_a if self.wrong_a else None

    @property
    def share_b(self) -> float | None:
        """Share of b's mistakes that a makes too, in [0, 1]."""
        return self.common / self.wrong_b if self.wrong_b else None

    @property
    def expected(self) -> float | None:
        return self.wrong_a * self.wrong_b / self.n if self.n else None

    @property
    def expected_jaccard(self) -> float | None:
        if self.expected is None or not self.wrong_a + self.wrong_b:
            return None
        return self.expected / (self.wrong_a + self.wrong_b - self.expected)

    @property
    def kappa(self) -> float | None:
        if not self.n:
            return None
        right_both = self.n - self.common - self.only_a - self.only_b
        right = (self.n - self.wrong_a) * (self.n - self.wrong_b)
        chance = (self.wrong_a * self.wrong_b + right) / self.n**2
        return ((self.common + right_both) / self.n - chance) / (1 - chance) if chance < 1 else None

    @property
    def mcnemar(self) -> float:
        return mcnemar(self.only_a, self.only_b)

    def row(self) -> dict[str, str | int | float | None]:
        """One tidy row of every count and index."""
        names = "group n wrong_a wrong_b common only_a only_b jaccard share_a share_b expected expected_jaccard"
        return {name: getattr(self, name) for name in [*names.split(), "kappa", "mcnemar"]}


def agreement(wrong_a: ArrayLike, wrong_b: ArrayLike, group: str = "all") -> Agreement:
    """Counts from two error indicators (True = wrong) of one shape, on the same examples in the same order."""
    a, b = _indicators(wrong_a, wrong_b)
    return Agreement(group, a.size, int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()))


def by_class(
    predictions_a: ArrayLike, predictions_b: ArrayLike, labels: ArrayLike, names: Sequence[str] | None = None
) -> tuple[Agreement, ...]:
    """All examples first, then each true class; the three arrays are (n,) of class indices.

    `names` are the classes in index order (their numbers when absent); a class without examples has n = 0.
    """
    y = np.asarray(labels)
    a, b = _indicators(np.asarray(predictions_a) != y, np.asarray(predictions_b) != y)
    words = list(names) if names is not None else [str(c) for c in range(int(y.max()) + 1 if y.size else 0)]
    return (agreement(a, b), *(agreement(a[y == c], b[y == c], word) for c, word in enumerate(words)))


def by_label(
    predictions_a: ArrayLike, predictions_b: ArrayLike, labels: ArrayLike, names: Sequence[str] | None = None
) -> tuple[Agreement, ...]:
    """Multi-label: every (example, label) decision first, then each label; the three arrays are (n, k) of 0/1, labels
    -1 where one is not known, which is no decision."""
    y = np.asarray(labels)
    if y.ndim != 2:
        raise ValueError(f"multi-label answers must be (examples, labels), not {y.shape}.")
    a, b = _indicators(np.asarray(predictions_a) != y, np.asarray(predictions_b) != y)
    words = names if names is not None else [str(j) for j in range(y.shape[1])]
    known = y >= 0
    each = (agreement(a[of, j], b[of, j], word) for j, (word, of) in enumerate(zip(words, known.T, strict=True)))
    return (agreement(a[known], b[known]), *each)


def examples(wrong_a: ArrayLike, wrong_b: ArrayLike) -> dict[str, NDArray[np.int64]]:
    """Indices of the examples both get wrong ("common") and only one does ("only_a", "only_b"), ascending."""
    a, b = _indicators(wrong_a, wrong_b)
    return {"common": np.flatnonzero(a & b), "only_a": np.flatnonzero(a & ~b), "only_b": np.flatnonzero(~a & b)}


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p that a and b err equally often: twice the smaller binomial tail, at most 1 (McNemar 1947)."""
    n, k = only_a + only_b, min(only_a, only_b)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def _indicators(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    x, y = np.asarray(a, dtype=np.bool_), np.asarray(b, dtype=np.bool_)
    if x.shape != y.shape:
        raise ValueError(f"mistakes of two networks must be on the same examples, not {x.shape} and {y.shape}.")
    return x, y
