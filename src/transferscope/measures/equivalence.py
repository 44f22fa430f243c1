"""Whether something is absent: an effect held against the largest that would not matter, with three outcomes."""

from typing import Literal

from transferscope.measures.intervals import Interval

Outcome = Literal["within", "beyond", "undecided"]


def equivalence_level(error: float = 0.05) -> float:
    """The level of the interval to hold against a margin so that the outcome is wrong in at most `error` of cases.

    1 - 2 error, as for two one-sided tests (Schuirmann 1987). Both outcomes may use it: whatever the true effect, only
    one of them is wrong, and that by one end of the interval. Where a design looks several times (`deciding`), `error`
    is its level at each look. Raises ValueError unless 0 < error < 0.5.
    """
    if not 0 < error < 0.5:
        raise ValueError(f"an error must be between 0 and 0.5, not {error}.")
    return 1 - 2 * error


def against_margin(found: Interval, margin: float, *, both: bool = False) -> Outcome:
    """ "within" where the interval shows an effect below `margin`, "beyond" where it shows one above, else "undecided".

    `margin` > 0, in the effect's unit, is stated before the results are seen. By default only large values matter
    (harm, a barrier, what is still gained): "within" is non-inferiority. With `both`, values below -margin are beyond
    too, and "within" is equivalence. An interval that touches the margin is undecided, as is one without ends: not
    shown to be large is not shown to be small. `found` is the interval at `equivalence_level`. Raises ValueError for
    a margin that is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"a margin must be above 0, not {margin}.")
    if found.low is None or found.high is None:
        return "undecided"
    if found.high < margin and (not both or found.low > -margin):
        return "within"
    if found.low > margin or (both and found.high < -margin):
        return "beyond"
    return "undecided"
