"""A copy of a network that runs: in one precision, on images of any, drawing alike in every pass."""

import copy
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.errors import UserError
from transferscope.models.build import seeded
from transferscope.models.precision import prepare
from transferscope.streams import stream_seed


class Copy:
    """`net` in eval mode, in memory of its own; its weights in float32 (those of a float64 network in float64)."""

    def __init__(self, net: nn.Module, precision: str, device: torch.device) -> None:
        double = any(tensor.dtype == torch.float64 for tensor in net.parameters())
        self.dtype, self.device = torch.float64 if double else torch.float32, device
        twin = copy.deepcopy(net).to(self.dtype)
        self.net = prepare(twin, precision, str(device)).eval().requires_grad_(False)

    def fit(self, x: Tensor) -> Tensor:
        """Images in the precision of the weights; integers as they are."""
        return x.to(self.dtype) if x.is_floating_point() else x

    def drawing(self, number: int = 0) -> AbstractContextManager[None]:
        """What the network draws inside, as a dropout that is always on does, it draws alike for the same `number`."""
        return seeded(stream_seed(0, "states", number), self.device)

    def run(self, x: Tensor, number: int = 0) -> Any:
        with torch.no_grad(), self.drawing(number):
            return self.net(self.fit(x))

    def forward(self, x: Tensor, number: int = 0) -> Tensor:
        """Outputs (n, k) of portion `number`. Raises UserError where there are others."""
        out = self.run(x, number)
        if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise UserError(f"network: it should return (samples, outputs), not {shape}.")
        return out

    def tried(self, few: Tensor, name: str) -> int:
        """The number of outputs for a few images. Raises UserError for images that the network does not take."""
        try:
            return self.forward(few).shape[1]
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
            kind = str(few.dtype).removeprefix("torch.")
            hint = "" if few.is_floating_point() else "; give float images, scaled as in training"
            raise UserError(
                f"network: it does not take the images of '{name}', {list(few.shape[1:])} of {kind} each "
                f"({str(error).strip().splitlines()[0][:200] or type(error).__name__}){hint}."
            ) from None
