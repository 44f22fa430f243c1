"""Tensors that are stored otherwise than a network uses them, as the plain tensor they stand for.

Quantised and sparse tensors are spread out. A weight kept in parts (pruned: values and mask; weight norm: length and
direction; spectral norm: weight and two vectors) is put together under the weight's own name, beside its parts.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from transferscope.devices import exact
from transferscope.errors import UserError

Parts = Mapping[str, Tensor]


def plain(name: str, tensor: Tensor) -> tuple[Tensor, str]:
    """A strided tensor with the values of `tensor`, and what it was ("quantised", "sparse"; "" when it was plain).

    Raises UserError for one without values (meta device) and for a piece of a tensor that other processes hold.
    """
    if tensor.is_meta:
        raise UserError(f"weights: '{name}' has a shape but no values (it was saved from the meta device).")
    if hasattr(tensor, "full_tensor") or type(tensor).__name__ in ("DTensor", "ShardedTensor"):
        raise UserError(f"weights: '{name}' is one process's piece of a distributed tensor; save the full state_dict.")
    if tensor.is_quantized:
        return tensor.dequantize(), "quantised"
    if tensor.layout is not torch.strided:
        return tensor.to_dense(), "sparse"
    return tensor, ""


def _pruned(parts: Parts) -> Tensor:
    return parts["orig"] * parts["mask"].to(parts["orig"].dtype)


def _weight_norm(parts: Parts) -> Tensor:
    """g v / |v|, the norm over all dimensions but those that g has (Salimans and Kingma 2016)."""
    length, direction = parts["g"], parts["v"]
    over = [d for d in range(direction.ndim) if length.ndim != direction.ndim or length.shape[d] == 1]
    norm = torch.linalg.vector_norm(exact(direction), dim=over, keepdim=True)
    effective: Tensor = exact(direction) * exact(length) / norm
    return effective.to(direction)


def _spectral_norm(parts: Parts) -> Tensor:
    """W / (u^T W v): W as a matrix of u's length, from its first dimension or (transposed convolutions) its second."""
    weight, u, v = (exact(parts[name]) for name in ("orig", "u", "v"))
    dim = 0 if len(u) == weight.shape[0] else 1
    matrix = weight.movedim(dim, 0).flatten(1)
    effective: Tensor = weight / torch.dot(u, matrix @ v)
    return effective.to(parts["orig"])


# What is said of it, the endings of the parts' names after the weight's own, and how they make one tensor. Of two ways
# that share a part the one with more parts comes first.
WAYS: tuple[tuple[str, dict[str, str], Callable[[Parts], Tensor]], ...] = (
    ("spectral norm", {"orig": r"_orig", "u": r"_u", "v": r"_v"}, _spectral_norm),
    ("pruned, values times mask", {"orig": r"_orig", "mask": r"_mask"}, _pruned),
    ("weight norm", {"g": r"_g", "v": r"_v"}, _weight_norm),
)
# torch.nn.utils.parametrizations keeps the parts in a module of their own; these are their older names.
PARAMETRIZED = (
    (r"^(.*?)parametrizations\.([^.]+)\.original0$", r"\1\2_g"),
    (r"^(.*?)parametrizations\.([^.]+)\.original1$", r"\1\2_v"),
    (r"^(.*?)parametrizations\.([^.]+)\.original$", r"\1\2_orig"),
    (r"^(.*?)parametrizations\.([^.]+)\.\d+\._([uv])$", r"\1\2_\3"),
    (r"^(.*?)parametrizations\.([^.]+)\.\d+\.mask$", r"\1\2_mask"),
)


def put_together(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights whose parts `state` holds, by their own names, and what each was; a name that is there stays out."""
    older = {_older(name): tensor for name, tensor in state.items()}
    made: dict[str, Tensor] = {}
    how: dict[str, str] = {}
    for said, endings, combine in WAYS:
        first = next(iter(endings.values()))
        for name in older:
            base = name.removesuffix(first)
            if base == name or base in made or base in state:
                continue
            parts = {part: older[base + ending] for part, ending in endings.items() if base + ending in older}
            if len(parts) == len(endings):
                try:
                    made[base] = combine(parts)
                except RuntimeError:  # parts of other shapes: some other thing with such names
                    continue
                how[base] = said
    return made, how


def _older(name: str) -> str:
    if "parametrizations." not in name:
        return name
    for pattern, older in PARAMETRIZED:
        name = re.sub(pattern, older, name)
    return name


def suited(name: str, tensor: Tensor, like: Tensor, siblings: Mapping[str, Tensor]) -> tuple[Tensor, str]:
    """`tensor` in the dtype of `like`, new memory, and the dtype it was stored in where that is another ("" where not).

    Raises UserError for complex values, for whole numbers or eight-bit floats that stand for weights by a scale kept
    elsewhere, for whole numbers where weights belong, for NaN or infinite values, and for negative variances.
    """
    stored = ""
    if tensor.dtype != like.dtype:
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.is_complex() and not like.is_complex():
            raise UserError(f"weights: '{name}' holds complex numbers where the network has real ones.")
        if like.is_floating_point() and not tensor.is_floating_point():
            raise UserError(
                f"weights: '{name}' holds whole numbers ({kind}) where the network has weights, as quantised files do; "
                "use the weights before quantisation."
            )
        if tensor.is_floating_point() and tensor.element_size() == 1 and any("scale" in other for other in siblings):
            raise UserError(
                f"weights: '{name}' holds {kind} numbers in units of a scale kept elsewhere in the file; use the "
                "weights before quantisation."
            )
        stored = kind if like.is_floating_point() else ""
    same = tensor.to(like.dtype, copy=True)
    if same.is_floating_point() and not bool(torch.isfinite(same).all()):
        raise UserError(
            f"weights: '{name}' holds NaN or infinite values; its training diverged or the file is damaged."
        )
    if name.rpartition(".")[2] == "running_var" and bool((same < 0).any()):
        raise UserError(f"weights: '{name}' holds negative variances; the file is damaged or holds something else.")
    return same, stored
