"""When a claim may be decided: the seeds fixed in advance, added one at a time by a rule, or raised after a look."""

import math
from dataclasses import dataclass

from transferscope.measures.intervals import Interval
from transferscope.measures.repeated_looks import MOST, constant_level, false_verdicts
from transferscope.measures.student import t_quantile

LEAST = 3  # values: with 2 an interval says little about its own width, and nothing is decided
ERROR = 0.05
MOST_PLANNED = 30
ALONE = 0.95  # of an interval that is printed by itself


@dataclass(frozen=True)
class Design:
    """The counts of seeds at which claims are judged (`looks`, rising), the first `planned` of them set in advance.

    `error` is the share of claims decided where there is nothing that the planned looks may reach together. Made by
    `fixed` and `sequential`; `raised` adds looks. Looks below 3 seeds decide nothing and are not counted.
    """

    looks: tuple[int, ...]
    planned: int = 1
    error: float = ERROR

    def raised(self, n: int) -> "Design":
        """The design after seeds were raised by hand to `n`: one further look. Raises ValueError unless it is more,
        and at most 100."""
        if not self.looks[-1] < n <= MOST:
            raise ValueError(f"seeds are raised to more than {self.looks[-1]} and at most {MOST}, not to {n}.")
        if self.looks[-1] < LEAST:
            return fixed(n, self.error)
        return Design((*self.looks, n), self.planned, self.error)

    def level(self, n: int) -> float:
        """The two-sided error at which a claim is judged at `n` seeds: its interval is the one at 1 - level.

        Planned looks share one level (the constant boundary of Pocock 1977, computed for t). A further look is judged
        as the last of all looks so far would be had they been planned. Between looks it is the level of the next one.
        """
        at = next((i for i, look in enumerate(self.looks) if look >= n), len(self.looks) - 1)
        return constant_level(self.looks[: max(at + 1, self.planned)], self.error) if self._counts else self.error

    def decides(self, values: int, seeds: int | None = None) -> bool:
        """Whether a claim may be decided on so many `values`, one a seed, at `seeds` (else as many) seeds.

        Needs a look of the design at `seeds` and at least 3 values, which may be fewer where a seed has none.
        """
        return values >= LEAST and (values if seeds is None else seeds) in self.looks

    @property
    def errs(self) -> float:
        """The share of claims decided where there is nothing over all looks, in [0, 1]; above `error` once raised."""
        if len(self.looks) == 1:
            return self.error if self._counts else 0.0
        return false_verdicts(self.looks, [self.level(n) for n in self.looks])

    @property
    def words(self) -> str:
        """One sentence for the page."""
        last, share = self.looks[-1], f"{100 * self.errs:.2g}%"
        if not self._counts:
            return f"With {last} seed{'s' * (last > 1)} no claim is decided: that needs at least {LEAST}."
        if self.planned < len(self.looks):
            looked = ", ".join(map(str, self.looks[:-1]))
            return (
                f"Seeds were raised to {last} by hand after looking at {looked}: claims are judged at the "
                f"{100 * self.level(last):.2g}% level, and over all looks about {share} of claims without an effect "
                "are decided."
            )
        if self.planned == 1:
            return f"The {last} seeds were fixed in advance: claims are judged once, at the {share} level."
        return (
            f"Seeds are added one at a time from {self.looks[0]} to {last} until all claims are decided, each look at "
            f"the {100 * self.level(last):.2g}% level: over all looks {share} of claims without an effect are decided."
        )

    @property
    def _counts(self) -> bool:
        return self.looks[-1] >= LEAST


def fixed(n: int, error: float = ERROR) -> Design:
    """`n` >= 1 seeds set before any result was seen. A seed that failed for all arms is taken off `n`."""
    if n < 1:
        raise ValueError(f"a study has at least one seed, not {n}.")
    return Design((n,), 1, error)


def sequential(first: int, last: int, error: float = ERROR) -> Design:
    """Seeds added one at a time from `first` to `last` (2 <= first < last <= 30) until every claim is decided.

    All looks from 3 seeds on count. Whatever rule stops the study between them, at most `error` of claims without an
    effect are decided.
    """
    if not 2 <= first < last <= MOST_PLANNED:
        raise ValueError(f"seeds from a to b need 2 <= a < b <= {MOST_PLANNED}, not {first} to {last}.")
    looks = tuple(range(max(first, LEAST), last + 1))
    return Design(looks, len(looks), error)


def seeds_needed(found: Interval, design: Design) -> int | None:
    """At how many seeds an effect like `found` would be decided, were its mean and the seeds' scatter what they seem.

    `found` is an interval over the seeds of the last look. A guess for planning, not a promise: with 3 seeds the
    scatter may be half or twice what it seems. Seeds are added as the design adds them, or else raised by hand once.
    None where there is no interval or more than 30 seeds would be needed; the present count where it is decided.
    """
    again = found.at(ALONE)
    if again.low is None or again.high is None or found.n < 2 or found.mean == 0:
        return None
    scatter = (again.high - again.low) / (2 * t_quantile((1 + ALONE) / 2, found.n - 1)) * math.sqrt(found.n)
    for n in range(max(found.n, LEAST), MOST_PLANNED + 1):
        at = design if n <= design.looks[-1] else design.raised(n)
        if abs(found.mean) > t_quantile(1 - at.level(n) / 2, n - 1) * scatter / math.sqrt(n):
            return n
    return None
