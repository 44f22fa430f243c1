"""Every number of a study beside that of the others, and their differences, each no stronger than its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from transferscope import answers
from transferscope.analyses._shared.gains import Gain
from transferscope.analyses._shared.readings import Reading, shared
from transferscope.comparison.sides import Side
from transferscope.comparison.targets import Matched
from transferscope.measures.deciding import LEAST
from transferscope.measures.intervals import ALIKE, Interval
from transferscope.measures.multiple_comparisons import step_down
from transferscope.report.page import PagePart
from transferscope.section import Finding, Light

# Options that say which cells an analysis has, and not how one of them is measured.
SCOPE = frozenset(("arms", "at", "blocks", "controls", "cumulative", "pairs", "pictures", "seeds", "valley_seeds"))
PAIRED, BY_IMAGE = "paired by seed", "paired by seed and by test example"


@dataclass(frozen=True)
class Difference:
    """The number of study `of` less that of study `against`, by their places; `found` at 95%, `judged` at the level
    that decides, both None where there is no difference, and `why` then says why. `how` says what is paired."""

    of: int
    against: int
    found: Gain | None = None
    judged: Interval | None = None
    how: str = ""
    why: str = ""

    @property
    def light(self) -> Light:
        """ "yes" where it is shown to be above 0, "no" below, else "unsure"."""
        if self.judged is None or self.judged.n < LEAST or not self.judged.excludes():
            return "unsure"
        low, high = self.judged.low, self.judged.high
        if low is None or high is None or (self.judged.n < ALIKE and high - low <= 1e-9):
            return "unsure"
        return "yes" if self.judged.mean > 0 else "no"


@dataclass(frozen=True)
class Row:
    """One number of one target: what each study read (None where it has none), and every study against the first."""

    question: str
    analysis: str
    title: str
    name: str
    target: Matched
    asks: str
    unit: str
    metric: str
    level: bool
    readings: tuple[Reading | None, ...]
    differences: tuple[Difference, ...]

    def findings(self, names: Sequence[str]) -> list[Finding]:
        """The differences as sentences; one that there is not says why."""
        return [self._finding(one, names) for one in self.differences]

    def _finding(self, one: Difference, names: Sequence[str]) -> Finding:
        first, second = names[one.of], names[one.against]
        if one.found is None:
            return Finding(f"{first} and {second}: no difference, {one.why}.")
        known = {"yes": "is higher than", "no": "is lower than", "unsure": "is not shown to differ from"}[one.light]
        found = one.found
        more = ""
        if one.light == "unsure" and found.excludes():
            more = (
                f" (fewer than {LEAST} seeds decide nothing)"
                if found.n < LEAST
                else " (its interval leaves 0 out, but that of the level at which it is judged does not)"
            )
        text = f"{first} {known} {second}{more}; {one.how}."
        note = found.note if found.low is None and found.n > 1 else ""
        said = Finding(text, found.mean, found.low, found.high, found.n, f"{self.unit}, {first} less {second}")
        return replace(said, images=found.images, note=note)


def rows(sides: Sequence[Side], targets: Sequence[Matched]) -> list[Row]:
    """All numbers that any study read, in the order in which the studies name them."""
    keys: dict[tuple[str, str, int], None] = {}
    known: list[dict[tuple[str, str, int], tuple[PagePart, Reading]]] = []
    for place, side in enumerate(sides):
        own = {}
        for part, reading in side.readings:
            at = next(i for i, one in enumerate(targets) if one.names.get(place) == reading.target)
            own[part.name, reading.name, at] = (part, reading)
        keys |= dict.fromkeys(own)
        known.append(own)
    return [_row(sides, targets[key[2]], [own.get(key) for own in known], key[0]) for key in keys]


def _row(
    sides: Sequence[Side], target: Matched, found: Sequence[tuple[PagePart, Reading] | None], analysis: str
) -> Row:
    part, first = next(one for one in found if one is not None)
    readings = tuple(None if one is None else one[1] for one in found)
    kinds = {place: one[0].kind for place, one in enumerate(found) if one is not None}
    made = [_difference(sides, target, readings, kinds, analysis, place) for place in range(1, len(sides))]
    return Row(
        first.question,
        analysis,
        str(part.section.title),
        first.name,
        target,
        first.asks,
        first.unit,
        first.judged,
        first.level,
        readings,
        tuple(_judged(made, sides)),
    )


def _difference(
    sides: Sequence[Side],
    target: Matched,
    readings: Sequence[Reading | None],
    kinds: Mapping[int, str],
    analysis: str,
    place: int,
) -> Difference:
    """Study `place` less the first."""
    a, b = readings[0], readings[place]
    if a is None or b is None:
        without = [at for at, one in ((0, a), (place, b)) if one is None]
        return Difference(place, 0, why=" and ".join(_lacks(sides[at], target, at, analysis) for at in without))
    if why := _other_basis(sides, target, a, b, kinds, analysis, place):
        return Difference(place, 0, why=why)
    if not target.same_test(0, place):
        return Difference(place, 0, b.apart(a), how="not paired, for the test examples are not the same")
    if not shared(a.seeds, b.seeds) or (found := b.over(a, images=True)) is None:
        return Difference(place, 0, b.apart(a), how="not paired, for the seeds are not the same")
    return Difference(place, 0, found, how=BY_IMAGE if found.images is not None else PAIRED)


def _judged(made: Sequence[Difference], sides: Sequence[Side]) -> list[Difference]:
    """The differences of one number with the interval that decides each: Holm's over all of them, at the strictest of
    the levels at which the studies look at their claims."""
    there = [one for one in made if one.found is not None]
    level = min(side.level for side in sides)
    held = step_down([one.found.at for one in there if one.found is not None], level)
    decided = {one.of: interval for one, interval in zip(there, held, strict=True)}
    return [replace(one, judged=decided.get(one.of)) for one in made]


def _lacks(side: Side, target: Matched, place: int, analysis: str) -> str:
    """Why a study has no such number."""
    if place not in target.names:
        return f"{side.name} has no such target"
    if analysis not in side.chosen:
        return f"{side.name} does not ask for it (analyses: [{analysis}])"
    if any(name == analysis for name, _, _ in side.missing):
        return f"{side.name} lacks results for it"
    return f"{side.name} has no number for it"


def _other_basis(
    sides: Sequence[Side],
    target: Matched,
    a: Reading,
    b: Reading,
    kinds: Mapping[int, str],
    analysis: str,
    place: int,
) -> str:
    """What two readings do not share that a difference needs; "" where it is all there."""
    if kinds[0] != kinds[place]:
        return f"for the analyses are not of one type ({kinds[0]} and {kinds[place]})"
    if a.judged != b.judged:
        return f"for the metrics differ ({' and '.join(answers.metric(one.judged).word for one in (a, b))})"
    held = [target.held.get(at) for at in (0, place)]
    first, second = held
    if first is not None and second is not None and (first.kind, first.classes) != (second.kind, second.classes):
        counts = [answers.counted(one.classes, one.kind) for one in (first, second)]
        return f"for the answers differ ({' and '.join(counts)})"
    if a.at != b.at:
        return f"for it was read otherwise ({a.at} and {b.at})"
    mine, other = (sides[at].chosen[analysis].options.model_dump(mode="json") for at in (0, place))
    apart = [name for name in mine if name not in SCOPE and mine[name] != other.get(name)]
    if apart:
        said = ", ".join(f"{name} {mine[name]} and {other.get(name)}" for name in apart)
        return f"for options of the analysis differ ({said})"
    return ""
