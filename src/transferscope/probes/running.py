"""Networks as probes run them: left as they were found, or as a copy in one precision that draws alike each time."""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.build import seeded
from transferscope.models.floats import given_in, widened, working_type
from transferscope.models.outputs import answering, logits_of
from transferscope.models.precision import prepare
from transferscope.random_streams import stream_seed

Mode = Literal["eval", "as found"]


class Copy:
    """`net` in eval mode, in memory of its own and in the type it computes in (`floats.working_type`)."""

    def __init__(self, net: nn.Module, device: torch.device) -> None:
        self.device = device
        with widened([net]):
            twin = copy.deepcopy(net)
        self.net = prepare(twin, str(device)).eval().requires_grad_(False)

    def drawing(self, number: int = 0) -> AbstractContextManager[None]:
        """What the network draws inside, as a dropout that is always on does, it draws alike for the same `number`."""
        return seeded(stream_seed(0, "states", number), self.device)

    def run(self, x: Tensor, number: int = 0) -> Any:
        with torch.no_grad(), self.drawing(number):
            return self.net(x)

    def forward(self, x: Tensor, number: int = 0) -> Tensor:
        """Outputs (n, k) of portion `number`. Raises UserError where there are others."""
        return logits_of(self.run(x, number), len(x))

    def tried(self, few: Tensor, name: str) -> int:
        """The number of outputs for a few images. Raises UserError for images that the network does not take."""
        with answering(few, f"the images of '{name}'"):
            return self.forward(few).shape[1]


def fed(x: Tensor, net: nn.Module) -> Tensor:
    """A batch on the network's device, its floats in the type that the network computes in."""
    return x.to(device_of(net), working_type(net) if x.is_floating_point() else x.dtype, non_blocking=True)


def precision_notes(nets: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """A sentence for networks that were given in a narrower type than they are run in. Ask outside `undisturbed`."""
    found = {name: kind for name, net in nets.items() if (kind := given_in(net))}
    return tuple(f"Network {name} was given in {kind} and run in float32." for name, kind in found.items())


def device_of(net: nn.Module) -> torch.device:
    """Where a network's weights are; the CPU for one without any."""
    tensor = next(net.parameters(), None)
    return tensor.device if tensor is not None else torch.device("cpu")


@contextmanager
def undisturbed(nets: Sequence[nn.Module], mode: Mode) -> Iterator[None]:
    """Put networks in `mode`, and narrow weights in float32, inside the block; whatever ends it, weights, flags,
    buffers and the global random state (which a shuffling loader draws from) are then as found."""
    modules = list({id(m): m for net in nets for m in net.modules()}.values())
    flags = [(module, module.training) for module in modules]
    buffers = [(module, dict(module._buffers)) for module in modules]
    values = [(t, t.detach().clone()) for _, held in buffers for t in held.values() if t is not None]
    chance = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        if mode == "eval":
            for net in nets:
                net.eval()
        with widened(nets):
            yield
    finally:
        torch.set_rng_state(chance[0])
        np.random.set_state(chance[1])  # noqa: NPY002
        random.setstate(chance[2])
        for module, flag in flags:
            module.training = flag
        with torch.no_grad():
            for module, held in buffers:
                module._buffers.clear()  # of those that came meanwhile
                module._buffers.update(held)
            for tensor, before in values:
                if not torch.equal(tensor, before):
                    tensor.copy_(before)


def same_device(nets: Sequence[nn.Module]) -> None:
    """Raise UserError unless all networks are on one device: their Grams have to meet."""
    found = {str(device_of(net)) for net in nets}
    if len(found) > 1:
        raise UserError(f"networks: they lie on different devices ({', '.join(sorted(found))}); move them to one.")
