"""Networks of a few thousand parameters, as a user's own factories."""

import os
import time
from multiprocessing import parent_process

import torch
from torch import Tensor, nn


class Tiny(nn.Sequential):
    """Three convolutions with batch norm and a linear head."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and parent_process() is not None and (pause := os.environ.get("SMOKE_PAUSE")):
            time.sleep(float(pause))  # in a worker: gives a test the time to kill the run; changes no number
        return super().forward(x)


def tiny(num_classes: int) -> nn.Module:
    """About 6,000 parameters; images of any size. SMOKE_SAVE_EVERY: seconds between saves of its training."""
    if every := os.environ.get("SMOKE_SAVE_EVERY"):
        from transferscope.tasks import loop

        loop.SAVE_EVERY = float(every)
    return _stack(num_classes, (8, 16, 24))


def wider(num_classes: int) -> nn.Module:
    """Another architecture: none of its body's tensors has the shape of one of `tiny`."""
    return _stack(num_classes, (10, 20, 28))


def hungry(num_classes: int) -> nn.Module:
    """A network that takes images of 64 px only."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 2), nn.Linear(2, num_classes))


class Pairs(nn.Module):
    """Looks at images two by two."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        if len(x) % 2:
            raise RuntimeError(f"{len(x)} images are no pairs")
        return self.net(x)


def pairs(num_classes: int) -> nn.Module:
    """A network that takes even numbers of images only."""
    return Pairs(tiny(num_classes))


def few(num_classes: int) -> nn.Module:
    """A network whose factory knows heads of 3 outputs only."""
    return _stack(min(num_classes, 3), (8, 16, 24))


def pointed(num_classes: int) -> nn.Module:
    """Batch norm on a map of one place, which has nothing to normalise in a batch of one image."""
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(8), nn.Flatten()
    return Tiny(*layers, nn.Linear(8, num_classes))


class Finest(nn.Module):
    """What is left of images less the mean of 5 x 5 pixels, so much enlarged that a level of 16 bits counts."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(500 * (x - nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)))


def fine(num_classes: int) -> nn.Module:
    """A network that sees hardly more than what lies below 8 bits."""
    return Tiny(Finest(), *tiny(num_classes))


def headless(num_classes: int) -> nn.Module:
    """A network that pays no heed to `num_classes`."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 117))


def _stack(classes: int, widths: tuple[int, ...]) -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for width in widths:
        layers += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return Tiny(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def weights(seed: int, network: nn.Module | None = None) -> dict[str, Tensor]:
    """The state of a freshly initialised `tiny` (1,000 classes) of a seed; global random state is left as found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return (network or tiny(1000)).state_dict()
