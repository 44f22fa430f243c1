"""Altair charts in one calm style: an arm has the same colour on every chart, and axes carry words and units."""

from __future__ import annotations

from typing import Any

import polars as pl

from transferscope.charts.style import INK, arm_colours, axis, colour_of, order, plain, reference_line, styled, tips

__all__ = ["arm_colours", "bars", "beside", "dots", "forest", "heat", "lines"]

Drawing = Any  # an altair LayerChart, FacetChart or HConcatChart
RUN = "seed"  # the column that tells single runs apart
MEAN = ".mean"  # marks the rows of means among those of single runs


def lines(
    df: pl.DataFrame,
    x: str,
    y: str,
    colour: str | None = None,
    *,
    low: str | None = None,
    high: str | None = None,
    runs: pl.DataFrame | None = None,
    facet: str | None = None,
    columns: int = 3,
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    percent: bool = False,
    log_x: bool = False,
    reference: float | None = None,
    height: int = 280,
) -> Drawing:
    """A line per colour with a band from `low` to `high`; `runs` (same columns plus `seed`) are drawn faint behind.

    A text `x` keeps the order of the rows (blocks in execution order). `percent` shows fractions (0..1) in %.
    """
    import altair as alt

    data = _with_runs(df, runs)
    base = alt.Chart().encode(x=axis(alt.X, df, x, x_title, log=log_x, nice=False), **colour_of(df, colour))
    whole = base.transform_filter(f"datum['{MEAN}']")
    value = axis(alt.Y, df, y, y_title, percent=percent)
    hover = tips(df, [facet, colour, x, y, low, high], {x: x_title, y: y_title}, {y, low, high} if percent else set())
    layers = []
    if runs is not None:
        single = base.transform_filter(f"!datum['{MEAN}']")
        layers.append(
            single.mark_line(opacity=0.3, strokeWidth=1).encode(y=value, detail=plain(alt.Detail, RUN, type="nominal"))
        )
    if low and high:
        edge = axis(alt.Y, df, low, y_title or y, percent=percent)
        layers.append(whole.mark_area(opacity=0.16).encode(y=edge, y2=plain(alt.Y2, high)))
    few = df[x].n_unique() <= 15
    layers.append(whole.mark_line(strokeWidth=2.4).encode(y=value))
    layers.append(
        whole.mark_point(filled=True, size=44 if few else 110, opacity=1 if few else 0).encode(y=value, tooltip=hover)
    )
    if reference is not None:
        layers.append(reference_line(alt.Y, reference))
    return _finish(alt.layer(*layers), data, facet, columns, title, height=height)


def dots(
    df: pl.DataFrame,
    category: str,
    value: str,
    colour: str | None = None,
    *,
    low: str | None = None,
    high: str | None = None,
    runs: pl.DataFrame | None = None,
    facet: str | None = None,
    columns: int = 2,
    title: str = "",
    value_title: str = "",
    category_title: str = "",
    percent: bool = False,
    reference: float | None = None,
    bar: bool = False,
) -> Drawing:
    """One row per category: a point (or a bar from zero), its interval, and each of `runs` as a small dot."""
    import altair as alt

    data = _with_runs(df, runs)
    base = alt.Chart().encode(y=axis(alt.Y, df, category, category_title), **colour_of(df, colour, colour != category))
    rows = 1
    if colour and colour != category:
        rows = df[colour].n_unique()
        base = base.encode(yOffset=plain(alt.YOffset, colour, type="nominal", sort=order(df, colour)))
    whole = base.transform_filter(f"datum['{MEAN}']")
    along = axis(alt.X, df, value, value_title, percent=percent, zero=bar)
    hover = tips(
        df, [facet, category, colour, value, low, high], {value: value_title}, {value, low, high} if percent else set()
    )
    mark = (
        whole.mark_bar(opacity=0.75, height={"band": 0.7}) if bar else whole.mark_point(filled=True, size=95, opacity=1)
    )
    layers = [mark.encode(x=along, tooltip=hover)]
    if low and high:
        ends = {
            "x": axis(alt.X, df, low, value_title or value, percent=percent, zero=bar),
            "x2": plain(alt.X2, high),
            "tooltip": hover,
        }
        rule = whole.mark_rule(strokeWidth=1.4, color=INK) if bar else whole.mark_rule(strokeWidth=2.4)
        layers.append((rule.encode(color=alt.value(INK)) if bar else rule).encode(**ends))
    if runs is not None:
        single = base.transform_filter(f"!datum['{MEAN}']").mark_point(
            filled=True, size=26, opacity=1, stroke="#ffffff", strokeWidth=0.8, yOffset=8
        )
        layers.append(
            single.encode(
                x=along,
                tooltip=tips(runs, [category, colour, RUN, value], {value: value_title}, {value} if percent else set()),
            )
        )
    if reference is not None:
        layers.insert(0, reference_line(alt.X, reference))
    return _finish(alt.layer(*layers), data, facet, columns, title, height=alt.Step(max(22, 38 - 6 * rows)))


