"""Reading the tensors out of other people's weight files: formats and nesting; no code in them is ever run."""

import argparse
import pathlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from transferscope.errors import UserError
from transferscope.models import formats, shards
from transferscope.models.effective import plain

# Where training scripts keep the weights, in order of preference: what is looked at first.
NESTS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "student",
    "teacher",
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
)
# What training scripts keep their options and best scores in: unpickling one sets attributes, joins the words of a
# path or makes a number.
INERT: list[Any] = [
    argparse.Namespace,
    type(pathlib.Path()),
    type(pathlib.PurePath()),
    np.float64(0).__reduce__()[0],
    np.dtype,
]
INERT += [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]
DEEPEST, LARGEST = 60, 1_000_000  # dictionaries in dictionaries, and entries of all of them
OPTIMISER = ("optim", "exp_avg", "momentum_buffer")  # how keys begin that hold a tensor per weight but no weights


class Contents(dict[str, Tensor]):
    """The tensors of a file that are looked at first, by name: what identifies the file.

    `all_tensors` are those of the whole file by full dotted name (keys of nested dictionaries first), `nest` is what
    those names have before the ones here, `fragment` the part of the file that was asked for, `top` its first keys,
    `spread` which tensors were quantised or sparse in the file, `kind` the class that a folder's config.json names.
    """

    def __init__(
        self,
        part: Mapping[str, Tensor],
        all_tensors: Mapping[str, Tensor],
        *,
        nest: str = "",
        fragment: str = "",
        file: str = "",
        top: tuple[str, ...] = (),
        spread: Mapping[str, str] | None = None,
        kind: str = "",
    ) -> None:
        super().__init__(part)
        self.all_tensors, self.nest, self.fragment, self.file, self.top = dict(all_tensors), nest, fragment, file, top
        self.spread, self.kind = dict(spread or {}), kind


def read_state(path: Path, fragment: str = "") -> Contents:
    """The tensors of a `.safetensors` or torch file by name, on the CPU, quantised and sparse ones spread out; also of
    an index of shards, and of the folder that `save_pretrained` wrote.

    `fragment` names a part of the file: a key of it, or dotted keys ("teacher", "ema.model"; "." for its top level).
    Raises UserError for a missing, damaged or tensor-free file, for one of another kind, and for a pickle that holds
    anything but plain data.
    """
    return contents(_load(path), str(path), fragment, kind=shards.architecture(path))


def contents(loaded: Any, path: str = "", fragment: str = "", *, kind: str = "") -> Contents:
    """`read_state` of what a file holds, read already."""
    read = {name: plain(name, tensor) for name, tensor in _flat(loaded, path).items()}
    all_tensors, spread = (
        {n: tensor for n, (tensor, _) in read.items()},
        {n: kind for n, (_, kind) in read.items() if kind},
    )
    top = tuple(str(key) for key in loaded) if isinstance(loaded, Mapping) else ()
    if not all_tensors:
        held = f" (it holds {_listed(top)})" if top else ""
        what = f"'{path}'" if path else "the dictionary"
        raise UserError(f"weights: {what} holds no tensors by name{held}; save the network's state_dict() in it.")
    if fragment and fragment != ".":
        lead = _lead(all_tensors, fragment)
    else:
        lead = "" if fragment else "".join(f"{key}." for key in _nest(loaded) or ())
    part = {name.removeprefix(lead): tensor for name, tensor in all_tensors.items() if name.startswith(lead)}
    return Contents(part, all_tensors, nest=lead, fragment=fragment, file=path, top=top, spread=spread, kind=kind)


def _load(path: Path) -> Any:
    if why := shards.unreadable(path):
        raise UserError(f"weights: {why}.")
    file, held = shards.parts(path)
    if not held:
        return _file(file)
    found = {
        name: tensor
        for shard in dict.fromkeys(held.values())
        for name, tensor in _flat(_file(file.with_name(shard)), shard).items()
    }
    if lost := [name for name in held if name not in found]:
        raise UserError(
            f"weights: '{file}' names '{lost[0]}', which '{held[lost[0]]}' does not hold; download it again."
        )
    return found


