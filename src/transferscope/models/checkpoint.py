"""Reading the tensors out of other people's weight files: formats and nesting; no code in them is ever run."""

import argparse
import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from transferscope.errors import UserError, did_you_mean
from transferscope.models import formats
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
# What training scripts keep their options and best scores in: unpickling one sets attributes or makes a number.
INERT: list[Any] = [argparse.Namespace, np.float64(0).__reduce__()[0], np.dtype]
INERT += [type(np.dtype(code)) for code in "?bBhHiIlLqQefd"]
OPTIMISER = ("optim", "exp_avg", "momentum_buffer")  # how keys begin that hold a tensor per weight but no weights


class Contents(dict[str, Tensor]):
    """The tensors of a file that are looked at first, by name: what identifies the file.

    `whole` holds every tensor of it under its full dotted name (keys of nested dictionaries first), `nest` is what
    those names have before the ones here, `fragment` the part of the file that was asked for, `top` its first keys,
    `spread` which tensors were quantised or sparse in the file.
    """

    def __init__(
        self,
        part: Mapping[str, Tensor],
        whole: Mapping[str, Tensor],
        *,
        nest: str = "",
        fragment: str = "",
        file: str = "",
        top: tuple[str, ...] = (),
        spread: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(part)
        self.whole, self.nest, self.fragment, self.file, self.top = dict(whole), nest, fragment, file, top
        self.spread = dict(spread or {})


def read_state(path: Path, fragment: str = "") -> Contents:
    """The tensors of a `.safetensors` or torch file by name, on the CPU, quantised and sparse ones spread out.

    `fragment` names a part of the file: a key of it, or dotted keys ("teacher", "ema.model"; "." for its top level).
    Raises UserError for a missing, damaged or tensor-free file, for one of another kind, for a pickle that holds
    anything but plain data, and for a fragment that is not in it.
    """
    loaded = _load(path)
    read = {name: plain(name, tensor) for name, tensor in _flat(loaded)}
    whole, spread = {n: tensor for n, (tensor, _) in read.items()}, {n: kind for n, (_, kind) in read.items() if kind}
    top = tuple(str(key) for key in loaded) if isinstance(loaded, Mapping) else ()
    if not whole:
        held = f" (it holds {_listed(top)})" if top else ""
        raise UserError(f"weights: '{path}' holds no tensors by name{held}; save the network's state_dict() in it.")
    if fragment and fragment != ".":
        lead = _lead(path, whole, fragment, top)
    else:
        lead = "" if fragment else "".join(f"{key}." for key in _nest(loaded) or ())
    part = {name.removeprefix(lead): tensor for name, tensor in whole.items() if name.startswith(lead)}
    return Contents(part, whole, nest=lead, fragment=fragment, file=str(path), top=top, spread=spread)


def _load(path: Path) -> Any:
    if why := formats.unreadable(path):
        raise UserError(f"weights: {why}.")
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


def _flat(value: Any, path: str = "", above: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Every named tensor of nested dictionaries and lists under its dotted name; an optimiser's are left out."""
    if isinstance(value, Tensor):
        if path:
            yield path, value.detach()
        return
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    if id(value) in above:  # a dictionary that holds itself
        return
    for key, inner in pairs:
        if not str(key).startswith(OPTIMISER):
            yield from _flat(inner, f"{path}.{key}" if path else str(key), (*above, id(value)))


def _nest(loaded: Any) -> tuple[str, ...] | None:
    """The keys to the dictionary of tensors that training scripts mean by the weights; None where there is none."""
    if not isinstance(loaded, Mapping):
        return None
    for key in NESTS:
        if isinstance(loaded.get(key), Mapping) and (inner := _nest(loaded[key])) is not None:
            return (key, *inner)
    return () if any(isinstance(value, Tensor) for value in loaded.values()) else None


def _lead(path: Path, whole: Mapping[str, Tensor], fragment: str, top: tuple[str, ...]) -> str:
    """What the names of the fragment's tensors begin with, the fragment included; "" where it is in several places."""
    wanted = f".{fragment.strip('.')}."
    leads = {f".{name}".partition(wanted)[0] + wanted for name in whole if wanted in f".{name}"}
    if not leads:
        keys = list(dict.fromkeys([*top, *(key for name in whole for key in name.split(".")[:-1])]))
        raise UserError(f"weights: '{path}' holds nothing under '#{fragment}'; {did_you_mean(fragment, keys)}")
    return leads.pop()[1:] if len(leads) == 1 else ""


def _listed(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
