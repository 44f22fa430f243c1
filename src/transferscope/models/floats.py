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
    """What a network computes in here: float64 where its first weights are, else float32."""
    first = next((p for p in net.parameters() if p.is_floating_point()), None)
    return torch.float64 if first is not None and first.dtype == torch.float64 else torch.float32


def given_in(net: nn.Module) -> str | None:
    """The narrower type that the network's first weights came in, "bfloat16"; None where it is not narrower."""
    first = next((p for p in net.parameters() if p.is_floating_point()), None)
    return None if first is None or wide(first) is first else str(first.dtype).removeprefix("torch.")


def precision_words(precision: str, given: str | None) -> str:
    """The precision of a result's numbers: "float32 (network given in bfloat16)"."""
    return precision if given is None else f"{precision} (network given in {given})"


@contextmanager
def widened(nets: Iterable[nn.Module]) -> Iterator[None]:
    """Inside the block the networks hold float32 where they hold something narrower, afterwards their own memory."""
    found: dict[int, Tensor] = {}
    for net in nets:
        for tensor in (*net.parameters(), *net.buffers()):
            if wide(tensor) is not tensor:
                found[id(tensor)] = tensor
    own = [(tensor, tensor.data) for tensor in found.values()]
    try:
        for tensor, data in own:
            tensor.data = data.float()
        yield
    finally:
        for tensor, data in own:
            tensor.data = data
