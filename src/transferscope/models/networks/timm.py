"""`timm:NAME`: any classification network of the timm library, e.g. `timm:resnet18`."""

from typing import TYPE_CHECKING

from transferscope.errors import UserError
from transferscope.registry import nearest

if TYPE_CHECKING:
    from torch import nn

EXAMPLE = "resnet18"


def check(name: str) -> None:
    """Nothing is looked up before the network is built: importing timm takes seconds."""


def known_name(name: str) -> str:
    """`name` if timm has it, else UserError with the nearest name."""
    import timm

    if not timm.is_model(name):
        tail = nearest(name, timm.list_models(), "timm.list_models() has all names.")
        raise UserError(f"network: timm has no '{name}'; {tail}")
    return name


def build(name: str, classes: int) -> "nn.Module":
    """The network with a head of `classes` outputs and fresh weights; the network is never contacted."""
    import timm

    return timm.create_model(known_name(name), pretrained=False, num_classes=classes)
