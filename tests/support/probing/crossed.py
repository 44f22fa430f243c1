"""Networks that are hard to cut: skips across blocks, in-place work, a block run twice, weights used by hand."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def plain(classes: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(12, classes),
    )


class Crossed(nn.Module):
    """Skips over two blocks, joins them, changes block outputs in place, shares one ReLU and gates a block by 0."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.inert = nn.Conv2d(width, width, 1)
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        kept = x
        x = self.relu(self.one(x))
        x = self.two(x)
        x += kept  # into what a block returned
        if not self.training:  # no gradient stands this
            kept.add_(0.1)  # into what an earlier one returned, after its reading
        x = x + 0.0 * self.inert(x)
        out: Tensor = self.fc(torch.cat([x.mean((2, 3)), kept.mean((2, 3))], 1))
        return out


class ByHand(nn.Module):
    """A block called twice, a weight used without its module, a parameter of the root, one block never used."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, width))
        self.stem = nn.Linear(3, width)
        self.twice = nn.Linear(width, width)
        self.late = nn.Linear(width, width)
        self.unused = nn.Linear(width, width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x.mean((2, 3)) if x.ndim == 4 else x)) * self.scale
        x = torch.relu(self.twice(x))
        x = F.linear(x, self.late.weight, self.late.bias)
        x = torch.relu(self.twice(x))
        out: Tensor = self.fc(x)
        return out


class Restless(nn.Module):
    """Draws random numbers between its blocks in eval mode too, so that a pass depends on what ran before."""

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Linear(3, width)
        self.noisy = Noisy(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.noisy(torch.relu(self.stem(x.mean((2, 3)))))
        out: Tensor = self.fc(F.dropout(x, 0.5, training=True))
        return out


class Noisy(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        return out + torch.rand_like(out)
