"""adamw: Adam with decoupled weight decay (Loshchilov and Hutter 2019), betas 0.9 and 0.999 unless set.

Its steps are about as long as the learning rate whatever the size of the gradient, so that its rates are ten to a
hundred times lower than those of SGD: a study gives them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from transferscope.tasks.optimisers._one_pass import one_pass

if TYPE_CHECKING:
    import torch
    from torch import nn

BETAS = (0.9, 0.999)  # of the running means of the gradient and of its square, as in the paper
EPS = 1e-8  # added to the root of the latter


def build(
    parameters: "Mapping[str, nn.Parameter]",
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = BETAS,
    eps: float = EPS,
) -> "torch.optim.AdamW":
    """`torch.optim.AdamW` with all parameters in one group; a step takes ``lr * weight_decay`` of each weight off."""
    import torch

    given = list(parameters.values())
    return torch.optim.AdamW(given, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=one_pass(given))
