"""Tables and charts as pieces of HTML for notebooks: no script, nothing loaded from anywhere, and never long."""

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import polars as pl

from transferscope import chart_process
from transferscope.charts.specification import grammar, plain
from transferscope.errors import UserError

MARKS = 5000  # rows of data that a chart may hold and still be drawn here
ROWS, COLUMNS = 12, 12  # of a table that are shown


def piece(title: str, *parts: str) -> str:
    """One block under a title; `parts` are HTML, empty ones are left out."""
    inside = "".join(filter(None, parts))
    return f'<div class="transferscope"><p><strong>{escape(title)}</strong></p>{inside}</div>'


def paragraphs(said: Iterable[str]) -> str:
    """A paragraph for every sentence."""
    return "".join(f"<p>{escape(one)}</p>" for one in said)


def listed(said: Sequence[str]) -> str:
    """The sentences as a list; nothing for none."""
    return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in said) + "</ul>" if said else ""


def table(rows: pl.DataFrame) -> str:
    """A table of at most 12 rows and columns, the middle ones left out, as polars shows it."""
    with pl.Config(tbl_rows=ROWS, tbl_cols=COLUMNS, fmt_str_lengths=60):
        return str(rows._repr_html_())


def chart(spec: Any, title: str = "") -> str:
    """An altair chart (or a specification) as a picture; a sentence in the place of one that cannot be drawn here."""
    found = plain(spec)
    if (count := max((len(rows) for rows in found.get("datasets", {}).values()), default=0)) > MARKS:
        return paragraphs([f"Its chart holds {count:,} rows and is not drawn here; .chart() gives it."])
    try:
        made = chart_process.svg(json.dumps(found), grammar())
    except UserError as error:
        return paragraphs([f"Its chart cannot be drawn ({str(error).rstrip('.')})."])
    coded = base64.b64encode(made.encode()).decode()  # an image of its own: two pictures in a page share names within
    return f'<p><img alt="{escape(title)}" src="data:image/svg+xml;base64,{coded}" style="max-width: 100%"></p>'
