"""The decoded image table: every image of a target once, as squares on disk that all workers map."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from transferscope.data.listing import SPLITS, Listing
from transferscope.data.pictures.blank import blank_note
from transferscope.data.pictures.compressed import JpegFile
from transferscope.data.pictures.decode import AS_IT_IS, Scale
from transferscope.data.pictures.depth import shown
from transferscope.data.pictures.pixels import PixelFile, gathered, mark
from transferscope.data.pictures.render import Geometry, Load, disk_sentence, render
from transferscope.data.pictures.survey import refuse_dark, refuse_unreadable, survey
from transferscope.data.pictures.window import Window
from transferscope.data.reference import open_listing
from transferscope.data.table import Table, Which, content_of, divided, write
from transferscope.data.target import channels_fed
from transferscope.errors import UserError
from transferscope.input_shape import Example, picture

MARKS = "marks.safetensors"  # of a streamed table
DISK_SHARE = 0.8  # of the free bytes: a larger table is streamed


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
    fit: str = "crop",
    jpeg: int | None = None,
    streamed: bool | None = None,
    tell: Callable[..., None] | None = None,
) -> dict[str, Any]:
    """Decode, split and write a listing into `folder`; the same bytes whatever `cores`.

    Writes table.json, labels.safetensors and, unless `streamed`, train.safetensors (n, train_size, train_size, 3) and
    eval.safetensors (n, eval_size, eval_size, 3), all uint8 (one file when both are the same); of a listing of which
    several channels are picked, so many in the place of 3, and of the type of the listing's `depth`. Sizes are pixels;
    `crop` (0 to 1] is the share of the sides that the evaluation square shows, `fit` (crop, pad, stretch) how unequal
    sides become a square (`decode.square`). With `jpeg` (1 to 100) squares are kept as JPEGs of that quality, which
    changes pixels a little and takes a fifth of the bytes. `streamed=None` streams when pixels would take more than 80%
    of the free disk.
    Splits as in `assign_splits`, over the readable images. Grey values of more than 8 bits get one scale for all images
    (`survey`), which table.json holds for streamed ones too.

    Returns images, classes, splits (images of each), skipped (name and reason of every unreadable image), bytes,
    streamed, licence. Raises UserError when more than 1% of the images cannot be read, nearly all are one colour or
    dark (`survey`), kinds of images have no common scale, the splits cannot be made, or the disk is full or read-only.
    """
    form = channels_fed(listing.channels), listing.depth, jpeg
    geometry = Geometry(train_size, eval_size, interpolation, crop, fit, *form)
    if not (0 < crop <= 1 and train_size > 0 and eval_size > 0):
        raise UserError(f"Sizes must be positive and crop in (0, 1], but got {train_size}, {eval_size} and {crop}.")
    n = len(listing.names)
    found = survey(listing, fit)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if streamed is None:
            streamed = jpeg is None and n * geometry.image_bytes > DISK_SHARE * shutil.disk_usage(folder).free
        files: dict[str, PixelFile | JpegFile] = {} if streamed else _files(folder, n, geometry)
        for file in files.values():
            file.create()
        failures, blank, marks = render(listing.load, n, geometry, found.scale, files, cores, tell)
        skipped = [{"name": listing.names[index], "reason": reason} for index, reason in failures]
        refuse_unreadable([(entry["name"], entry["reason"]) for entry in skipped], n, f"images of '{listing.where}'")
        kept = np.setdiff1d(np.arange(n), [index for index, _ in failures])
        plain = blank_note([listing.names[row] for row in blank], len(kept), listing.where)
        refuse_dark(found)
        if streamed and not listing.ref:
            raise UserError("A table can be streamed only from a listing that open_listing(ref) gave; use one.")
        content = divided(listing, kept, (val, test, split_seed))
        content |= {"geometry": geometry.said(), "streamed": streamed, "scale": asdict(found.scale)}
        content |= {"skipped": skipped, "notes": [*listing.notes, *found.notes, *plain]}
        files = {name: file.keep(kept) for name, file in files.items()}
        if jpeg is not None:
            content["probe"] = {name: file.probe() for name, file in files.items() if isinstance(file, JpegFile)}
        if streamed:
            save_file({"marks": marks[kept]}, folder / MARKS)
        write(folder, listing.labels[kept], content)
    except OSError as error:
        raise UserError(disk_sentence(error, folder)) from error
    return {
        "images": len(kept),
        "classes": list(listing.classes),
        "splits": {word: content["splits"].count(word) for word in SPLITS},
        "skipped": skipped,
        "bytes": sum(file.data_bytes for file in files.values()),
        "streamed": streamed,
        "licence": listing.licence,
    }


def open_squares(folder: Path) -> "Squares":
    """The table that `build` wrote; pixels are mapped or decoded when they are asked for."""
    content = content_of(folder)
    return Squares.open(
        folder,
        geometry=Geometry(**content["geometry"]),
        scale=_scale(**content["scale"]),
        streamed=content["streamed"],
        probe=content.get("probe", {}),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Squares(Table):
    """Images of one target as squares of pixels: uint8, or uint16 or float32 of 0 to 1 where its depth says so."""

    geometry: Geometry
    streamed: bool
    scale: Scale = AS_IT_IS
    probe: dict[str, dict[str, int]] = field(default_factory=dict)
    _maps: dict[str, np.memmap] = field(default_factory=dict, repr=False)

    def size(self, which: Which) -> int:
        """Side of the squares in pixels."""
        return self.geometry.eval_size if which == "eval" else self.geometry.train_size

    def example(self, which: Which) -> Example:
        """What one of the images is like."""
        return picture(self.size(which), self.channels, self.geometry.dtype)

    @property
    def channels(self) -> int:
        """Of every square: 3 unless others were picked."""
        return self.geometry.channels

    def pictures(self, rows: np.ndarray) -> np.ndarray:
        """The evaluation squares of `rows` (b,), uint8 (b, S, S, 3): of other channels the first three."""
        return shown(self.gather(rows, "eval")[..., [0, 1, min(2, self.channels - 1)]])

    def pixels(self, which: Which) -> np.memmap | None:
        """(n, S, S, channels) mapped from disk; None where they are decoded when they are asked for."""
        if self.streamed or self.geometry.jpeg is not None:
            return None
        name = self._file(which)
        if name not in self._maps:
            file = _files(self.folder, len(self), self.geometry)[name]
            assert isinstance(file, PixelFile)
            self._maps[name] = file.map()
        return self._maps[name]

    def gather(self, rows: np.ndarray, which: Which = "train") -> np.ndarray:
        """The squares of `rows` (b,) as a new (b, S, S, channels); the same pixels whether mapped or streamed."""
        mapped = self.pixels(which)
        if mapped is not None:
            return np.asarray(np.take(mapped, rows, axis=0))
        if self.geometry.jpeg is not None:
            return self._jpegs[self._file(which)].gather(rows)
        name, (load, places) = self._file(which), self._loader
        side = list(self.geometry.sides).index(name)

        def square(row: int) -> np.ndarray:
            found = self.geometry.squares(self.geometry.planes(load(places[row]), self.scale))[name]
            if self._marks is not None and mark(found) != self._marks[row, side]:
                raise UserError(f"'{self.names[row]}' of '{self.ref}' has changed since the table was made: run again.")
            return found

        return gathered(square, rows, self.size(which), self.channels, self.geometry.dtype)

    def _file(self, which: Which) -> Which:
        return "train" if self.geometry.shared else which

    @cached_property
    def _jpegs(self) -> dict[str, JpegFile]:
        files = _files(self.folder, len(self), self.geometry)
        return {name: file.proved(self.probe[name]) for name, file in files.items() if isinstance(file, JpegFile)}

    @cached_property
    def _marks(self) -> np.ndarray | None:
        """The marks (n, squares) of what was decoded for the table; None in a table of before there were any."""
        file = self.folder / MARKS
        return load_file(file)["marks"] if file.exists() else None

    @cached_property
    def _loader(self) -> tuple[Load, list[int]]:
        """The source's loader and each row's index in it, from the reference the table was built from."""
        listing = open_listing(self.ref)
        index = {name: place for place, name in enumerate(listing.names)}
        missing = [name for name in self.names if name not in index]
        if missing:
            raise UserError(f"'{self.ref}' no longer has the image '{missing[0]}' of a streamed table; restore it.")
        return listing.load, [index[name] for name in self.names]


def _files(folder: Path, rows: int, geometry: Geometry) -> dict[str, PixelFile | JpegFile]:
    paths = {name: folder / f"{name}.safetensors" for name in geometry.sides}
    if geometry.jpeg is not None:
        return {name: JpegFile(paths[name], rows, side, geometry.jpeg) for name, side in geometry.sides.items()}
    how = geometry.channels, geometry.dtype
    return {name: PixelFile(paths[name], rows, side, *how) for name, side in geometry.sides.items()}


def _scale(window: dict[str, Any] | None, alpha: bool) -> Scale:
    return Scale(Window(**window) if window else None, alpha)
