"""sgd: stochastic gradient descent with momentum; weight decay is added to the gradient of every parameter."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from transferscope.tasks.optimisers._one_pass import one_pass

if TYPE_CHECKING:
    import torch
    from torch import nn


def build(
    parameters: "Mapping[str, nn.Parameter]", *, lr: float, momentum: float, nesterov: bool, weight_decay: float
) -> "torch.optim.SGD":
    """`torch.optim.SGD` with all parameters in one group."""
    import torch

    given = list(parameters.values())
    return torch.optim.SGD(
        given, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, fused=one_pass(given)
    )