def bars(df: pl.DataFrame, category: str, value: str, colour: str | None = None, **options: Any) -> Drawing:
    """Horizontal bars from zero, one per category and colour; options as for `dots`."""
    return dots(df, category, value, colour, bar=True, **options)


def forest(df: pl.DataFrame, label: str, effect: str, low: str, high: str, **options: Any) -> Drawing:
    """Effects with their intervals against the line of no effect (`reference`, else 0); options as for `dots`."""
    return dots(df, label, effect, low=low, high=high, **{"reference": 0.0, **options})


def heat(
    df: pl.DataFrame,
    x: str,
    y: str,
    value: str,
    *,
    scale: str = "sequential",
    domain: tuple[float, float] | None = None,
    facet: str | None = None,
    columns: int = 2,
    title: str = "",
    x_title: str = "",
    y_title: str = "",
    value_title: str = "",
    percent: bool = False,
) -> Drawing:
    """A matrix of cells, rows and columns in the order of the table; `scale` is "sequential" or "diverging" (around 0).

    Cells that are large enough (up to 12 x 12 of them, or 10 x 10 in facets) carry their number.
    """
    import altair as alt

    least, most = df[value].fill_nan(None).min(), df[value].fill_nan(None).max()
    least, most = domain or (float(least or 0.0), float(most or 0.0))  # type: ignore[arg-type]
    if scale == "diverging":
        most = max(abs(least), abs(most))
        least = -most
    wide, tall = df[x].n_unique(), df[y].n_unique()
    side = max(9, min(44, (270 if facet else 520) // max(wide, tall, 1)))  # two facets stand side by side
    form = ".0%" if percent else ".2f"
    colours = alt.Scale(scheme="blueorange" if scale == "diverging" else "blues", domain=[least, most], clamp=True)
    legend = alt.Legend(title=value_title or None, format=form, gradientLength=160)
    base = alt.Chart().encode(
        x=axis(alt.X, df.cast({x: pl.String}), x, x_title, angle=-45),
        y=axis(alt.Y, df.cast({y: pl.String}), y, y_title),
    )
    hover = tips(df, [facet, y, x, value], {x: x_title, y: y_title, value: value_title}, {value} if percent else set())
    layers = [
        base.mark_rect().encode(
            color=plain(alt.Color, value, type="quantitative", scale=colours, legend=legend), tooltip=hover
        )
    ]
    numbered = side >= 26
    if numbered:
        share = ((pl.col(value) - least) / ((most - least) or 1.0)).fill_null(0.0)
        dark = (share > 0.6) if scale == "sequential" else ((share - 0.5).abs() > 0.38)
        df = df.with_columns(pl.when(dark).then(pl.lit("#ffffff")).otherwise(pl.lit("#22262b")).alias(".ink"))
        ink = plain(alt.Color, ".ink", type="nominal", scale=None, legend=None)
        layers.append(
            base.mark_text(fontSize=11).encode(text=plain(alt.Text, value, type="quantitative", format=form), color=ink)
        )
    chart = alt.layer(*layers)
    if numbered:
        chart = chart.resolve_scale(color="independent")
    return _finish(chart, df, facet, columns, title, width=side * wide, height=side * tall)


def beside(*charts: Drawing, title: str = "") -> Drawing:
    """Finished charts next to each other (below each other on a narrow page)."""
    import altair as alt

    parts: list[Any] = [chart.copy(deep=False) for chart in charts]
    for part in parts:
        part.config = alt.Undefined
        if isinstance(part, alt.LayerChart):
            part.width = min(part.width, 330) if isinstance(part.width, int) else 330
    return styled(alt.hconcat(*parts, spacing=36).resolve_scale(color="independent"), title)


def _finish(
    chart: Any, data: pl.DataFrame, facet: str | None, columns: int, title: str, height: Any, width: int | None = None
) -> Any:
    """The layered chart with its data, size, facets and style."""
    import altair as alt

    if facet is None:
        chart.data, chart.width, chart.height = data, width or 660, height  # `properties` would copy every layer
        return styled(chart, title)
    count = max(1, min(columns, data[facet].n_unique()))
    by = plain(alt.Facet, facet, type="nominal", sort=order(data, facet), header=alt.Header(title=None))
    small = width or (660 - 50 * (count - 1)) // count
    return styled(chart.properties(width=small, height=height).facet(facet=by, columns=count, data=data), title)


def _with_runs(df: pl.DataFrame, runs: pl.DataFrame | None) -> pl.DataFrame:
    """Means and single runs in one table, because a faceted chart has one; `.mean` tells them apart."""
    whole = df.with_columns(pl.lit(True).alias(MEAN))
    if runs is None:
        return whole
    return pl.concat([whole, runs.with_columns(pl.lit(False).alias(MEAN))], how="diagonal_relaxed")
