"""A stand-in for Apple's GPU: tensors that say they lie on "mps", compute on the CPU, and refuse float64 as it does.

Within `standing_in()`, factories and `.to("mps")` make them. As on the real one, a tensor of float64 on it is a
TypeError, and so is an operation that mixes its tensors with the CPU's (a single number excepted), or numpy with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

MPS = torch.device("mps")
# What may have tensors of both: copies, and questions about one of them.
CROSSES = {"copy_", "to", "cpu", "__set__", "__get__", "__setitem__", "__getitem__", "type_as"}


class OnMps(Tensor):
    """A tensor there."""


class _Torch(TorchFunctionMode):
    """Torch, as it would be on a Mac."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
        ours = [one for one in given if isinstance(one, OnMps)]
        if func == Tensor.device.__get__ and ours:  # type: ignore[attr-defined]
            return MPS
        if func is Tensor.__deepcopy__ and ours:
            return _copied(args[0])
        if func is Tensor.to:
            return _to(*args, **kwargs)
        if func is Tensor.cpu and ours:
            return _plain(args[0]).clone()
        if func is Tensor.numpy and ours:
            raise TypeError("can't convert mps:0 device type tensor to numpy.")
        if func is torch._has_compatible_shallow_copy_type:
            return isinstance(args[0], OnMps) == isinstance(args[1], OnMps)
        if ours and name not in CROSSES and any(one.ndim for one in given if not isinstance(one, OnMps)):
            raise TypeError(f"{name}: expected all tensors to be on the same device, found mps and cpu")
        there = bool(ours)
        if "device" in kwargs and func is not torch.device and kwargs["device"] is not None:
            there, kwargs["device"] = torch.device(kwargs["device"]).type == "mps", torch.device("cpu")
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        return tree_map(lambda one: _moved(one) if isinstance(one, Tensor) and there else one, found)


def _plain(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return _as(Tensor, tensor.detach())


def _moved(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.float64:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
    if isinstance(tensor, OnMps):
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        return _as(OnMps, tensor)


def _as(kind: type[Tensor], tensor: Tensor) -> Tensor:
    try:
        return tensor.as_subclass(kind)
    except RuntimeError:  # torch 2.5 within inference mode
        made: Tensor = Tensor._make_subclass(kind, tensor)  # type: ignore[attr-defined]
        return made


def _copied(tensor: Tensor) -> Tensor:
    made = _moved(_plain(tensor).clone())
    made._is_param = getattr(tensor, "_is_param", False)  # type: ignore[attr-defined]
    return made.requires_grad_(tensor.requires_grad)


def _to(tensor: Tensor, *given: Any, device: Any = None, dtype: Any = None, **how: Any) -> Tensor:
    """`Tensor.to` in all its forms."""
    for one in given:
        if isinstance(one, Tensor):
            device, dtype = "mps" if isinstance(one, OnMps) else "cpu", one.dtype
        elif isinstance(one, torch.dtype):
            dtype = one
        elif isinstance(one, str | torch.device):
            device = one
    was = isinstance(tensor, OnMps)
    goes = was if device is None else torch.device(device).type == "mps"
    with torch._C.DisableTorchFunctionSubclass():
        found = tensor.to(dtype=dtype or tensor.dtype, copy=how.pop("copy", False) or was != goes, **how)
        if was == goes and found is tensor:
            return tensor
        found = _as(Tensor, found)
    return _moved(found) if goes else found


@contextmanager
def standing_in() -> Iterator[None]:
    """A Mac, as far as tensors, memory and random numbers go."""
    drawn = torch.Generator()
    fake = {
        "get_rng_state": lambda device="mps": drawn.get_state(),
        "set_rng_state": lambda state, device="mps": drawn.set_state(state),
        "manual_seed": drawn.manual_seed,
        "recommended_max_memory": lambda: 10**9,
        "driver_allocated_memory": lambda: 0,
        "synchronize": lambda: None,
    }
    with mock.patch.multiple(torch.mps, **fake), _Torch():
        yield
