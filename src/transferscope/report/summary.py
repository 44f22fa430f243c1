"""results.json: what the page says, for programs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Labels = Mapping[str, Any]


def summary(
    title: str,
    question: str,
    written: Sequence[tuple[Any, Labels]],
    precision: str,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The page as data: what was found, where its tables and figures lie, what is missing, and what computed it.

    `precision` is what the networks were trained and scored in, empty where none was.
    """
    analyses = []
    for part, shown in written:
        drawn = [chart for chart in shown["charts"] if not chart["problem"]]
        analyses.append(
            {
                "name": part.name,
                "title": part.section.title,
                "findings": shown["records"],
                "basis": shown["basis"],
                "notes": list(part.section.notes),
                "problems": [*shown["problems"], *(one["problem"] for one in parts(shown) if one["problem"])],
                "missing": [{"labels": dict(cell), "reason": reason} for cell, reason in part.missing],
                "table": f"tables/{shown['id']}.csv",
                "rows": part.table.height,
                "charts": [{key: chart[key] for key in ("name", "title", "caption")} for chart in drawn],
            }
        )
    made = {"precision": precision or None, "versions": versions}
    whole = {"format": 1, "title": title, "question": question, **made, "analyses": analyses}
    return {key: _finite(value) for key, value in whole.items()}


def parts(shown: Labels) -> list[dict[str, Any]]:
    """The charts, pictures and tables of a section."""
    return [*shown["charts"], *shown["pictures"], *shown["tables"]]


def _finite(value: Any) -> Any:
    """JSON has no NaN; what is not finite becomes null, what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
