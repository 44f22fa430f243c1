"""Networks small enough for tests; importable by worker processes as ``toy.nets:tiny``."""

import torch
from torch import Tensor, nn


def tiny(num_classes: int) -> nn.Module:
    """Two convolutions with batch norm, dropout (so that hidden randomness shows), a linear head."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(16, num_classes),
    )


class Poisoned(nn.Module):
    """Gives NaN from the third training batch on."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.net = tiny(num_classes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        out: Tensor = self.net(x)
        return out * (float("nan") if self.calls >= 3 else 1.0)


def poisoned(num_classes: int) -> nn.Module:
    return Poisoned(num_classes)
