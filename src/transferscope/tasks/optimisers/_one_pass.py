"""One pass: torch's optimisers that read and write each weight once, where they are the quickest."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def one_pass(parameters: "Iterable[nn.Parameter]") -> bool | None:
    """What torch's `fused` should be: True on a CPU (a third of AdamW's time, half of SGD's), else torch's own choice,
    as for complex weights, which it does not take.

    It takes weights, gradients and what is kept of them to lie in memory alike: autograd and `tasks.resume` see to it.
    """
    return True if all(p.device.type == "cpu" and p.is_floating_point() for p in parameters) else None
