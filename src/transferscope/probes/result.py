"""What every probe's result shares: one file holding its arrays and words, written by `save` and read by `load`."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from transferscope.errors import UserError

SAID = "result"  # the one key of the file's metadata: a second one would make the order of its bytes a matter of luck
ROOM = "transferscope.probes."


def save(result: Any, path: Path | str) -> None:
    """Write a result (a frozen dataclass) as one `.safetensors` file: arrays as tensors, the rest as JSON metadata.

    The same result gives the same bytes. Raises UserError where the file cannot be written.
    """
    said: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = np.asarray(value, order="C")
        elif isinstance(value, Mapping):
            arrays |= {f"{field.name}/{name}": np.asarray(array, order="C") for name, array in value.items()}
            said[field.name] = {"$arrays": list(value)}
        else:
            said[field.name] = value
    kind = type(result)
    text = json.dumps({"kind": f"{kind.__module__}:{kind.__qualname__}", **said}, sort_keys=True)
    try:
        save_file(arrays, Path(path), metadata={SAID: text})
    except (OSError, SafetensorError) as error:
        raise UserError(f"The result cannot be written to {path}: {error}.") from None


def load(path: Path | str) -> Any:
    """Read back what a result's `.save(path)` wrote, as the same dataclass. Raises UserError for another file."""
    try:
        with safe_open(Path(path), "numpy") as file:
            said = json.loads((file.metadata() or {})[SAID])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError):
        raise UserError(f"{path} is not a result saved by a probe; give the path that .save() was given.") from None
    module, _, name = said.pop("kind").partition(":")
    if not module.startswith(ROOM):
        raise UserError(f"{path} holds a '{name}' of '{module}', which is not a probe of this project.")
    kind = getattr(importlib.import_module(module), name)
    values: dict[str, Any] = {name: array for name, array in arrays.items() if "/" not in name}
    for field, value in said.items():
        if isinstance(value, dict) and "$arrays" in value:
            values[field] = {key: arrays[f"{field}/{key}"] for key in value["$arrays"]}
        else:
            values[field] = _tuples(value)
    return kind(**values)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def number(value: float) -> float | None:
    """A float for a table's cell, None for NaN: tables have gaps, never NaN."""
    return None if value != value else float(value)
