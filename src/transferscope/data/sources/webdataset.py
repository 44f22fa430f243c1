"""webdataset:PATH, tar shards in the layout of WebDataset: a folder of them, one, or a pattern `train-{000..012}.tar`.

Files of one name are a sample: its picture (`a.jpg`) or text (`a.txt`), and its class in `a.cls` or in a field of
`a.json` (label, labels, y or class). The target's `columns` say otherwise by endings and fields (`label: json.kind`).
A shard whose name or folder says train, val or test is of that split. Numbers of classes are named by the lines of a
`classnames.txt` beside the shards. Nothing is unpacked; samples without a class are left out and counted.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.data import shards
from transferscope.data.array_files import classes_of
from transferscope.data.fingerprint import files_fingerprint
from transferscope.data.listing import Listing
from transferscope.data.names import LABELS, PICTURES, split_word
from transferscope.data.paths import from_folder
from transferscope.data.phrases import listed
from transferscope.data.pictures.decode import decoded
from transferscope.data.pictures.numbers import Picture
from transferscope.data.shards import Sample
from transferscope.data.target import Columns, split_cell
from transferscope.data.texts import sound
from transferscope.errors import UserError, did_you_mean

NAMES = "classnames.txt"

absolute = from_folder


@dataclass(frozen=True)
class Members:
    """Example i is the file of shard `places[i, 0]` that begins at byte `places[i, 1]` and has `places[i, 2]` bytes."""

    files: tuple[str, ...]
    places: np.ndarray
    holds: str
    exact: bool = False
    stacked: bool = False

    def __call__(self, index: int) -> Picture | str:
        """Raises ValueError or OSError for an example that cannot be read."""
        shard, begins, size = map(int, self.places[index])
        (found,) = shards.contents(Path(self.files[shard]), [(begins, size)])
        if self.holds == "texts":
            return sound(found.decode("utf-8"))
        return decoded(found, self.exact, self.stacked)


def recognised(path: Path) -> Path | None:
    """A shard, or a folder that holds shards, itself or in its subfolders."""
    shards_in = path.is_dir() and any(one for how in ("*.tar", "*/*.tar") for one in path.glob(how))
    return path if shards_in or path.suffix.lower() == ".tar" else None


def check(rest: str, columns: Any = None) -> None:
    """A UserError unless there are shards, and the first one can be read."""
    Columns.model_validate(columns or {})
    shards.samples(next(iter(shards.shards(rest).values())))


def fingerprint(rest: str, memo: Path | None = None, columns: Any = None) -> str:
    """Digest of every shard and of the names of classes, and of what was said of the parts of samples."""
    files, names = shards.shards(rest), _names_file(rest)
    beside = {NAMES: names} if names.is_file() else {}
    return files_fingerprint({**files, **beside}, memo, [json.dumps(columns, sort_keys=True)] if columns else ())


def listing(rest: str, columns: Any = None) -> Listing:
    """The samples, named by shard and key; classes are in the order of their numbers, else sorted."""
    files = shards.shards(rest)
    said = Columns.model_validate(columns or {})
    every = [(number, one) for number, file in enumerate(files.values()) for one in shards.samples(file)]
    ref, paths = f"webdataset:{rest}", tuple(files.values())
    holds, part = _example(every, said, ref)
    cells = _Cells(every, paths)
    label = said.label or _label(every, cells, ref)
    read = {name: cells.of(name, f"columns.{role}", ref) for role, name in _roles(label, said)}
    shown = [part in one.parts for _, one in every]
    kept = [i for i in range(len(every)) if shown[i] and all(read[name][i] not in (None, "", -1) for name in label)]
    names = [f"{Path(tuple(files)[number]).with_suffix('').as_posix()}/{one.key}" for number, one in every]
    kept.sort(key=names.__getitem__)
    places = np.array([(every[i][0], *every[i][1].parts[part]) for i in kept], dtype=np.int64).reshape(-1, 3)
    own = [[read[name][i] for i in kept] for name in label]
    classes, labels = _classes(own, label, _names_file(rest), Path(rest))
    words = [_word(name) for name in files]
    split = (
        [split_cell(read[said.split][i], said.split) for i in kept]
        if said.split
        else [words[every[i][0]] for i in kept]
    )
    notes = [f"The {holds} are the files .{part} of every sample, labels in {listed(label)}."]
    for count, what in ((shown.count(False), f"no file .{part}"), (sum(shown) - len(kept), "no label")):
        if count:
            notes.append(f"{count:,} samples have {what} and were left out.")
    return Listing(
        names=tuple(names[i] for i in kept),
        classes=classes,
        labels=labels,
        load=Members(tuple(map(str, paths)), places, holds),
        splits=tuple(split) if any(split) else None,
        groups=tuple("" if (cell := read[said.group][i]) is None else str(cell) for i in kept) if said.group else None,
        notes=tuple(notes),
        holds=holds,
    )


class _Cells:
    """What stands beside the example in samples, by names such as `cls` (a file) and `json.label` (a field of one)."""

    def __init__(self, every: Sequence[tuple[int, Sample]], files: Sequence[Path]) -> None:
        self._every, self._files = every, files
        self._read: dict[str, list[Any]] = {}

    def of(self, name: str, where: str, ref: str) -> list[Any]:
        """The cell of every sample, None where there is none. UserError where no sample has one."""
        part, _, field = name.partition(".") if name.startswith("json.") else (name, "", "")
        cells = self._part(part)
        found = [cell.get(field) if isinstance(cell, dict) else None for cell in cells] if field else cells
        if all(cell is None for cell in found):
            have = [
                *(f"json.{one}" for one in self.fields()),
                *sorted({p for _, one in self._every for p in one.parts}),
            ]
            raise UserError(f"{where}: no sample of '{ref}' has '{name}'; {did_you_mean(name, have)}")
        return [_plain(cell) for cell in found]

    def _part(self, part: str) -> list[Any]:
        if part not in self._read:
            self._read[part] = [
                cell
                for number, of in groupby(self._every, key=lambda numbered: numbered[0])
                for cell in self._cells(self._files[number], [one for _, one in of], part)
            ]
        return self._read[part]

    @staticmethod
    def _cells(file: Path, samples: Sequence[Sample], part: str) -> Iterator[Any]:
        """The cells of one shard, which is opened once."""
        content = shards.contents(file, [one.parts[part] for one in samples if part in one.parts])
        for one in samples:
            if part not in one.parts:
                yield None
                continue
            try:
                text = next(content).decode("utf-8")
                yield json.loads(text) if part == "json" else text.strip()
            except ValueError as error:
                raise UserError(f"'{file}': '{one.key}.{part}' cannot be read ({error}).") from None

    def fields(self) -> list[str]:
        first = next((cell for cell in self._part("json") if isinstance(cell, dict)), {})
        return sorted(first)


def _plain(cell: Any) -> Any:
    """A cell as a number where it is a whole one, else as it is; lists are no class."""
    if isinstance(cell, str):
        return int(cell) if cell.removeprefix("-").isdecimal() and str(int(cell)) == cell else cell
    return cell if cell is None or isinstance(cell, int | str) else json.dumps(cell)


def _roles(label: Sequence[str], said: Columns) -> list[tuple[str, str]]:
    named = [("label", name) for name in label]
    return named + [(role, name) for role in ("group", "split") if (name := getattr(said, role))]


def _example(every: Sequence[tuple[int, Sample]], said: Columns, ref: str) -> tuple[str, str]:
    """What the examples are, and the ending of their files. UserError where nothing or several may be it."""
    endings = sorted({part for _, one in every for part in one.parts})
    for role, name in (("path", said.path), ("text", said.text)):
        if name is not None and name not in endings:
            raise UserError(f"columns.{role}: no sample of '{ref}' has '{name}'; {did_you_mean(name, endings)}")
    if said.path or said.text:
        return ("images", said.path) if said.path else ("texts", str(said.text))
    pictures = [one for one in endings if f".{one.rpartition('.')[2]}" in PICTURES]
    if len(pictures) > 1:
        raise UserError(f"'{ref}' has several pictures a sample ({listed(pictures)}); name one with columns.path.")
    if pictures:
        return "images", pictures[0]
    if "txt" in endings:
        return "texts", "txt"
    raise UserError(f"'{ref}' has neither pictures nor texts (its samples hold {listed(endings) or 'nothing'}).")


def _label(every: Sequence[tuple[int, Sample]], cells: _Cells, ref: str) -> tuple[str, ...]:
    """Where the class is: in a file `cls`, else in a field of `json` that is called so."""
    if any("cls" in one.parts for _, one in every):
        return ("cls",)
    fields = cells.fields()
    if found := [name for name in LABELS if name in fields]:
        return (f"json.{found[0]}",)
    have = f"json has {listed(fields)}" if fields else "there is no json"
    raise UserError(
        f"'{ref}' has no file .cls, and {have}; name the class with columns.label (json.FIELD for a field)."
    )


def _classes(
    own: list[list[Any]], label: Sequence[str], names: Path, where: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    if len(own) > 1:
        strange = next((cell for cells in own for cell in cells if cell not in (0, 1)), None)
        if strange is not None:
            raise UserError(f"'{where}': '{strange}' among labels of 0 and 1 ({listed(label)}); write 0 or 1.")
        return classes_of(np.array(own, dtype=np.int64).T, where, listed(label), label)
    used = sorted(set(own[0]), key=lambda cell: (isinstance(cell, str), cell))
    place = {value: i for i, value in enumerate(used)}
    words = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    numbered = [value for value in used if isinstance(value, int)]
    if words and (len(numbered) < len(used) or not 0 <= min(numbered, default=0) <= max(numbered) < len(words)):
        raise UserError(f"'{names}' names {len(words)} classes, and a sample is of class {used[-1]}; correct the file.")
    called = tuple(words[value].strip() if words else str(value) for value in used)
    return called, np.array([place[cell] for cell in own[0]], dtype=np.int64)


def _names_file(rest: str) -> Path:
    path = Path(rest).expanduser()
    return (path if path.is_dir() else path.parent) / NAMES


def _word(shard: str) -> str:
    """The split that the name of a shard says, or else the nearest of its folders that says one."""
    for part in reversed(Path(shard).with_suffix("").parts):
        if word := split_word(part):
            return word
    return ""
