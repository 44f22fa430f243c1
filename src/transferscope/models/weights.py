"""Weights as named tensors: load them into a network and prove it, save, blend, measure and identify them."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.checkpoint import read_state, without_prefixes

__all__ = [
    "Loaded",
    "belongs",
    "blend",
    "distance",
    "fingerprint_state",
    "fit",
    "load_into",
    "read_state",
    "save_state",
]


@dataclass(frozen=True)
class Loaded:
    """What of a network's body (all but the head) was found in the weights, counted in tensors and in parameters.

    `missing`: names of the body that the weights lack; `mismatched`: present in another shape; `unexpected`: names
    of the weights that the network lacks. `tensors_*` count buffers too, `parameters_*` single trainable numbers;
    `share` is that of the parameters, in [0, 1].
    """

    tensors_matched: int
    tensors_total: int
    parameters_matched: int
    parameters_total: int
    share: float
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()


def belongs(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a tensor's dotted name is one of the prefixes or lies under one: `layer1.10.w` is not in `layer1.1`."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def fit(
    net: nn.Module, state: Mapping[str, Tensor], *, head: tuple[str, ...], min_share: float = 0.9
) -> tuple[dict[str, Tensor], Loaded]:
    """The tensors of `state` that belong in the body of `net`, in its names and dtypes, and what was matched.

    Prefixes that wrappers leave (`module.`, `model.`, ...) are understood. Nothing is copied into `net`. Raises
    UserError below `min_share` of the body's parameters, and for a value that is not finite.
    """
    body = {name: tensor for name, tensor in net.state_dict().items() if not belongs(name, head)}
    given = without_prefixes(state, body)
    matched = {name: given[name] for name, like in body.items() if name in given and given[name].shape == like.shape}
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters() if name in body}
    matched_size = sum(size for name, size in sizes.items() if name in matched)
    loaded = Loaded(
        tensors_matched=len(matched),
        tensors_total=len(body),
        parameters_matched=matched_size,
        parameters_total=sum(sizes.values()),
        share=matched_size / max(sum(sizes.values()), 1),
        missing=tuple(name for name in body if name not in given),
        unexpected=tuple(name for name in given if name not in body and not belongs(name, head)),
        mismatched=tuple(name for name in body if name in given and name not in matched),
    )
    if loaded.share < min_share:
        raise UserError(_too_little(loaded, body, given, min_share))
    for name, tensor in matched.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"weights: '{name}' holds NaN or infinite values; its training diverged or the file is damaged."
            )
    return {name: tensor.to(body[name].dtype, copy=True) for name, tensor in matched.items()}, loaded


def _too_little(loaded: Loaded, body: Mapping[str, Tensor], given: Mapping[str, Tensor], min_share: float) -> str:
    wrong = loaded.mismatched or loaded.missing
    first = next((name for name in wrong if name.endswith("weight")), wrong[0])
    there = f"has shape {list(given[first].shape)}" if first in given else "is missing"
    return (
        f"weights: only {100 * loaded.share:.1f}% of the body's parameters are in them, less than the "
        f"{100 * min_share:g}% asked for ('{first}' {there}, the network needs {list(body[first].shape)}); "
        "use weights of this architecture, or lower pretrained.min_share to go on regardless."
    )


def load_into(net: nn.Module, state: Mapping[str, Tensor], *, head: tuple[str, ...], min_share: float = 0.9) -> Loaded:
    """Copy `state` into the body of `net`; the head keeps its values. Errors as for `fit`, before any copy."""
    found, loaded = fit(net, state, head=head, min_share=min_share)
    net.load_state_dict(found, strict=False)
    return loaded


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a `.safetensors` file whose bytes depend on names and values only; tied tensors go under each name."""
    plain = {name: state[name].detach().cpu().contiguous().clone() for name in sorted(state)}
    save_file(plain, path)


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
            raise UserError(f"weights: no distance over '{name}': it is missing or of another shape on one side.")
        gap = b[name].detach().to(torch.float64) - a[name].detach().to(torch.float64)
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