def _file(path: Path) -> Any:
    try:
        if formats.is_safetensors(path):
            return load_file(path)
        if what := formats.what_it_is(path):
            raise UserError(f"weights: '{path}' is {what}.")
        # An open file, because torch.load takes a path's suffix for the format.
        with torch.serialization.safe_globals(INERT), warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except SafetensorError as error:
        why = formats.why_cut_short(path) or f"not a readable safetensors file ({error})"
        raise UserError(f"weights: '{path}' is {why}.") from error
    except pickle.UnpicklingError as error:
        raise UserError(_why_refused(path, str(error))) from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise UserError(
            f"weights: '{path}' is damaged or not a torch file ({type(error).__name__}); download or copy it again, or "
            "save the network's state_dict() anew."
        ) from error


def _why_refused(path: Path, text: str) -> str:
    for marker in ("GLOBAL ", "Unsupported global: "):
        if marker in text:
            name = text.split(marker, 1)[1].split()[0].strip("`'\"")
            return (
                f"weights: '{path}' is refused because loading it could run code (it holds a {name}); save only the "
                "network's state_dict(), best as .safetensors."
            )
    return f"weights: '{path}' is not a file of plain tensors; save the network's state_dict(), best as .safetensors."


def _flat(value: Any, file: str = "") -> dict[str, Tensor]:
    """Every named tensor of nested dictionaries and lists by its dotted name; an optimiser's are left out.

    A dictionary that holds itself is entered once. UserError for what nests too deep, and for so many entries that
    dictionaries must hold each other over and over.
    """
    found: dict[str, Tensor] = {}
    entries = 0
    stack: list[tuple[str, Any, tuple[int, ...]]] = [("", value, ())]
    while stack:
        path, here, above = stack.pop()
        if isinstance(here, Tensor):
            if path:
                found[path] = here.detach()
            continue
        pairs = here.items() if isinstance(here, Mapping) else enumerate(here) if isinstance(here, list | tuple) else ()
        if id(here) in above:
            continue
        inner = [
            (f"{path}.{key}" if path else str(key), part, (*above, id(here)))
            for key, part in pairs
            if isinstance(part, Tensor | Mapping | list | tuple) and not str(key).startswith(OPTIMISER)
        ]
        entries += len(inner)
        if len(above) > DEEPEST or entries > LARGEST:
            what = f"nests more than {DEEPEST} deep" if len(above) > DEEPEST else f"holds more than {LARGEST:,} entries"
            raise UserError(f"weights: '{file}' {what}; save the network's state_dict() alone in it.")
        stack.extend(reversed(inner))
    return found


def _nest(loaded: Any, above: tuple[int, ...] = ()) -> tuple[str, ...] | None:
    """The keys to the dictionary of tensors that training scripts mean by the weights; None where there is none."""
    if not isinstance(loaded, Mapping) or id(loaded) in above:
        return None
    for key in NESTS:
        if isinstance(loaded.get(key), Mapping):
            inner = _nest(loaded[key], (*above, id(loaded)))
            if inner is not None:
                return (key, *inner)
    return () if any(isinstance(value, Tensor) for value in loaded.values()) else None


def _lead(all_tensors: Mapping[str, Tensor], fragment: str) -> str:
    """What the names of the fragment's tensors begin with, the fragment included; "" where it is in several places,
    and in none (the network that is looked for tells which parts there are: see `names.choose`)."""
    wanted = f".{fragment.strip('.')}."
    leads = {f".{name}".partition(wanted)[0] + wanted for name in all_tensors if wanted in f".{name}"}
    return leads.pop()[1:] if len(leads) == 1 else ""


def _listed(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
