"""`stacks:N`: N convolutions with batch norm and a linear head, for images of any size."""

from typing import TYPE_CHECKING

from transferscope.errors import UserError

if TYPE_CHECKING:
    from torch import nn

EXAMPLE = "2"
WIDTH = 8


def check(name: str) -> None:
    """UserError unless the name is a number of convolutions."""
    if not name.isdecimal() or int(name) < 1:
        raise UserError(f"network: stacks has no '{name}'; write a number of convolutions, such as stacks:3.")


def build(name: str, classes: int) -> "nn.Module":
    """The network with fresh weights; `classes` outputs."""
    from torch import nn

    check(name)
    layers: list[nn.Module] = []
    for number in range(int(name)):
        layers += [nn.Conv2d(WIDTH if number else 3, WIDTH, 3, stride=2, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(WIDTH), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, classes))


def three(num_classes: int) -> "nn.Module":
    """As a factory, the way a study names one's own: ``my_lab.stacks:three``."""
    return build("3", num_classes)
