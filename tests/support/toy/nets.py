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


def lite(num_classes: int) -> nn.Module:
    """A stem, a 5x5 depthwise convolution and a 3x3 one on a 2x2 map: each has a fast path of its own."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 5, stride=2, padding=2, groups=16, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )


def narrow(num_classes: int) -> nn.Module:
    """Batch norm on a map of one place, which has nothing to normalise in a batch of one image."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


class Wavering(nn.Module):
    """Which module it calls hangs on the values of a batch."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem, self.other = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(3, 8, 3, stride=2)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.other(x) if float(x[0].mean()) > float(x[-1].mean()) else self.stem(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


def wavering(num_classes: int) -> nn.Module:
    return Wavering(num_classes)


def vit(num_classes: int) -> nn.Module:
    """A vision transformer of timm for images of 12 px, with position embeddings and a class token."""
    import timm

    how = {"img_size": 12, "patch_size": 4, "embed_dim": 24, "depth": 3, "num_heads": 2}
    net: nn.Module = timm.create_model("vit_tiny_patch16_224", num_classes=num_classes, **how)
    return net
