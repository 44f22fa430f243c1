"""Networks and tensors in types narrower than float32 (half, bfloat16, float8), in which nothing is computed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def wide(tensor: Tensor) -> Tensor:
    """The tensor in float32 where it is of a narrower floating type, else itself."""
    return tensor.float() if tensor.is_floating_point() and tensor.dtype.itemsize < 4 else tensor


def wide_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict whose narrower tensors are float32."""
    return {name: wide(tensor) for name, tensor in state.items()}


def working_type(net: nn.Module) -> torch.dtype:
    """What a network computes in here: float64 where any of its weights are, else float32."""
    return torch.float64 if any(p.dtype == torch.float64 for p in net.parameters()) else torch.float32


def given_in(net: nn.Module) -> str | None:
    """The narrower type that the network's first weights came in, "bfloat16"; None where it is not narrower."""
    first = next((p for p in net.parameters() if p.is_floating_point()), None)
    return None if first is None or wide(first) is first else str(first.dtype).removeprefix("torch.")


def precision_words(precision: str, given: str | None) -> str:
    """The precision of a result's numbers: "float32 (network given in bfloat16)"."""
    return precision if given is None else f"{precision} (network given in {given})"


@contextmanager
def widened(nets: Iterable[nn.Module]) -> Iterator[None]:
    """Inside the block the networks hold what they compute in (`working_type`), afterwards their own memory."""
    found: dict[int, tuple[Tensor, torch.dtype]] = {}
    for net in nets:
        kind = working_type(net)
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point() and tensor.dtype != kind:
                found[id(tensor)] = tensor, kind
    own = [(tensor, tensor.data, kind) for tensor, kind in found.values()]
    try:
        for tensor, data, kind in own:
            tensor.data = data.to(kind)
        yield
    finally:
        for tensor, data, _ in own:
            tensor.data = data
