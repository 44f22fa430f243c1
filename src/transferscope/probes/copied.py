"""A copy of a network that runs: in one precision, drawing alike in every pass."""

import copy
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from transferscope.models.build import seeded
from transferscope.models.floats import widened
from transferscope.models.outputs import answering, logits_of
from transferscope.models.precision import prepare
from transferscope.streams import stream_seed


class Copy:
    """`net` in eval mode, in memory of its own and in the type it computes in (`floats.working_type`)."""

    def __init__(self, net: nn.Module, precision: str, device: torch.device) -> None:
        self.device = device
        with widened([net]):
            twin = copy.deepcopy(net)
        self.net = prepare(twin, precision, str(device)).eval().requires_grad_(False)

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
