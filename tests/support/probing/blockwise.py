"""A small residual network with used statistics, labelled batches, and the slow way to change some of its tensors."""

import copy

import torch
from torch import nn

from probing.nets import images
from transferscope.measures import metrics


def residual(seed=0, classes=4, width=6):
    """Conv, norm, two residual blocks, a head; statistics that are not those of a fresh network."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 1)

        def forward(self, x):
            return x + self.conv2(torch.relu(self.bn1(self.conv1(x))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(3, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Block(),
            Block(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, classes),
        )
        for _ in range(3):
            net(torch.randn(16, 3, 8, 8) + seed)
    return net


def labelled(count=24, classes=4, seed=0):
    x = images(count, seed=seed)
    y = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))
    return [(x[i : i + 10], y[i : i + 10]) for i in range(0, count, 10)]


def swapped(net, start, names):
    """A float64 copy of `net` with the tensors of these names from `start`."""
    other = copy.deepcopy(net).double().eval()
    own = other.state_dict()
    other.load_state_dict({n: start[n].to(own[n].dtype) if n in names else t for n, t in own.items()})
    return other


def plain(net, batches):
    """Accuracy and cross-entropy of a network in float64."""
    with torch.no_grad():
        out = torch.cat([net(x.double()) for x, _ in batches]).numpy()
    y = torch.cat([y for _, y in batches]).numpy()
    return metrics.accuracy(out, y), metrics.cross_entropy(out, y)
