"""The processes that train one run together, as each of them sees it: what they add up, and what they are given."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn

from transferscope import devices
from transferscope.engine.environment import set_to
from transferscope.errors import UserError
from transferscope.models.batch_shares import KEY, Share, share

WAITS = timedelta(minutes=30)  # for the slowest of them, as when it writes a save to a slow disk


class Group:
    """One of so many `processes`, of which number 0 has the optimiser; all call the same in the same order."""

    def __init__(self, number: int, processes: int) -> None:
        self.number, self.processes = number, processes

    def share(self, images: int) -> Share:
        """What this process takes of a batch of so many images."""
        return share(images, self.number, self.processes)

    def gathered(self, values: Tensor) -> Tensor:
        """See `models.batch_shares.Peers`."""
        found = [torch.empty_like(values) for _ in range(self.processes)]
        dist.all_gather(found, values)
        return torch.stack(found)

    def total(self, values: Tensor) -> Tensor:
        """Likewise."""
        dist.all_reduce(total := values.clone())
        return total

    @torch.no_grad()
    def collect(self, net: nn.Module) -> None:
        """Number 0 gets the sum of all gradients of `net`; a parameter that no process has one of keeps none."""
        for some in _by_type(p for p in net.parameters() if p.requires_grad):
            own = [p.grad for p in some]
            there = torch.tensor([g is not None for g in own], dtype=some[0].dtype, device=some[0].device)
            parts = [torch.zeros_like(p) if g is None else g for p, g in zip(some, own, strict=True)]
            flat = torch.cat([*(part.reshape(-1) for part in parts), there])
            dist.reduce(flat, 0)
            if self.number > 0:
                continue
            *sums, there = flat.split_with_sizes([*(p.numel() for p in some), len(some)])
            known = [True] * len(own) if all(g is not None for g in own) else there.tolist()  # waits for a GPU
            for p, part, found, is_known in zip(some, parts, sums, known, strict=True):
                p.grad = part.copy_(found.view(p.shape)) if is_known else None

    @torch.no_grad()
    def spread(self, net: nn.Module, everything: bool = False) -> None:
        """All get the parameters of number 0's `net` that are trained, or with `everything` all that it holds."""
        held = [*net.parameters(), *net.buffers()] if everything else [p for p in net.parameters() if p.requires_grad]
        for some in _by_type(held):
            flat = torch.cat([tensor.reshape(-1) for tensor in some])
            dist.broadcast(flat, 0)
            if self.number > 0:
                for tensor, given in zip(some, flat.split_with_sizes([tensor.numel() for tensor in some]), strict=True):
                    tensor.copy_(given.view(tensor.shape))


@contextmanager
def joined(folder: Path, number: int, processes: int, device: str) -> Iterator[Group]:
    """Inside, this process is one of so many on this machine that meet in a `folder`, which must be this user's alone.

    They talk through the loopback interface, where nobody outside hears them.
    """
    if dist.is_initialized():
        raise UserError(
            f"{KEY}: this process is in a group of torch.distributed already; leave the group, or the key at 1."
        )
    if devices.on_gpu(device):
        torch.cuda.set_device(device)
    named = {} if "GLOO_SOCKET_IFNAME" in os.environ else _loopback()
    with set_to(named):
        meeting = f"file://{folder.resolve() / 'meeting'}"
        dist.init_process_group(
            devices.BACKENDS[devices.kind(device)], meeting, WAITS, rank=number, world_size=processes
        )
    try:
        yield Group(number, processes)
    finally:
        dist.destroy_process_group()


def _loopback() -> dict[str, str]:
    """The name of the interface of 127.0.0.1, as Gloo is told it; nothing where it has none."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == "127.0.0.1" for one in addresses):
            return {"GLOO_SOCKET_IFNAME": name}
    return {}


def _by_type(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    found = defaultdict[torch.dtype, list[Tensor]](list)
    for tensor in tensors:
        found[tensor.dtype].append(tensor)
    return list(found.values())
