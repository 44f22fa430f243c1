"""results.json: what the page says, for programs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = 1  # of the file
UNTOLD = {"Finding": ("effects", "again", "sampled"), "Card": ("again",)}  # fields that stand in no file
Labels = Mapping[str, Any]


def results_json(
    title: str,
    question: str,
    written: Sequence[tuple[Any, Labels]],
    made: Labels,
) -> dict[str, Any]:
    """The page as data: what was found, where its tables and figures lie, what is missing, and what computed it.

    `made`: the precision of the networks, the design of the looks at its claims, versions.
    """
    analyses = []
    for part, shown in written:
        drawn = [one for one in (*shown["opening"], *shown["charts"]) if "json" in one]
        analyses.append(
            {
                "name": part.name,
                "title": part.section.title,
                "findings": shown["records"],
                "cards": shown["cards"],
                "basis": shown["basis"],
                "notes": list(part.section.notes),
                "problems": [*shown["problems"], *(one["problem"] for one in parts_of(shown) if one["problem"])],
                "missing": [{"labels": dict(cell), "reason": reason} for cell, reason in part.missing],
                "table": f"tables/{shown['id']}.csv",
                "rows": part.table.height,
                "charts": [{key: chart[key] for key in ("name", "title", "caption")} for chart in drawn],
            }
        )
    whole = {"format": FORMAT, "title": title, "question": question, **made, "analyses": analyses}
    return {key: finite(value) for key, value in whole.items()}


def parts_of(shown: Labels) -> list[dict[str, Any]]:
    """The charts, pictures and tables of a section."""
    return [*shown["opening"], *shown["charts"], *shown["pictures"], *shown["tables"]]


def finite(value: Any) -> Any:
    """JSON has no NaN; what is not finite becomes null, what JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)
