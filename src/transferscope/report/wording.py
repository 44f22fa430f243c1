"""How numbers, intervals, labels and docstrings read on the page."""

import math
import re
from collections.abc import Mapping
from typing import Any

import polars as pl
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from transferscope import spreadsheet
from transferscope.measures import rounding
from transferscope.section import Finding

_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "html_block", "html_inline"])
_TOGETHER = re.compile(r"\[[^\[\]]{,24}\]|n = \d+")
ROWS_SHOWN = 200
SHORT = 18  # characters of a cell that stays on one line


def number(value: Any) -> str:
    """Three or four significant digits with a true minus sign; "–" for what is missing or not finite."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        text = f"{value:,}" if abs(value) >= 10_000 else str(value)
    elif value and not 1e-3 <= abs(value) < 1e7:
        text = f"{value:.2e}"
    else:
        text = (
            f"{value:,.0f}"
            if abs(value) >= 1000
            else f"{value:.{1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3}f}"
        )
    return text.replace("-", "−")


def interval(finding: Finding) -> str:
    """The effect with its unit, its 95% interval and what it counts (seeds) in words; empty without an effect."""
    numbers = [float(value) for value in (finding.effect, finding.low, finding.high) if value is not None]
    size = max((abs(value) for value in numbers if math.isfinite(value)), default=0.0)
    places = next(places for places, least in enumerate((100, 10, 1, 0)) if size >= least)

    def text(value: float) -> str:
        small = 0 < size < 1e-2 or not math.isfinite(value)
        return number(float(value)) if small else f"{value:,.{places}f}".replace("-", "−")

    words = []
    unit = f"{'' if finding.unit == '%' else ' '}{finding.unit}".rstrip()
    if finding.effect is not None:
        words.append(f"{text(finding.effect)}{unit}")
    if finding.low is not None and finding.high is not None:
        again = unit if " " not in unit.strip() else ""  # a unit of several words is said once
        words.append(f"95% interval {text(finding.low)} to {text(finding.high)}{again}")
    elif finding.note:
        words.append(finding.note)
    if finding.n is not None:
        count = f"{finding.n} {finding.counted if finding.n != 1 else finding.counted.removesuffix('s')}"
        sampled = finding.sampled if finding.images != 1 else finding.sampled.removesuffix("s")
        words.append(count + (f", {finding.images:,} {sampled}" if finding.images is not None else ""))
    return " · ".join(words)


def measured(effect: float | None, low: float | None, high: float | None, unit: str, level: float = 0.95) -> str:
    """A number with its unit and its 95% interval, rounded to what the interval bears; empty without a number.

    What a unit says in brackets stands behind the interval.
    """
    if effect is None or not math.isfinite(effect):
        return ""
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    decimals = rounding.places(effect, low, high)
    what, _, more = unit.removesuffix(")").partition(" (")
    value = rounding.text(effect, decimals)
    said = f"{value} {rounding.of_one(what) if value in ('1', '−1') else what}".rstrip()
    behind = f"; {more}" if more else ""
    if low is None or high is None or not known:
        return f"{said} (no interval{behind})"
    return f"{said} ({level:.0%} interval {rounding.text(low, decimals)} to {rounding.text(high, decimals)}{behind})"


_LETTERS = {
    "P-T": "pretrained, then trained",
    "RI-T": "trained from scratch",
}
_LETTER = re.compile(r"(?<![\w-])(RI-T|P-T)(?![\w-])")


def letters(text: Any) -> Markup:
    """Text for the page in which the letters of networks explain themselves when pointed at."""
    said = str(escape(text))
    return Markup(_LETTER.sub(lambda hit: f'<abbr title="{_LETTERS[hit[0]]}">{hit[0]}</abbr>', said))


def sentence(finding: Finding) -> str:
    """A finding for the terminal: its text with the interval behind it."""
    said = interval(finding)
    return f"{finding.text} ({said})" if said else finding.text


def whisker(finding: Finding) -> dict[str, float] | None:
    """Where (0..100) a small drawing of the interval has its zero, ends and effect; None without a finite interval."""
    ends = (finding.low, finding.effect, finding.high)
    if any(end is None or not math.isfinite(end) for end in ends):
        return None
    low, effect, high = (float(end) for end in ends if end is not None)
    least, most = min(low, 0.0), max(high, 0.0)
    width = (most - least) or 1.0
    places = {"zero": 0.0, "low": low, "effect": effect, "high": high}
    return {name: round(6 + 88 * (place - least) / width, 2) for name, place in places.items()}


def verdict(finding: Finding) -> str | None:
    """ "Supports claim 3", "Contradicts claim 3" or "Leaves claim 3 open"; None where no claim is judged."""
    if finding.verdict is None:
        return None
    claim = "the paper" if finding.claim is None else f"claim {finding.claim}"
    return {"supports": f"Supports {claim}", "contradicts": f"Contradicts {claim}"}.get(
        finding.verdict, f"Leaves {claim} open"
    )


def labels(cell: Mapping[str, Any]) -> str:
    """One cell of a table by name: "target color, arm random, seed 2"."""
    return ", ".join(f"{name} {value}" for name, value in cell.items() if value is not None) or "the whole analysis"


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use."""
    if seconds < 100:
        return f"{seconds:z.1f} s" if seconds < 10 else f"{seconds:z.0f} s"
    minutes = seconds / 60
    return f"{minutes:z.0f} min" if minutes < 100 else f"{minutes / 60:z.1f} h"


