"""What a network returns: one tensor (samples, outputs), or a sentence that says what came instead."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    """`output` where it is a tensor (`samples`, k) of real floating numbers, one row a sample.

    Raises UserError for anything else, naming what the network (called `name`) returned and how to wrap it: which of
    several tensors are the logits is for the user to say.
    """
    if isinstance(output, Tensor) and output.is_floating_point() and output.ndim == 2:
        rows, columns = output.shape
        if rows == samples and columns:
            return output
    raise UserError(
        f"network: {name} returned {_what(output)} for {samples} samples, but a tensor (samples, outputs) is needed; "
        f"wrap the network in a module {_way(output)}."
    )


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
