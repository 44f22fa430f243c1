"""Weights as named tensors: blend, measure and identify them."""

import hashlib
import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from transferscope.devices import exact
from transferscope.errors import UserError


def belongs(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a tensor's dotted name is one of the prefixes or lies under one: `layer1.10.w` is not in `layer1.1`."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def blend(a: Mapping[str, Tensor], b: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """`(1 - alpha) a + alpha b` for every float tensor, new memory; alpha outside [0, 1] extrapolates.

    Exactly `a` at 0 and exactly `b` at 1. Integer buffers (step counters) come from `a` everywhere but at 1.
    Raises UserError where names or shapes differ. Batch-norm statistics of a blend are those of no network: refresh
    them with `norm.refresh_batch_norm`.
    """
    if a.keys() != b.keys():
        odd = sorted(a.keys() ^ b.keys())[0]
        raise UserError(f"weights: cannot blend, '{odd}' is in only one of the two networks.")
    for name in a:
        if a[name].shape != b[name].shape:
            raise UserError(f"weights: cannot blend '{name}', {list(a[name].shape)} and {list(b[name].shape)} differ.")
    if alpha in (0, 1):
        return {name: tensor.detach().clone() for name, tensor in (b if alpha else a).items()}
    return {
        name: torch.lerp(tensor.detach(), b[name].detach(), alpha)
        if tensor.is_floating_point()
        else tensor.detach().clone()
        for name, tensor in a.items()
    }


def distance(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Iterable[str]) -> float:
    """Euclidean distance over the tensors of the given names, in float64 (Neyshabur et al. 2020, table 2).

    Raises UserError where a name is missing on one side or shapes differ.
    """
    total = 0.0
    for name in names:
        if name not in a or name not in b or a[name].shape != b[name].shape:
            raise UserError(
                f"weights: no distance over '{name}': it is missing in one of the two networks, or of another shape."
            )
        gap = exact(b[name].detach()) - exact(a[name].detach())
        total += float(torch.dot(gap.flatten(), gap.flatten()))
    return math.sqrt(total)


def fingerprint_state(state: Mapping[str, Tensor]) -> str:
    """Hash of names, dtypes, shapes and bytes in the order of names; independent of the order they came in."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
