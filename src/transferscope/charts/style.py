"""The look of every chart: the colour of an arm, axes, legends and tooltips; `charts` builds with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from zlib import crc32

import polars as pl

ORANGE, BLUE, GREEN = "#d9772b", "#3178c6", "#1b9e77"
ARM_COLOURS = {
    **dict.fromkeys(("random", "RI", "RI-T"), ORANGE),
    **dict.fromkeys(("pretrained", "P", "P-T"), BLUE),
    "stats": GREEN,
}
FURTHER_COLOURS = ("#a05195", "#c9a400", "#45b0d8", "#7a5230", "#c8102e", "#6b7280", "#e78ac3")
INK, FAINT, FONT = "#33383f", "#dfe3e8", "Helvetica Neue, Helvetica, Arial, sans-serif"


def arm_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for every name: fixed for known arms, else picked from `FURTHER_COLOURS` by the name itself.

    Two unknown names whose picks collide take neighbouring colours, in alphabetical order; past seven, colours repeat.
    """
    names = list(dict.fromkeys(names))
    chosen: dict[str, str] = {}
    for name in sorted(name for name in names if name not in ARM_COLOURS):
        start = crc32(name.encode()) % len(FURTHER_COLOURS)
        ring = FURTHER_COLOURS[start:] + FURTHER_COLOURS[:start]
        chosen[name] = next((colour for colour in ring if colour not in chosen.values()), ring[0])
    return {name: ARM_COLOURS.get(name) or chosen[name] for name in names}


def styled(chart: Any, title: str) -> Any:
    """The chart in the house style, which is written into the chart itself so that no global theme is touched."""
    import altair as alt

    text: dict[str, Any] = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    lines: dict[str, Any] = {
        **text,
        "gridColor": FAINT,
        "domainColor": "#b4bac2",
        "tickColor": "#b4bac2",
        "tickSize": 4,
        "titlePadding": 10,
    }
    if title:
        chart.title = title
    chart.config = alt.Config(  # as `configure` does to a copy, for which it goes through every layer
        font=FONT,
        background="#ffffff",
        padding=6,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(**lines, labelLimit=220, labelPadding=6, labelFlush=False),
        axisY=alt.AxisConfig(titleAlign="left", titleAngle=0, titleX=0, titleY=-12, titleAnchor="start"),
        legend=alt.LegendConfig(**text, orient="top", offset=30, symbolOpacity=1, labelLimit=260, columns=5),
        header=alt.HeaderConfig(labelColor=INK, labelFontSize=13, labelFontWeight="bold", labelPadding=22),
        title=alt.TitleConfig(color=INK, fontSize=14, anchor="start", offset=12),
    )
    return chart


def plain(channel: Any, field: str, **settings: Any) -> Any:
    """An encoding of a column whatever characters its name holds (altair would read "a:b" or "a.b" as syntax)."""
    for mark in "\\.[]":
        field = field.replace(mark, "\\" + mark)
    return channel(field=field, **settings)


def order(df: pl.DataFrame, column: str) -> list[Any]:
    return df[column].drop_nulls().unique(maintain_order=True).to_list()


def axis(
    channel: Any,
    df: pl.DataFrame,
    column: str,
    title: str,
    *,
    percent: bool = False,
    log: bool = False,
    zero: bool = False,
    nice: bool = True,
    angle: int = 0,
) -> Any:
    """A number axis, or a band per text value in the order of the rows."""
    import altair as alt

    name = title or column.replace("_", " ")
    if not df[column].dtype.is_numeric():
        turn: dict[str, Any] = {"labelAngle": angle or -35} if channel is alt.X else {}
        bands = alt.Axis(title=name if title else None, grid=False, labelOverlap=False, **turn)
        return plain(channel, column, type="nominal", sort=order(df, column), axis=bands)
    settings: dict[str, Any] = {"title": name, "tickCount": 6}
    if percent:
        settings |= {"format": ".0~%", "tickMinStep": 0.01}  # else a narrow range repeats its labels
    if df[column].dtype.is_integer():
        if channel is alt.X and df[column].n_unique() <= 12:
            settings["values"] = df[column].unique().sort().to_list()  # epochs, not fractions of them
        settings |= {"tickMinStep": 1, "format": "~s" if int(df[column].max() or 0) >= 10_000 else "d"}  # type: ignore[arg-type]
    scale = alt.Scale(type="log") if log else alt.Scale(zero=zero, nice=nice)
    return plain(channel, column, type="quantitative", axis=alt.Axis(**settings), scale=scale)


def colour_of(df: pl.DataFrame, column: str | None, legend: bool = True) -> dict[str, Any]:
    """Fixed colours for names, a sequential scale for numbers (checkpoints, epochs)."""
    import altair as alt

    if column is None:
        return {"color": alt.value(BLUE)}
    if df[column].dtype.is_numeric():
        scale = alt.Scale(scheme="viridis", reverse=True)
        return {
            "color": plain(
                alt.Color, column, type="ordinal", scale=scale, legend=alt.Legend(title=column.replace("_", " "))
            )
        }
    colours = arm_colours(str(name) for name in order(df, column))
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return {
        "color": plain(
            alt.Color, column, type="nominal", scale=scale, legend=alt.Legend(title=None) if legend else None
        )
    }


def tips(df: pl.DataFrame, columns: list[str | None], titles: dict[str, str], percent: set[str | None]) -> list[Any]:
    import altair as alt

    found = []
    for column in dict.fromkeys(column for column in columns if column):
        number = df[column].dtype.is_numeric()
        form = {"format": ".1~%" if column in percent else ".4~g"} if number else {}
        kind = "quantitative" if number else "nominal"
        found.append(
            plain(alt.Tooltip, column, type=kind, title=titles.get(column) or column.replace("_", " "), **form)
        )
    return found


def reference_line(channel: Any, value: float) -> Any:
    import altair as alt

    place = {"x" if channel is alt.X else "y": channel(datum=value)}
    return alt.Chart().mark_rule(strokeDash=[4, 3], color="#8a919b", strokeWidth=1.2).encode(**place)
