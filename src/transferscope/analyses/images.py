"""Images: what the targets hold, how they were split, and what could not be read.

Every report opens with it. The table counts images per class and split; the strip shows a few training images of every
class as the network sees them in evaluation.

How to read it. Look whether the pictures are what you think they are, whether a class is tiny, and whether images were
skipped. Metrics are accuracy, or AUC for two classes and for several labels an image.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from transferscope import analyses
from transferscope.data.absent import lacking
from transferscope.data.table import Table as Images
from transferscope.data.table import open_table
from transferscope.engine.step import Step
from transferscope.engine.table import Table
from transferscope.section import Picture, Section, View
from transferscope.study import Study

MANY = 12  # classes beyond which the table shows only the largest and smallest


class Options(analyses.Options):
    """How many images the page shows."""

    examples: int = 8
    """Images shown of every class."""
    classes: int = 10
    """Classes shown, at most."""


def plan(study: Study, options: Options) -> Iterator[tuple[dict[str, Any], Step]]:
    """The table of every target."""
    for target in study.targets:
        yield {"target": target}, study.data(target)


def section(table: Table, options: Options) -> Section:
    """Counts, example images, skipped images, licences."""
    notes, pictures, views = [], [], []
    for labels, artifact in table.artifacts:
        target = labels["target"]
        rows = table.rows.filter(pl.col("target") == target)
        images = open_table(artifact.path)
        words = ", ".join(f"{len(members):,} {split}" for split, members in images.rows.items())
        kind = "labels" if images.multilabel else "classes"
        caption = f"{len(images):,} images of {len(images.classes)} {kind}: {words}."
        caption += f" Licence: {images.licence}." if images.licence else ""
        views.append(View(f"{target}-counts", f"Images of {target}", _wide(rows), caption))
        pictures.append(_strip(target, images, options))
        said = [*images.notes, *lacking(images.labels, images.rows, images.classes)]
        notes += [*(f"{target}: {note}" for note in said), *_warnings(target, images)]
    return Section("The images", pictures=pictures, tables=views, notes=notes)


def _wide(rows: pl.DataFrame) -> pl.DataFrame:
    """One line a class, one column a split; the middle of a long list is left out."""
    wide = rows.pivot("split", index="class", values="images", aggregate_function="sum").fill_null(0)
    if wide.height <= MANY:
        return wide
    ranked = wide.sort("train", descending=True) if "train" in wide.columns else wide
    return pl.concat([ranked.head(MANY // 2), ranked.tail(MANY // 2)])


def _warnings(target: str, table: Images) -> list[str]:
    if not table.skipped:
        return []
    shown = "; ".join(f"{name} ({reason})" for name, reason in table.skipped[:10])
    more = f" and {len(table.skipped) - 10} more" if len(table.skipped) > 10 else ""
    count = len(table.skipped)
    what = "image" if count == 1 else "images"
    was = "was" if count == 1 else "were"
    return [f"{count} {what} of {target} {was} skipped, because unreadable: {shown}{more}."]


def _strip(target: str, table: Images, options: Options) -> Picture:
    """One row of example images per class."""
    from PIL import Image

    train = table.rows["train"]
    lines = []
    shown = list(range(min(len(table.classes), options.classes)))
    for number in shown:
        own = table.labels[train, number] == 1 if table.multilabel else table.labels[train] == number
        lines.append(train[own][: options.examples])
    side = min(table.size("eval"), 72)
    sheet = Image.new("RGB", (options.examples * (side + 4), len(lines) * (side + 4)), "white")
    for y, rows in enumerate(lines):
        for x, pixels in enumerate(table.gather(np.asarray(rows), "eval") if len(rows) else []):
            tile = Image.fromarray(pixels)
            tile.thumbnail((side, side))
            sheet.paste(tile, (x * (side + 4), y * (side + 4)))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    names = ", ".join(table.classes[n] for n in shown)
    more = f" (the first {len(shown)} of {len(table.classes)} classes)" if len(shown) < len(table.classes) else ""
    caption = f"Training images, one row per class from top to bottom: {names}{more}."
    return Picture(f"{target}-examples", f"Examples of {target}", buffer.getvalue(), caption)
