"""hf:NAME_OR_PATH, a data set of Hugging Face: a folder of save_to_disk or Parquet files, or a name in the hub's cache.

`hf:PATH#CONFIG` takes one of several configurations. The hub is never asked. Columns are known by their types: the
column of pictures, else that of texts; the label is the column of classes, else one called label, labels, y or class
(lists of classes are several labels an example). The target's `columns` (path for pictures, text, label, group, split)
say otherwise. Splits are kept; examples without a label are left out and counted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.data import hub
from transferscope.data.array_files import classes_of
from transferscope.data.fingerprint import files_fingerprint, text_fingerprint
from transferscope.data.listing import SPLITS, Listing
from transferscope.data.names import LABELS, split_word
from transferscope.data.paths import from_folder
from transferscope.data.phrases import listed
from transferscope.data.pictures.decode import decoded
from transferscope.data.pictures.numbers import Picture
from transferscope.data.target import Columns, split_cell
from transferscope.data.texts import sound
from transferscope.errors import UserError, did_you_mean

MANY = "list of "  # kinds of columns: of an example's several labels


@dataclass(frozen=True)
class Roles:
    """The columns that are taken: of pictures or of texts (`holds`), the label, and what there is beside it."""

    example: str
    holds: str
    label: tuple[str, ...]
    group: str | None
    split: str | None


@dataclass(frozen=True)
class Rows:
    """Example `rows[i]` = (split, place in it) of a data set, which every process opens for itself; `state` is that of
    its files."""

    where: str
    config: str
    state: str
    rows: tuple[tuple[str, int], ...]
    column: str
    holds: str
    exact: bool = False
    stacked: bool = False

    def __call__(self, index: int) -> Picture | str:
        """Raises ValueError or OSError for an example that cannot be read."""
        split, place = self.rows[index]
        cell = hub.opened(self.where, self.config, self.state)[split][place][self.column]
        if self.holds == "texts":
            return sound(cell or "")
        if cell is None:
            raise OSError("there is no picture in its row")
        content = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        return decoded(content, self.exact, self.stacked)


def recognised(path: Path) -> Path | None:
    """A folder of save_to_disk, one of Parquet files, or pictures with a metadata.jsonl."""
    marks = (*hub.SAVED, "metadata.jsonl", "*.parquet", "data/*.parquet")
    return path if path.is_dir() and any(one for mark in marks for one in path.glob(mark)) else None


def check(rest: str, columns: Any = None) -> None:
    """A UserError unless the library datasets is installed and the folder or the name is there."""
    hub.place(rest)
    Columns.model_validate(columns or {})


def absolute(rest: str, folder: Path) -> str:
    """The same reference with a relative path starting from `folder`; a name of the hub as it is."""
    is_path = (folder / Path(rest.partition("#")[0]).expanduser()).exists() or rest.startswith((".", "~", "/"))
    return from_folder(rest, folder) if is_path else rest


def fingerprint(rest: str, memo: Path | None = None, columns: Any = None) -> str:
    """Digest of every file of the data set, and of what was said of its columns."""
    folder, config = hub.place(rest)
    said = json.dumps([config, columns or {}], sort_keys=True)
    return text_fingerprint([files_fingerprint(hub.files(folder), memo), said])


def listing(rest: str, columns: Any = None) -> Listing:
    """The examples, named by split and place; classes are in the order of the label's type, else sorted."""
    folder, config = hub.place(rest)
    state = hub.state(folder)
    parts = hub.opened(str(folder), config, state)
    features = next(iter(parts.values())).features
    roles = _roles(features, Columns.model_validate(columns or {}), f"hf:{rest}")
    words, notes = _splits(parts, roles)
    rows = [(name, row) for name in sorted(words) for row in range(len(parts[name]))]
    wanted = [role for role in (*roles.label, roles.group, roles.split) if role]
    cells = {name: [cell for part in sorted(words) for cell in list(parts[part][name])] for name in wanted}
    kept = [i for i in range(len(rows)) if all(cells[name][i] not in (None, -1, "") for name in roles.label)]
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept):,} examples have no label and were left out.")
    own = {name: [of[i] for i in kept] for name, of in cells.items()}
    classes, labels = _labels([own[name] for name in roles.label], roles.label, features, folder)
    split = (
        [words[rows[i][0]] for i in kept]
        if roles.split is None
        else [split_cell(c, roles.split) for c in own[roles.split]]
    )
    return Listing(
        names=tuple(f"{rows[i][0]}/{rows[i][1]:08d}" for i in kept),
        classes=classes,
        labels=labels,
        load=Rows(str(folder), config, state, tuple(rows[i] for i in kept), roles.example, roles.holds),
        splits=tuple(split) if any(split) else None,
        groups=tuple("" if cell is None else str(cell) for cell in own[roles.group]) if roles.group else None,
        notes=(f"The {roles.holds} are in the column '{roles.example}', labels in {listed(roles.label)}.", *notes),
        holds=roles.holds,
    )


