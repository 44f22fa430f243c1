"""Images: what the targets hold, how they were split, and what could not be read.

Every report opens with it. The table counts images per class and split; the strip shows a few training images of every
class as the network sees them in evaluation.

How to read it. Look whether the pictures are what you think they are, whether a class is tiny, and whether images were
skipped. Metrics are accuracy, or AUC for two classes and for several labels an image, quadratic kappa of grades and R²
of numbers, unless the target's `metric` says otherwise.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from transferscope import analyses, answers
from transferscope.analyses._shared.parts import Parts
from transferscope.data.absent_classes import lacking
from transferscope.data.table import Table as Images
from transferscope.engine.step import Step
from transferscope.engine.table import ResultTable
from transferscope.measures import judged
from transferscope.section import DataSet, Picture, Section, View
from transferscope.study import Study
from transferscope.tasks.inputs import open_table

TINY = {"train": 10, "test": 5}  # images of a class, below which it is named
BEGINNINGS = 3  # texts of a class that are shown
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


def section(table: ResultTable, options: Options) -> Section:
    """Counts, example images, skipped images, licences."""
    parts, pictures = Parts(), []
    for labels, artifact in table.artifacts:
        target = labels["target"]
        rows = table.rows.filter(pl.col("target") == target)
        images = open_table(artifact.whole())
        words = ", ".join(f"{len(members):,} {split}" for split, members in images.rows.items())
        caption = f"{len(images):,} images of {answers.counted(len(images.classes), images.kind)}: {words}."
        caption += f" Licence: {images.licence}." if images.licence else ""
        shown = _numbers(images) if images.kind == "numbers" else _wide(rows)
        parts.tables.append(View(f"{target}-counts", f"Images of {target}", shown, caption))
        pictures += _strip(target, images, options)
        parts.tables += _beginnings(target, images, options)
        said = [*images.notes, *lacking(images.labels, images.rows, images.classes)]
        notes = [*(f"{target}: {note}" for note in said), *_warnings(target, images)]
        parts.notes += notes
        few = [] if images.kind == "numbers" else _tiny(rows)
        parts.data.append(_data(target, images, [*notes, *few]))
    return parts.section("The images", "", pictures)


def _data(target: str, images: Images, alarms: list[str]) -> DataSet:
    """The numbers of a target for the first screen."""
    train, val, test = (len(images.rows.get(split, ())) for split in ("train", "val", "test"))
    own = images.labels[images.rows["test"]]
    percent = answers.metric(images.judged).share
    chance = judged.chance(own, len(images.classes), images.judged)[0] if test and percent else None
    kind = answers.counted(len(images.classes), images.kind).partition(" ")[2]
    return DataSet(target, train, val, test, len(images.classes), kind=kind, chance=chance, alarms=alarms)


def _groups(table: Images, most: int) -> list[tuple[str, np.ndarray]]:
    """Training rows by what they show: of every class or label, `most` of them; of numbers the lowest, middle and
    highest values of the first."""
    train = table.rows["train"]
    labels = table.labels[train]
    if table.kind == "numbers":
        name, order = table.classes[0], train[np.argsort(labels[:, 0], kind="stable")]
        middle = order[np.argsort(np.abs(np.arange(len(order)) - (len(order) - 1) / 2), kind="stable")]
        return [(f"lowest {name}", order), (f"middle {name}", middle), (f"highest {name}", order[::-1])]
    of = (labels.T == 1) if table.multilabel else (labels == number for number in range(len(table.classes)))
    return [(name, train[own]) for name, own in list(zip(table.classes, of, strict=True))[:most]]


def _numbers(table: Images) -> pl.DataFrame:
    """One line a number: mean, deviation, least and most over the training examples, in its units."""
    values = table.in_units(table.labels[table.rows["train"]])
    told = {"mean": values.mean(0), "deviation": values.std(0), "least": values.min(0), "most": values.max(0)}
    return pl.DataFrame({"number": list(table.classes), **told})


def _tiny(rows: pl.DataFrame) -> list[str]:
    """A sentence on the classes of few images; those without any in a split are told of elsewhere."""
    found = []
    for split, least in TINY.items():
        small = rows.filter((pl.col("split") == split) & pl.col("images").is_between(1, least - 1)).sort("images")
        if small.height:
            of = f"'{small['class'][0]}' has {small['images'][0]}"
            more = f" and {small.height - 1} more" if small.height > 1 else ""
            found.append(f"Classes of fewer than {least} {split} images: {of}{more}.")
    return found


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


def _beginnings(target: str, table: Images, options: Options) -> list[View]:
    """How some training texts of every class begin; nothing for inputs that are no texts."""
    rows = list[dict[str, str]]()
    for name, own in _groups(table, options.classes):
        words = table.words(own[: min(options.examples, BEGINNINGS)])
        if words is None:
            return []
        of = "value" if table.kind == "numbers" else "class"
        rows += [{of: name, "begins": text} for text in words]
    caption = "Training texts, as the network reads their first tokens."
    return [View(f"{target}-examples", f"Examples of {target}", pl.DataFrame(rows), caption)]


def _strip(target: str, table: Images, options: Options) -> list[Picture]:
    """One row of example images per class; nothing for inputs that are no images."""
    from PIL import Image

    lines, shown = [], _groups(table, options.classes)
    for _, own in shown:
        found = table.pictures(own[: options.examples])
        if found is None:
            return []
        lines.append(found)
    side = min(table.example("eval").shape[-1], 72)
    sheet = Image.new("RGB", (options.examples * (side + 4), len(lines) * (side + 4)), "white")
    for y, squares in enumerate(lines):
        for x, pixels in enumerate(squares):
            tile = Image.fromarray(pixels)
            tile.thumbnail((side, side))
            sheet.paste(tile, (x * (side + 4), y * (side + 4)))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    names = ", ".join(name for name, _ in shown)
    numbers = table.kind == "numbers"
    some = len(shown) < len(table.classes) and not numbers
    more = f" (the first {len(shown)} of {len(table.classes)} classes)" if some else ""
    of = "value" if numbers else "class"
    caption = f"Training images, one row per {of} from top to bottom: {names}{more}."
    return [Picture(f"{target}-examples", f"Examples of {target}", buffer.getvalue(), caption)]
