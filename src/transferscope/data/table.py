"""A table of one target: names, classes, labels and splits on disk, beside whatever its kind of input keeps there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from safetensors.numpy import load_file, save_file

from transferscope import answers
from transferscope.data.listing import ASKED, SPLITS, Listing, class_counts
from transferscope.data.reference import absolute
from transferscope.data.split import assign_splits
from transferscope.errors import UserError
from transferscope.input_shape import Example

Which = Literal["train", "eval"]
CONTENT, LABELS = "table.json", "labels.safetensors"


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """Labels and splits of one target. `labels` is int64 (n,), uint8 (n, k) when multi-label (int8 with -1 where one is
    not known), or float32 (n, k) of numbers, less the mean and over the deviation of the training examples (`centre`
    and `spread`, (k,)); `rows` holds the row numbers of 'train', 'val' and 'test', each (m,) and increasing. `task`,
    `metric` and `loss` are those that the target asks for. Every kind of input derives its own from it."""

    folder: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    rows: dict[str, np.ndarray]
    ref: str
    licence: str
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    task: str | None = None
    metric: str = ""
    loss: str = ""
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    @classmethod
    def open(cls, folder: Path, **kept: Any) -> Self:
        """The table that `write` wrote; `kept` are the fields that the kind adds."""
        content = _anchored(content_of(folder), folder)
        splits = np.array(content["splits"])
        return cls(
            folder=folder,
            names=tuple(content["names"]),
            classes=tuple(content["classes"]),
            labels=load_file(folder / LABELS)["labels"],
            rows={word: np.flatnonzero(splits == word) for word in SPLITS},
            ref=content["ref"],
            licence=content["licence"],
            notes=tuple(content["notes"]),
            skipped=tuple((entry["name"], entry["reason"]) for entry in content["skipped"]),
            task=content.get("task"),
            metric=content.get("metric", ""),
            loss=content.get("loss", ""),
            centre=tuple(content.get("centre", ())),
            spread=tuple(content.get("spread", ())),
            **kept,
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def multilabel(self) -> bool:
        return self.kind == "labels"

    @property
    def kind(self) -> answers.Kind:
        """What its labels hold."""
        return "grade" if self.task == "ordinal" else answers.kind(self.labels)

    @property
    def judged(self) -> str:
        """The metric that networks are judged by."""
        return self.metric or answers.usual(self.kind, len(self.classes))

    def in_units(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers (m, k) of `labels`, or outputs of a network, as they were before they were standardised, float64."""
        found: np.ndarray = np.asarray(numbers, dtype=np.float64) * self.spread + self.centre
        return found

    @property
    def error_scale(self) -> tuple[float, ...] | None:
        """What numbers were divided by, where they are judged by an error in their units; None for other metrics."""
        return self.spread if answers.metric(self.judged).error else None

    @property
    def binary(self) -> bool:
        """One label of two classes."""
        return self.kind in ("class", "grade") and len(self.classes) == 2

    def census(self) -> list[dict[str, Any]]:
        """One row for every split and class: split, class, images (multi-label: images that carry the label)."""
        counts = {word: class_counts(self.labels[rows], len(self.classes)) for word, rows in self.rows.items()}
        return [
            {"split": word, "class": name, "images": int(count)}
            for word, of in counts.items()
            for name, count in zip(self.classes, of, strict=True)
        ]

    def example(self, which: Which) -> Example:
        """What one input is like, in training or in evaluation."""
        raise NotImplementedError

    def pictures(self, rows: np.ndarray) -> np.ndarray | None:
        """What evaluation sees of `rows` (b,), for a reader: uint8 (b, S, S, 3); None for inputs that are no images."""
        return None

    def words(self, rows: np.ndarray) -> list[str] | None:
        """What the network reads first of the texts of `rows` (b,), for a reader; None for inputs that are no texts."""
        return None


def content_of(folder: Path) -> dict[str, Any]:
    """What table.json says."""
    return dict(json.loads((folder / CONTENT).read_text(encoding="utf-8")))


def divided(listing: Listing, kept: np.ndarray, split: tuple[float, float, int]) -> dict[str, Any]:
    """What every table.json says of the examples `kept` (m,) of a listing: names, classes, splits, where they are from.

    `split` is (val, test, seed), see `assign_splits`. UserError when the splits cannot be made.
    """
    val, test, seed = split
    groups, given = (
        None if column is None else [column[row] for row in kept] for column in (listing.groups, listing.splits)
    )
    words = assign_splits(listing.labels[kept], groups, given, val, test, seed, listing.classes)
    asked = {name: said for name in ASKED if (said := getattr(listing, name))}
    return {
        "ref": listing.ref,
        "licence": listing.licence,
        "classes": list(listing.classes),
        "split": {"val": val, "test": test, "seed": seed},
        "names": [listing.names[row] for row in kept],
        "splits": words.tolist(),
        "skipped": [],
        "notes": list(listing.notes),
        **asked,
    }


def write(folder: Path, labels: np.ndarray, content: dict[str, Any]) -> None:
    """Write table.json, of which `divided` gives the base, and the `labels` of its examples. Raises OSError.

    Paths below the folder that a store of such tables lies in are written from there on, so that a study that is moved
    with its images, or made anew elsewhere, has the same bytes. Numbers are kept less their mean over the training
    examples and over their (population) deviation there, both of which table.json holds.
    """
    if labels.dtype.kind == "f":
        labels, content = _standardised(labels, content)
    save_file({"labels": np.ascontiguousarray(labels)}, folder / LABELS)
    (folder / CONTENT).write_text(json.dumps(_portable(content, folder), indent=1), encoding="utf-8")


def _standardised(numbers: np.ndarray, content: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    train = numbers[np.array(content["splits"]) == "train"]
    centre, spread = train.mean(axis=0), train.std(axis=0)
    if not spread.all():
        name = content["classes"][int(np.argmin(spread))]
        raise UserError(f"All training examples have one value of '{name}'; there is nothing to learn of it.")
    said = {"centre": centre.tolist(), "spread": spread.tolist()}
    return ((numbers - centre) / spread).astype(np.float32), {**content, **said}


def _base(folder: Path) -> Path:
    """The folder that the store of a table lies in: ``base/store/task/key``, and the same of its scratch folder."""
    return folder.absolute().parents[2] if len(folder.absolute().parents) > 2 else folder.absolute()


def _portable(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What table.json says with the paths below the `_base` made to start there; `from` then says so."""
    base = f"{_base(folder)}/"
    ref = content["ref"].replace(f":{base}", ":", 1).replace(f'"{base}', '"')  # and in its options
    if len(base) < 3 or ref == content["ref"] or absolute(ref, _base(folder)) != content["ref"]:
        return content
    notes = [note.replace(base, "") for note in content["notes"]]
    skipped = [{**one, "reason": one["reason"].replace(base, "")} for one in content["skipped"]]
    return {**content, "ref": ref, "from": "the folder of the store", "notes": notes, "skipped": skipped}


def _anchored(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What `_portable` wrote with its reference made absolute; that of older tables is."""
    return {**content, "ref": absolute(content["ref"], _base(folder))} if "from" in content else content