def _roles(features: Mapping[str, Any], said: Columns, ref: str) -> Roles:
    """What every column is, as said or by its type. UserError for one that is not there, or where several may be it."""
    kinds = {name: _kind(feature) for name, feature in features.items()}
    if said.values is not None:
        raise UserError(f"columns.values: it names numbers of arrays, and '{ref}' holds pictures or texts; remove it.")
    beside: dict[str, str | None] = {}
    for role in ("group", "split"):
        beside[role] = None if said.without(role) else getattr(said, role) or (role if role in kinds else None)
    label = said.label or _label(kinds, ref)
    named = [("path", said.path), ("text", said.text), *(("label", one) for one in label), *beside.items()]
    for role, name in named:
        if name is not None and name not in kinds:
            raise UserError(f"columns.{role}: '{ref}' has no column '{name}'; {did_you_mean(name, list(kinds))}")
    free = {name: kind for name, kind in kinds.items() if name not in {*label, *beside.values()}}
    pictures = [name for name, kind in free.items() if kind == "Image"]
    texts = [name for name, kind in free.items() if kind in ("string", "large_string")]
    found = [said.path] if said.path else [] if said.text else pictures
    if found:
        return Roles(_one(found, "pictures", "path", ref), "images", label, **beside)
    found = [said.text] if said.text else ["text"] if "text" in texts else texts
    if found:
        return Roles(_one(found, "texts", "text", ref), "texts", label, **beside)
    have = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
    raise UserError(f"'{ref}' has no column of pictures or texts (it has {have}); give a data set that has one.")


def _one(found: list[str], of: str, role: str, ref: str) -> str:
    if len(found) > 1:
        raise UserError(f"'{ref}' has several columns of {of} ({listed(found)}); name the one with columns.{role}.")
    return found[0]


def _label(kinds: Mapping[str, str], ref: str) -> tuple[str, ...]:
    """The one column of classes, else the one called so."""
    classes = [name for name, kind in kinds.items() if kind.removeprefix(MANY) == "ClassLabel"]
    found = classes if len(classes) == 1 else [name for name in LABELS if name in kinds][:1]
    if not found:
        have = (
            f"several columns of classes ({listed(classes)})"
            if classes
            else f"no column 'label' ({listed(list(kinds))})"
        )
        raise UserError(f"'{ref}' has {have}; name the one with columns.label.")
    return tuple(found)


def _kind(feature: Any) -> str:
    """The type of a column: Image, ClassLabel, a type of values, or a list of one."""
    if isinstance(feature, list) or hasattr(feature, "feature"):
        return MANY + _kind(feature[0] if isinstance(feature, list) else feature.feature)
    kind = type(feature).__name__
    return str(feature.dtype) if kind == "Value" else kind


def _splits(parts: Mapping[str, Any], roles: Roles) -> tuple[dict[str, str], list[str]]:
    """The word for every split that is kept ('' where one stands alone, or a column says it), and what was left out."""
    if len(parts) == 1 or roles.split is not None:
        return dict.fromkeys(parts, ""), []
    words = {name: word for name in parts if (word := split_word(name))}
    lost = [name for name in parts if name not in words]
    for word in SPLITS:
        if len(same := [name for name, own in words.items() if own == word]) > 1:
            raise UserError(f"The splits {listed(same)} all read {word}; save a data set with one of each.")
    return words, [f"Left out were splits that are neither train, val nor test: {listed(lost)}."] if lost else []


def _labels(
    cells: list[list[Any]], columns: tuple[str, ...], features: Mapping[str, Any], folder: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names, and labels as in `Listing`: of one column, of lists, or of several columns of 0 and 1."""
    if len(cells) > 1:
        return classes_of(np.array(cells).T.astype(np.int64), folder, listed(columns), columns)
    feature, own = features[columns[0]], cells[0]
    several = _kind(feature).startswith(MANY)
    inner = (feature[0] if isinstance(feature, list) else feature.feature) if several else feature
    names = getattr(inner, "names", None)
    if not several and names is None:
        return classes_of(np.array(own), folder, columns[0])
    used = sorted({one for cell in own for one in cell} if several else set(own))
    place = {value: i for i, value in enumerate(used)}
    words = tuple(str(names[value] if names else value) for value in used)
    if not several:
        return words, np.array([place[cell] for cell in own], dtype=np.int64)
    labels = np.zeros((len(own), len(used)), dtype=np.uint8)
    for row, cell in enumerate(own):
        labels[row, [place[one] for one in cell]] = 1
    return words, labels