def prose(docstring: str) -> tuple[str, Markup]:
    """A docstring as its first paragraph and the rest as HTML; tags in it become text, images are not loaded."""
    import inspect

    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    return " ".join(first.split()), Markup(_MARKDOWN.render(rest))


def table(rows: pl.DataFrame) -> dict[str, Any]:
    """A table as text: headings, which columns are numbers, at most 200 rows, and how many were left out."""
    shown = rows.head(ROWS_SHOWN)
    columns = [column(shown[name]) for name in shown.columns]
    return {
        "columns": [(name.replace("_", " "), rows[name].dtype.is_numeric()) for name in rows.columns],
        "rows": list(map(list, zip(*columns, strict=True))),
        "left": rows.height - shown.height,
    }


def column(values: pl.Series) -> list[str]:
    """The cells of a column as text: decimals alike in all of them, short words and intervals unbroken."""
    if not values.dtype.is_float():
        return [_unbroken(number(value)) for value in values]
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    if any(size >= 1e7 or 0 < size < 1e-3 for size in sizes):
        return [number(value) for value in values]
    whole = all(size == round(size) for size in sizes)
    most = max(sizes, default=0.0)
    places = 0 if whole or most >= 1000 else 1 if most >= 10 else 2 if most >= 2 else 3
    gaps = [value is None or not math.isfinite(value) for value in values]
    return [
        number(value) if gap else f"{value:,.{places}f}".replace("-", "−")
        for value, gap in zip(values, gaps, strict=True)
    ]


def _unbroken(text: str) -> str:
    if len(text) < SHORT:
        return text.replace(" ", "\u00a0")
    return _TOGETHER.sub(lambda hit: hit[0].replace(" ", "\u00a0"), text)


def csv(rows: pl.DataFrame) -> bytes:
    """The table as CSV, UTF-8; lists and records become JSON text, because a CSV cell holds one value, and texts that
    a spreadsheet would compute get an apostrophe before them (`spreadsheet.safe`)."""
    import json

    nested = [name for name, dtype in rows.schema.items() if dtype.is_nested() or dtype == pl.Object]
    texts = [
        pl.Series(name, [json.dumps(value, default=str) for value in rows[name].to_list()], pl.String)
        for name in nested
    ]
    rows = rows.with_columns(texts)
    words = [name for name, dtype in rows.schema.items() if dtype in (pl.String, pl.Categorical, pl.Enum)]
    rows = rows.with_columns(
        pl.Series(name, [None if text is None else spreadsheet.safe(text) for text in rows[name].to_list()], pl.String)
        for name in words
    )
    return rows.rename({name: spreadsheet.safe(name) for name in rows.columns}).write_csv().encode()
