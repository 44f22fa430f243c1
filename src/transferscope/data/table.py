"""The decoded image table: every image of a target once, as uint8 squares on disk that all workers map."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from transferscope.data.listing import SPLITS, Listing, class_counts
from transferscope.data.pictures.blank import blank_note
from transferscope.data.pictures.decode import AS_IT_IS, Scale
from transferscope.data.pictures.pixels import PixelFile
from transferscope.data.pictures.render import Geometry, Load, disk_sentence, render
from transferscope.data.pictures.survey import refuse_unreadable, survey
from transferscope.data.pictures.window import Window
from transferscope.data.reference import open_listing
from transferscope.data.split import assign_splits
from transferscope.errors import UserError
from transferscope.shape import Example, picture

DISK_SHARE = 0.8  # of the free bytes: a larger table is streamed
STREAM_THREADS = 4

Which = Literal["train", "eval"]


def build(
    listing: Listing,
    folder: Path,
    *,
    train_size: int,
    eval_size: int,
    interpolation: str,
    crop: float,
    val: float,
    test: float,
    split_seed: int,
    cores: int,
    streamed: bool | None = None,
    tell: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Decode, split and write a listing into `folder`; the same bytes whatever `cores`.

    Writes table.json, labels.safetensors and, unless `streamed`, train.safetensors (n, train_size, train_size, 3) and
    eval.safetensors (n, eval_size, eval_size, 3), all uint8 (one file when both are the same). Sizes are pixels; `crop`
    (0 to 1] is the share of the shorter side that the evaluation square shows. `streamed=None` streams when the files
    would take more than 80% of the free disk. Splits as in `assign_splits`, over the readable images. Grey values of
    more than 8 bits get one scale for all images (`survey`), which table.json holds for streamed ones too.

    Returns images, classes, splits (images of each), skipped (name and reason of every unreadable image), bytes,
    streamed, licence. Raises UserError when more than 1% of the images cannot be read or nearly all are one colour,
    kinds of images have no common scale, the splits cannot be made, or the disk is full or read-only.
    """
    geometry = Geometry(train_size, eval_size, interpolation, crop)
    if not (0 < crop <= 1 and train_size > 0 and eval_size > 0):
        raise UserError(f"Sizes must be positive and crop in (0, 1], but got {train_size}, {eval_size} and {crop}.")
    n = len(listing.names)
    found = survey(listing)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if streamed is None:
            streamed = n * geometry.image_bytes > DISK_SHARE * shutil.disk_usage(folder).free
        files = {} if streamed else _files(folder, n, geometry)
        for file in files.values():
            file.create()
        failures, blank = render(listing.load, n, geometry, found.scale, files, cores, tell)
        skipped = [{"name": listing.names[index], "reason": reason} for index, reason in failures]
        refuse_unreadable([(entry["name"], entry["reason"]) for entry in skipped], n, f"images of '{listing.ref}'")
        kept = np.setdiff1d(np.arange(n), [index for index, _ in failures])
        plain = blank_note([listing.names[row] for row in blank], len(kept), listing.ref)
        table = _describe(listing, kept, geometry, streamed, skipped, (val, test, split_seed))
        table |= {"notes": [*listing.notes, *found.notes, *plain], "scale": asdict(found.scale)}
        files = {name: file.keep(kept) for name, file in files.items()}
        save_file({"labels": np.ascontiguousarray(listing.labels[kept])}, folder / "labels.safetensors")
        (folder / "table.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    except OSError as error:
        raise UserError(disk_sentence(error, folder)) from error
    return {
        "images": len(kept),
        "classes": list(listing.classes),
        "splits": {word: table["splits"].count(word) for word in SPLITS},
        "skipped": skipped,
        "bytes": sum(file.data_bytes for file in files.values()),
        "streamed": streamed,
        "licence": listing.licence,
    }


def open_table(folder: Path) -> "Table":
    """The table that `build` wrote; pixels are mapped or decoded when they are asked for."""
    content = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    labels = load_file(folder / "labels.safetensors")["labels"]
    splits = np.array(content["splits"])
    return Table(
        folder=folder,
        names=tuple(content["names"]),
        classes=tuple(content["classes"]),
        labels=labels,
        rows={word: np.flatnonzero(splits == word) for word in SPLITS},
        geometry=Geometry(**content["geometry"]),
        scale=_scale(**content["scale"]),
        streamed=content["streamed"],
        ref=content["ref"],
        licence=content["licence"],
        notes=tuple(content["notes"]),
        skipped=tuple((entry["name"], entry["reason"]) for entry in content["skipped"]),
    )


@dataclass(frozen=True, eq=False)
class Table:
    """Images, labels and splits of one target. `labels` is int64 (n,), or uint8 (n, k) when multi-label; `rows` holds
    the row numbers of 'train', 'val' and 'test', each (m,) and increasing."""

    folder: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    rows: dict[str, np.ndarray]
    geometry: Geometry
    streamed: bool
    ref: str
    licence: str
    scale: Scale = AS_IT_IS
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    _maps: dict[str, np.memmap] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def multilabel(self) -> bool:
        return self.labels.ndim == 2

    @property
    def binary(self) -> bool:
        """One label of two classes."""
        return not self.multilabel and len(self.classes) == 2

    def census(self) -> list[dict[str, Any]]:
        """One row for every split and class: split, class, images (multi-label: images that carry the label)."""
        counts = {word: class_counts(self.labels[rows], len(self.classes)) for word, rows in self.rows.items()}
        return [
            {"split": word, "class": name, "images": int(count)}
            for word, of in counts.items()
            for name, count in zip(self.classes, of, strict=True)
        ]

    def size(self, which: Which) -> int:
        """Side of the squares in pixels."""
        return self.geometry.eval_size if which == "eval" else self.geometry.train_size

    def example(self, which: Which) -> Example:
        """What one of the images is like."""
        return picture(self.size(which))

    def pixels(self, which: Which) -> np.memmap | None:
        """uint8 (n, S, S, 3) mapped from disk; None when the table is streamed."""
        if self.streamed:
            return None
        name = self._file(which)
        if name not in self._maps:
            self._maps[name] = _files(self.folder, len(self), self.geometry)[name].map()
        return self._maps[name]

    def gather(self, rows: np.ndarray, which: Which = "train") -> np.ndarray:
        """The squares of `rows` (b,) as a new uint8 (b, S, S, 3); the same pixels whether mapped or streamed."""
        mapped = self.pixels(which)
        if mapped is not None:
            return np.asarray(np.take(mapped, rows, axis=0))
        name, (load, places) = self._file(which), self._loader
        out = np.empty((len(rows), self.size(which), self.size(which), 3), dtype=np.uint8)

        def fill(place: int) -> None:
            out[place] = self.geometry.squares(load(places[int(rows[place])]), self.scale)[name]

        with ThreadPoolExecutor(STREAM_THREADS) as pool:
            list(pool.map(fill, range(len(rows))))
        return out

    def _file(self, which: Which) -> Which:
        return "train" if self.geometry.shared else which

    @cached_property
    def _loader(self) -> tuple[Load, list[int]]:
        """The source's loader and each row's index in it, from the reference the table was built from."""
        listing = open_listing(self.ref)
        index = {name: place for place, name in enumerate(listing.names)}
        missing = [name for name in self.names if name not in index]
        if missing:
            raise UserError(f"'{self.ref}' no longer has the image '{missing[0]}' of a streamed table; restore it.")
        return listing.load, [index[name] for name in self.names]


def _files(folder: Path, rows: int, geometry: Geometry) -> dict[str, PixelFile]:
    return {name: PixelFile(folder / f"{name}.safetensors", rows, side) for name, side in geometry.sides.items()}


def _scale(window: dict[str, Any] | None, alpha: bool) -> Scale:
    return Scale(Window(**window) if window else None, alpha)


def _describe(
    listing: Listing,
    kept: np.ndarray,
    geometry: Geometry,
    streamed: bool,
    skipped: list[dict[str, str]],
    split: tuple[float, float, int],
) -> dict[str, Any]:
    """The content of table.json."""
    if streamed and not listing.ref:
        raise UserError("A table can be streamed only from a listing that open_listing(ref) gave; use one.")
    val, test, seed = split
    groups, given = (
        None if column is None else [column[row] for row in kept] for column in (listing.groups, listing.splits)
    )
    words = assign_splits(listing.labels[kept], groups, given, val, test, seed, listing.classes)
    return {
        "ref": listing.ref,
        "licence": listing.licence,
        "classes": list(listing.classes),
        "geometry": asdict(geometry),
        "split": {"val": val, "test": test, "seed": seed},
        "streamed": streamed,
        "skipped": skipped,
        "names": [listing.names[row] for row in kept],
        "splits": words.tolist(),
    }
