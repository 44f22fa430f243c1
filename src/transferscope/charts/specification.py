"""Charts as Vega-Lite specifications that are the same in every process, and the grammar that they are written in."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_COUNTED = re.compile(r"\b[a-z]+_\d+\b")


def plain(chart: Any) -> dict[str, Any]:
    """An altair chart (or a specification) as a Vega-Lite object that is the same in every process.

    altair numbers its parameters and views by a process-wide count; they are renumbered in order of appearance. Numbers
    in the data keep four significant digits; what is not finite becomes null.
    """
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        raw = chart.to_dict(validate=False) if hasattr(chart, "to_dict") else dict(chart)
    counted = dict.fromkeys(_counted(raw))
    found: dict[str, Any] = _clean(raw, {name: f"part_{place}" for place, name in enumerate(counted)})
    return found


def grammar() -> str:
    """The vega-lite release altair writes for, as vl-convert names it ("6.4"), else the newest that vl-convert has."""
    import altair as alt
    import vl_convert

    wanted = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    known: list[str] = vl_convert.get_vegalite_versions()
    return wanted if wanted in known else known[-1]


def _counted(value: Any) -> Iterator[str]:
    """The names altair made up, where they are given; data is never looked at (a block may well be called layer_1)."""
    if isinstance(value, dict):
        name = value.get("name")
        if isinstance(name, str) and _COUNTED.fullmatch(name):
            yield name
        for key, item in value.items():
            yield from () if key in ("datasets", "values") else _counted(item)
    elif isinstance(value, list):
        for item in value:
            yield from _counted(item)


def _clean(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _clean(item, {} if key in ("datasets", "values") else names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item, names) for item in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, str) and names:
        return _COUNTED.sub(lambda hit: names.get(hit[0], hit[0]), value)
    return value
