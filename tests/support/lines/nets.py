"""Networks for walks through weight space: batch norm, tied weights, integers, and lines known in closed form."""

import torch
from torch import Tensor, nn


class Normed(nn.Module):
    """(n, 3, 8, 8) to (n, classes): batch norm after convolutions (one inside a residual) and after a linear layer.

    `bias` of conv2 is frozen; bn1 counts batches in an integer buffer.
    """

    def __init__(self, classes: int = 4, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.down = nn.Linear(width, 12)
        self.bn3 = nn.BatchNorm1d(12)
        self.fc = nn.Linear(12, classes)
        assert self.conv2.bias is not None
        self.conv2.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(x + self.bn2(self.conv2(x)))
        out: Tensor = self.fc(torch.relu(self.bn3(self.down(x.mean((2, 3))))))
        return out


class Tied(nn.Module):
    """Two layers of one weight, (n, 4) to (n, 4), and an integer buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.register_buffer("steps", torch.tensor(3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(torch.tanh(self.one(x)))
        return out


class Hill(nn.Module):
    """x (n, 1) in [0, 1]: class 1 where x < height (1 - t^2), else 0. With labels 0 that is the error."""

    def __init__(self, t: float, height: float = 0.6, width: float = 1.0) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.tensor(float(t)))
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        edge = self.height * torch.clamp(1 - (self.t / self.width) ** 2, min=0)
        return torch.stack([x[:, 0] - edge, torch.zeros(len(x))], 1) * 50


class Product(nn.Module):
    """Logits (u v x, 0): on the line from (1, 1) to (-1, -1) the loss of x = 1 is log(1 + exp(-(1 - 2 alpha)^2))."""

    def __init__(self, u: float, v: float) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.tensor(float(u))), nn.Parameter(torch.tensor(float(v)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.u * self.v * x[:, 0], torch.zeros(len(x)), torch.full((len(x),), -40.0)], 1)


def pictures(n: int, classes: int = 4, seed: int = 0, size: int = 8) -> tuple[Tensor, Tensor]:
    """Images (n, 3, size, size) whose class shows as the place of a bright patch in noise, and the labels."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(0, classes, (n,), generator=draw)
    x = torch.randn(n, 3, size, size, generator=draw)
    for k in range(classes):
        x[y == k, k % 3, : 2 + k, :3] += 1.5
    return x, y


def trained(seed: int, classes: int = 4, steps: int = 40, start: nn.Module | None = None) -> nn.Module:
    """A `Normed` after a few steps of Adam; two seeds of one `start` stay near each other."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Normed(classes)
        if start is not None:
            net.load_state_dict(start.state_dict())
        x, y = pictures(256, classes)
        optimiser = torch.optim.Adam(net.parameters(), lr=0.003 if start is not None else 0.02)
        for _ in range(steps):
            pick = torch.randint(0, 256, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[pick]), y[pick]).backward()
            optimiser.step()
    return net.eval()
