"""Reading the tensors out of other people's weight files: formats, nesting, prefixes, and no code is ever run."""

import argparse
import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from transferscope.errors import UserError

# Where training scripts keep the weights, in order of preference: the plain ones before their moving average.
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
PREFIXES = ("module.", "model.", "backbone.", "_orig_mod.", "net.", "network.", "encoder.", "encoder_q.", "student.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or torch file by name, on the CPU; nesting such as `state_dict` is opened.

    Raises UserError for a missing, damaged or tensor-free file, and for a pickle that holds anything but plain data.
    """
    if not path.is_file():
        raise UserError(f"weights: no file '{path}'.")
    if path.stat().st_size == 0:
        raise UserError(f"weights: '{path}' is empty.")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"weights: '{path}' is not a readable safetensors file ({error}).") from error
    try:
        # Namespace: what training scripts keep their options in; unpickling one only sets attributes.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(_why_refused(path, str(error))) from error
    except Exception as error:  # torch raises many kinds for damaged files
        raise UserError(f"weights: '{path}' is damaged or not a torch file ({type(error).__name__}).") from error
    state = _open(loaded)
    if not state:
        raise UserError(f"weights: '{path}' holds no tensors by name; save the network's state_dict() in it.")
    return state


def _why_refused(path: Path, text: str) -> str:
    for marker in ("GLOBAL ", "Unsupported global: "):
        if marker in text:
            name = text.split(marker, 1)[1].split()[0].strip("`'\"")
            return (
                f"weights: '{path}' is refused because loading it could run code (it holds a {name}); save only the "
                "network's state_dict(), best as .safetensors."
            )
    return f"weights: '{path}' is not a file of plain tensors; save the network's state_dict(), best as .safetensors."


def _open(loaded: Any) -> dict[str, Tensor]:
    if not isinstance(loaded, Mapping):
        return {}
    for nest in NESTS:
        if isinstance(loaded.get(nest), Mapping) and (inner := _open(loaded[nest])):
            return inner
    return {str(name): value.detach() for name, value in loaded.items() if isinstance(value, Tensor)}


def without_prefixes(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` with those of the PREFIXES taken off (any number, in any order) under which most of `like` is found.

    Found means: same name and shape. A prefix that is part of the network's own names therefore stays.
    """
    best, best_fit = dict(state), _fit(state, like)
    if best_fit == sum(tensor.numel() for tensor in like.values()):
        return best
    seen: set[tuple[str, ...]] = {tuple(state)}
    queue = [dict(state)]
    while queue:
        current = queue.pop(0)
        for prefix in _present(current):
            # A name that is already taken without the prefix keeps its tensor.
            stripped = {n.removeprefix(prefix): t for n, t in current.items() if n.startswith(prefix)}
            shorter = stripped | {n: t for n, t in current.items() if not n.startswith(prefix)}
            if tuple(shorter) in seen:
                continue
            seen.add(tuple(shorter))
            queue.append(shorter)
            if (fit := _fit(shorter, like)) > best_fit:
                best, best_fit = shorter, fit
    return best


def _present(names: Iterable[str]) -> list[str]:
    return [prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in names)]


def _fit(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> int:
    return sum(t.numel() for name, t in like.items() if name in state and state[name].shape == t.shape)
