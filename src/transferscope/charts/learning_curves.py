"""The chart that opens the page: learning curves with their names at their ends, and the chance level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from transferscope.charts.style import arm_colours, plain, styled, tips

ROOM = 0.5  # of the epochs, beyond the last: where the names stand
APART = 0.075  # of the height, between two names


def curves(
    means: pl.DataFrame,
    runs: pl.DataFrame,
    words: Mapping[str, str],
    y_title: str,
    chance: float | None = None,
    percent: bool = True,
    error: bool = False,
) -> Any:
    """A line per arm through `means` (epoch, arm, score of at most 1), `runs` (the same by seed) faint behind it.

    `words` name the arms; `chance` is drawn as a dashed line with its name. `percent`: scores are shares;
    `error`: they are errors, of 0 or more in any units.
    """
    import altair as alt

    last = max(1, *(int(epoch) for epoch in means["epoch"]))
    colours = arm_colours(words)
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    colour = plain(alt.Color, "arm", type="nominal", scale=scale, legend=None)
    values = list(range(0, last + 1, math.ceil(last / 6)))
    x = plain(
        alt.X,
        "epoch",
        type="quantitative",
        scale=alt.Scale(domain=[0, last * (1 + ROOM)], nice=False),
        axis=alt.Axis(title="epoch", values=values, format="d", grid=False),
    )
    seen = [*runs["score"], *([] if chance is None else [chance])]
    low, high = (0.0, 1.05 * max(seen) or 1.0) if error else _ends_of_axis(seen, 0.0 if percent else -1.0)
    y = plain(
        alt.Y,
        "score",
        type="quantitative",
        scale=alt.Scale(domain=[low, high], nice=False)
        if percent
        else alt.Scale(domain=[low, high], nice=False, clamp=True),
        axis=alt.Axis(title=y_title, format=".0~%" if percent else ".3~g" if error else ".2~f", tickCount=6),
    )
    layers: list[Any] = []
    if chance is not None:
        said = f"chance: {chance:.0%}" if percent else f"chance: {chance:.3g}" if error else f"chance: {chance:.2g}"
        level = alt.Chart(pl.DataFrame({"epoch": [last * (1 + ROOM)], "score": [chance], "said": [said]}))
        layers.append(level.mark_rule(strokeDash=[5, 4], color="#7a828c", strokeWidth=1.4).encode(y=y))
        name = level.mark_text(align="right", dy=-7, fontSize=12, color="#7a828c")
        layers.append(name.encode(x=x, y=y, text=plain(alt.Text, "said", type="nominal")))
    single = alt.Chart(runs).mark_line(opacity=0.3, strokeWidth=1)
    layers.append(single.encode(x=x, y=y, color=colour, detail=plain(alt.Detail, "seed", type="nominal")))
    base = alt.Chart(means).encode(x=x, y=y, color=colour)
    layers.append(base.mark_line(strokeWidth=2.6))
    hover = tips(means, ["arm", "epoch", "score"], {"score": y_title}, {"score"} if percent else set())
    layers.append(base.mark_point(filled=True, size=50, opacity=1 if last <= 15 else 0).encode(tooltip=hover))
    ends = alt.Chart(_names(means, words, high, APART * (high - low)))
    named = ends.mark_text(align="left", dx=7, fontSize=12, fontWeight="bold")
    layers.append(named.encode(x=x, y=y, color=colour, text=plain(alt.Text, "said", type="nominal")))
    return styled(alt.layer(*layers).properties(width=660, height=250), "")


def _ends_of_axis(scores: Sequence[float], least: float) -> tuple[float, float]:
    """The tenths around all scores, within `least` and 1; a score below is drawn at the edge."""
    low, high = math.floor(10 * min(scores)) / 10, math.ceil(10 * max(scores)) / 10
    low = max(least, low)
    return low, min(1.0, high) if high > low else low + 0.1


def _names(means: pl.DataFrame, words: Mapping[str, str], high: float, gap: float) -> pl.DataFrame:
    """Where the name of each arm stands: at the end of its line, moved down where it would cover another name."""
    final = means.sort("epoch").group_by("arm", maintain_order=True).last().sort("score", descending=True)
    found: list[dict[str, Any]] = []
    for arm, epoch, score in final.select("arm", "epoch", "score").iter_rows():
        highest = found[-1]["score"] - gap if found else high
        found.append({"arm": arm, "epoch": epoch, "score": min(score, highest), "said": words.get(arm, arm)})
    return pl.DataFrame(found)
