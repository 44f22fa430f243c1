"""What a network returns: its logits, one tensor (samples, outputs), or a sentence that says what came instead."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor

from transferscope.errors import UserError

RAISED = (
    RuntimeError,
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    NotImplementedError,
)
LOGITS = ("logits", "output", "out", "preds", "x")  # names under which wrapped outputs are found in practice


def logits_of(output: Any, samples: int, name: str = "it") -> Tensor:
    """The logits in `output`: a tensor (`samples`, k) of real floating numbers, one row a sample.

    That is `output` itself, what it holds by the name `logits`, or the one such tensor of a tuple, list, mapping or
    data class. Raises UserError for anything else, naming what the network (called `name`) returned and how to wrap
    it: which of several tensors are the logits is for the user to say.
    """
    if isinstance(output, Tensor):
        if _fits(output, samples):
            return output
    else:
        parts: dict[str, Any] = _parts(output)
        named: Tensor | None = parts.get("logits")
        if named is not None and _fits(named, samples):
            return named
        fitting: list[Tensor] = [part for part in parts.values() if _fits(part, samples)]
        if named is None and len({id(part) for part in fitting}) == 1:
            return fitting[0]
    raise UserError(
        f"network: {name} returned {_what(output)} for {samples} samples, but a tensor (samples, outputs) is needed; "
        f"wrap the network in a module {_way(output)}."
    )


def _fits(part: Any, samples: int) -> bool:
    return (
        isinstance(part, Tensor)
        and part.is_floating_point()
        and part.ndim == 2
        and part.shape[0] == samples
        and part.shape[1] > 0
    )


def _parts(output: Any) -> dict[str, Any]:
    """What several things are returned in, by name or place."""
    if isinstance(output, Mapping):
        return {str(key): part for key, part in output.items()}
    if hasattr(output, "_asdict"):  # a named tuple
        return dict(output._asdict())
    if isinstance(output, tuple | list):
        return {str(place): part for place, part in enumerate(output)}
    return dict(vars(output)) if hasattr(output, "__dict__") else {}


def tensors_of(output: Any) -> list[Tensor]:
    """Every tensor in what a module returned, in order: alone, or in tuples, lists, mappings and data classes."""
    if isinstance(output, Tensor):
        return [output]
    several = isinstance(output, tuple | list | Mapping) or is_dataclass(output)
    return [tensor for part in _parts(output).values() for tensor in tensors_of(part)] if several else []


def _what(output: Any) -> str:
    if isinstance(output, Tensor):
        kind = "" if output.is_floating_point() else f"{str(output.dtype).removeprefix('torch.')} "
        return f"a {kind}tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(repr(str(key)) for key in list(output)[:5]) or 'nothing'}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}" + (f", first {_what(output[0])}," if output else "")
    return f"an object of type {type(output).__name__}"


def _way(output: Any) -> str:
    if isinstance(output, Mapping):
        found = next((f"['{key}']" for key in LOGITS if isinstance(output.get(key), Tensor)), "['...']")
    elif isinstance(output, tuple | list):
        place = next((i for i, part in enumerate(output) if isinstance(part, Tensor) and part.ndim == 2), 0)
        found = f"[{place}]"
    elif isinstance(output, Tensor):
        return "that reshapes it"
    else:
        found = next((f".{key}" for key in LOGITS if isinstance(getattr(output, key, None), Tensor)), ".logits")
    return f"whose forward returns net(x){found}"


@contextmanager
def answering(x: Any, where: str = "the batch") -> Iterator[None]:
    """Around a network's forward pass on `x`: what it raises becomes one sentence (memory that runs out stays)."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RAISED as error:
        words = f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
        raise UserError(f"network: it cannot run on {where}, {words}: {reason}.") from error
