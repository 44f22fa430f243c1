"""What every probe's result shares: one file holding its arrays and words, written by `save` and read by `load`."""

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from transferscope.errors import UserError, a_kind

SAID = "result"  # the one key of the file's metadata: a second one would make the order of its bytes a matter of luck
ROOM = "transferscope.probes."

# Every result and the file of this room that defines it. A saved result holds its bare name, so that files can move.
HOMES = {
    "Alignment": "weights.align",
    "Average": "walks.average",
    "Basin": "walks.basin",
    "Criticality": "blocks.criticality",
    "Distance": "weights.distance",
    "Grams": "features.grams",
    "LayerwiseBarrier": "blocks.layerwise",
    "LineBarrier": "walks.line_barrier",
    "LinearPath": "walks.path",
    "Mistakes": "answers.mistakes",
    "Neighbours": "features.neighbours",
    "Plane": "walks.plane",
    "Predictions": "answers.predictions",
    "Rewind": "blocks.rewind",
    "Rotations": "features.neighbours",
    "Similarity": "features.maps",
    "SimilarityMatrix": "features.maps",
    "Spectrum": "weights.spectrum",
    "Transferability": "features.transferability",
    "WiseFT": "walks.wise",
}
FORMER = {"Path": "LinearPath"}  # names that files of earlier versions hold


@dataclass(frozen=True)
class Later:
    """In the annotation of a result's array of floats: the first format did not have it, so it is NaN in old files.

    `shape`: numbers, and names of fields whose shapes stand in their place.
    """

    shape: tuple[str | int, ...]


class Shown:
    """What a notebook shows of a result: what it is, its notes, its table and its chart as far as it has them."""

    def _repr_html_(self) -> str:
        from transferscope.charts import in_notebooks as html

        said = (inspect.getdoc(type(self)) or "").partition("\n\n")[0].replace("`", "")
        first = re.split(r"\. (?=[A-Z])", " ".join(said.split()), maxsplit=1)[0]
        parts = [html.paragraphs([f"{first.rstrip('.')}."]), html.listed(tuple(getattr(self, "notes", ())))]
        for name, show in (("table", html.table), ("chart", html.chart)):
            if (made := getattr(self, name, None)) is None:
                continue
            try:
                parts.append(show(made()))
            except UserError as error:  # of predictions without labels there is no confusion to draw
                parts.append(html.paragraphs([str(error)]))
        return html.piece(type(self).__name__, *parts)


class Saved(Shown):
    """What every result can do, whatever it holds."""

    def save(self, path: Path | str) -> None:
        """Write to one `.safetensors` file; `transferscope.load(path)` reads it."""
        save(self, path)


def save(result: Any, path: Path | str) -> None:
    """Write a result (a frozen dataclass) as one `.safetensors` file: arrays as tensors, the rest as JSON metadata.

    The same result gives the same bytes. Raises UserError where the file cannot be written.
    """
    said: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for own in fields(result):
        value = getattr(result, own.name)
        if isinstance(value, np.ndarray):
            arrays[own.name] = np.asarray(value, order="C")
        elif isinstance(value, Mapping):
            arrays |= {f"{own.name}/{name}": np.asarray(array, order="C") for name, array in value.items()}
            said[own.name] = {"$arrays": list(value)}
        else:
            said[own.name] = value
    text = json.dumps({"kind": type(result).__name__, **said}, sort_keys=True)
    try:
        save_file(arrays, Path(path), metadata={SAID: text})
    except (OSError, SafetensorError) as error:
        raise UserError(f"The result cannot be written to {path}: {error}.") from None


def load(path: Path | str) -> Any:
    """Read back what a result's `.save(path)` wrote, as the same dataclass.

    Results of earlier versions are read too: what they do not hold is NaN, and a note says so. Raises UserError for
    another file, and for a result that this version does not know or cannot complete.
    """
    if not isinstance(path, str | Path):
        raise UserError(f"load: give the path that .save() was given, not {a_kind(path)}.")
    try:
        with safe_open(Path(path), "numpy") as file:
            said = json.loads((file.metadata() or {})[SAID])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        title = str(said.pop("kind")).rpartition(":")[2]  # the first format named the file too: "module:Name"
        title = FORMER.get(title, title)
    except (OSError, SafetensorError, KeyError, ValueError):
        raise UserError(f"{path} is not a result saved by a probe; give the path that .save() was given.") from None
    if title not in HOMES:
        raise UserError(f"{path} holds a '{title}', which this version of transferscope does not know.")
    kind = getattr(importlib.import_module(ROOM + HOMES[title]), title)
    values: dict[str, Any] = {name: array for name, array in arrays.items() if "/" not in name}
    for name, value in said.items():
        if isinstance(value, dict) and "$arrays" in value:
            values[name] = {key: arrays[f"{name}/{key}"] for key in value["$arrays"]}
        else:
            values[name] = _tuples(value)
    known = {one.name: one for one in fields(kind)}
    without: list[str] = []
    for name, one in known.items():
        if name in values:
            continue
        if later := next((note for note in getattr(one.type, "__metadata__", ()) if isinstance(note, Later)), None):
            parts = [np.shape(values[n]) if isinstance(n, str) else (n,) for n in later.shape]
            values[name] = np.full(sum(parts, ()), np.nan)
            without.append(name)
        elif one.default is MISSING and one.default_factory is MISSING:
            raise UserError(f"{path} lacks '{name}', unlike every '{title}' of this version; compute it again.")
    if odd := [name for name in values if name not in known]:
        raise UserError(f"{path} has '{odd[0]}', unlike every '{title}' of this version; compute it again.")
    if without:
        said = f"Saved by an earlier version, which did not tell {', '.join(without)}."
        values["notes"] = (*values.get("notes", ()), said)
    return kind(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def number(value: float) -> float | None:
    """A float for a table's cell, None for NaN: tables have gaps, never NaN."""
    return None if value != value else float(value)
