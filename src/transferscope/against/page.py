"""The section of a page that holds a study beside published numbers."""

from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from transferscope import charts
from transferscope.against.form import TAGS, Published
from transferscope.against.lines import OF, Line
from transferscope.against.quantities import QUANTITIES
from transferscope.analyses._shared.phrases import listed
from transferscope.measures import rounding
from transferscope.section import CLAIMS, Chart, Finding, Section, View

MOST = 40  # rows of a chart


def section(published: Published, found: Sequence[Line]) -> Section:
    """How many numbers are there, a table for each place of the publication, and a chart where there is something to
    draw: what has a counterpart here comes first."""
    by_place: dict[tuple[str, str], list[Line]] = {}
    for line in found:
        by_place.setdefault((line.group.place, line.group.quantity), []).append(line)
    ordered = sorted(by_place.items(), key=lambda of: all(line.measured is None for line in of[1]))
    title = f"Beside {published.short}"
    return Section(
        title,
        findings=[Finding(_count(published, found)), *_judged(published, found)],
        charts=[chart for (place, quantity), of in ordered for chart in _charts(place, quantity, of)],
        tables=[
            _view(place, quantity, sorted(of, key=lambda line: line.measured is None))
            for (place, quantity), of in ordered
        ],
        notes=list(published.notes),
        basis=_basis(published, found),
    )


def _count(published: Published, found: Sequence[Line]) -> str:
    every = len({id(line.value) for line in found})
    here = [line for line in found if line.measured is not None]
    alike = [line for line in here if line.comparable]
    return (
        f"Of {every} published numbers of {published.short}, {len({id(line.value) for line in here})} have a "
        f"counterpart in this study, {len({id(line.value) for line in alike})} of them on the same basis."
    )


def _judged(published: Published, found: Sequence[Line]) -> list[Finding]:
    """What the intervals say, claim by claim."""
    said = []
    for claim in [*CLAIMS, None]:
        of = Counter(line.judged for line in found if line.group.claim == claim and line.judged is not None)
        if of:
            words = listed([f"{count} {word}" for word, count in sorted(of.items(), key=lambda one: str(one[0]))])
            whose = f"on claim {claim}" if claim else "on no claim"
            said.append(Finding(f"Of {of.total()} numbers of {published.short} {whose}, {words}."))
    return said


def _basis(published: Published, found: Sequence[Line]) -> str:
    tags = [tag for tag in TAGS if any(line.group.tag == tag for line in found)]
    words = listed([f"'{tag}' {TAGS[tag]}" for tag in tags])
    return (
        f"Published: {published.title}; {words}. Published numbers have no interval; ± is what they may be off for "
        "having been rounded or read. Measured are means over seeds with their 95% intervals, on the test images of "
        "the study where nothing else is said. Reproduced: the whole interval, of three seeds or more, lies within the "
        "margin of the table less what the published number may be off. Apart: it leaves the published number out."
    )


def _view(place: str, quantity: str, of: Sequence[Line]) -> View:
    shown = [name for name in OF if any(getattr(line.value, name) is not None for line in of)]
    rated = any(line.group.lr is not None for line in of)
    ways = {line.options for line in of}
    several = len({line.analysis for line in of} - {None}) > 1
    differences = {line.differs for line in of if line.measured is not None}
    table = [
        {
            "target": line.value.target,
            **{name: getattr(line.value, name) for name in shown},
            **({"rate": line.rate or "–"} if rated else {}),
            **({"options": line.options or "–"} if len(ways) > 1 else {}),
            "published": _published(line),
            "how": line.group.tag,
            **({"analysis": line.analysis or "–"} if several else {}),
            "measured": _measured(line),
            "difference": "–" if line.difference is None else _number(line.difference, line),
            "judged": line.judged or "–",
            **({"otherwise here": "; ".join(line.differs) or "–"} if len(differences) > 1 else {}),
        }
        for line in of
    ]
    cells = [{key: None if value is None else str(value) for key, value in row.items()} for row in table]
    rows = pl.DataFrame(cells, schema=dict.fromkeys(table[0], pl.String))
    return View(f"{place} {quantity}", f"{_named(place)}: {QUANTITIES[quantity].says}", rows, _caption(of, differences))


def _caption(of: Sequence[Line], differences: set[tuple[str, ...]]) -> str:
    """The claim, the margins, what was otherwise for all that were measured, and what else is known of the numbers."""
    group = of[0].group
    said = [f"Claim {group.claim}: {CLAIMS[group.claim]}"] if group.claim else []
    margins = dict.fromkeys(f"{line.group.margin:g}{_unit(line)}" for line in of if line.group.margin is not None)
    said.append(f"Margin: {listed(list(margins))}." if margins else "Without a margin nothing is called reproduced.")
    if len(differences) == 1:
        others = next(iter(differences))
        said.append(f"Otherwise here: {'; '.join(others)}." if others else "Nothing that is known was otherwise here.")
    said += dict.fromkeys(line.group.note for line in of if line.group.note)
    return " ".join(said)


def _named(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}"


def _unit(line: Line) -> str:
    return "%" if line.group.unit == "%" else ""


def _published(line: Line) -> str:
    off = f" ± {line.group.tolerance:g}" if line.group.tolerance else ""
    return f"{line.value.value:g}{_unit(line)}{off}"


def _number(value: float, line: Line) -> str:
    """To the digits that the interval of the line bears: CKA and epsilon may need more than three."""
    here = line.measured
    places = 1 if here is None else max(0, min(6, rounding.places(here.mean, here.low, here.high)))
    return f"{value:z,.{places}f}".replace("-", "−")


def _measured(line: Line) -> str:
    here = line.measured
    if here is None:
        return "–"
    said = f"{_number(here.mean, line)}{_unit(line)}"
    if here.low is None or here.high is None:
        return f"{said} (no interval), n = {here.n}"
    return f"{said} [{_number(here.low, line)}, {_number(here.high, line)}], n = {here.n}"


def _charts(place: str, quantity: str, of: Sequence[Line]) -> Iterator[Chart]:
    """Published and measured values side by side, target by target, where there are any measured."""
    for target in dict.fromkeys(line.target for line in of if line.target is not None):
        drawn = [line for line in of if line.target == target and line.measured is not None][:MOST]
        points = [point for line in drawn for point in _points(line)]
        schema = {"cell": pl.String, "whose": pl.String, **dict.fromkeys(("value", "low", "high"), pl.Float64)}
        unit = "%" if of[0].group.unit == "%" else ""
        spec = charts.dots(
            pl.DataFrame(points, schema=schema, orient="row"),
            "cell",
            "value",
            "whose",
            low="low",
            high="high",
            value_title=QUANTITIES[quantity].says + (f" ({unit})" if unit else ""),
        )
        title = f"{_named(place)} on {target}: {QUANTITIES[quantity].says}"
        caption = "Published: as it is, or as far as it may be off. Measured: mean and 95% interval over seeds."
        yield Chart(f"{place}-{quantity}-{target}", title, spec, caption)


def _points(line: Line) -> Iterator[tuple[str, str, float, float | None, float | None]]:
    said = [str(value) for name in OF if (value := getattr(line.value, name)) is not None]
    cell = ", ".join([*said, *([f"rate {line.rate}"] if line.rate else [])]) or line.value.target
    value, off, here = line.value.value, line.group.tolerance, line.measured
    yield cell, "published", value, value - off if off else None, value + off if off else None
    if here is not None:
        yield cell, f"measured{'' if line.comparable else ', otherwise'}", here.mean, here.low, here.high
