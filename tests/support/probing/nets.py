"""Networks with habits: in-place ReLU, a module used twice, one never used, tuples, tokens, dropout, batch norm."""

import torch
from torch import Tensor, nn


class Habits(nn.Module):
    """(n, 3, 8, 8) to (n, classes). `relu` is in place and used twice, `unused` never runs."""

    def __init__(self, width: int = 6, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.unused = nn.Linear(width, width)
        self.attention = nn.MultiheadAttention(width, 1, batch_first=True)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.conv2(x))
        tokens = x.flatten(2).transpose(1, 2)
        tokens, _ = self.attention(tokens, tokens, tokens)
        out: Tensor = self.fc(self.drop(tokens.mean(1)))
        return out


def made(kind: type[nn.Module] = Habits, seed: int = 0, **options: int) -> nn.Module:
    """A network of a seed; the global random state is left as found."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(**options)


def images(count: int = 24, size: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def batched(x: Tensor, size: int = 8) -> list[Tensor]:
    return list(x.split(size))
