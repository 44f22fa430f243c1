"""Mean and variance per channel of everything a layer sees, added up in float64, where the device has it."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from transferscope.devices import sum_type

CHUNK = 2**16  # values added up at once on a CPU: they stay in its cache


@dataclass
class Moments:
    """Mean and unbiased variance over all values, and how many there were (merged as in Chan et al. 1979)."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, count: int, mean: Tensor, squares: Tensor) -> None:
        total = self.count + count
        gap = mean - self.mean.to(mean.device)
        self.squares = self.squares.to(mean.device) + squares + gap * gap * (self.count * count / total)
        self.mean = self.mean.to(mean.device) + gap * (count / total)
        self.count = total

    @property
    def var(self) -> Tensor:
        return self.squares / max(self.count - 1, 1)

    @property
    def biased_var(self) -> Tensor:
        """What batch norm divides by in training: the mean of the squared deviations."""
        return self.squares / max(self.count, 1)


@dataclass
class Instances:
    """The means over examples of each example's mean and unbiased variance, and how many examples there were."""

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    var: Tensor = field(default_factory=lambda: torch.zeros(()))

    def see(self, x: Tensor) -> None:
        """x (n, C, ...)"""
        values = x.to(sum_type(x.device)).flatten(2)
        share = len(x) / (self.count + len(x))
        self.mean = torch.lerp(self.mean.to(values), values.mean(2).mean(0), share)
        self.var = torch.lerp(self.var.to(values), values.var(2).mean(0), share)
        self.count += len(x)


def measure(x: Tensor, axis: int) -> tuple[int, Tensor, Tensor]:
    """Values per channel, and each channel's mean and sum of squared deviations from it, (C,) in what
    the device adds up in (`devices.sum_type`).

    One pass over deviations from a first guess of the mean, in pieces, whatever the layout in memory. Deviations are
    as exact in float32 as the values themselves, so only the sums of the pieces need float64.
    """
    x = x if x.dtype == torch.float64 else x.float()
    others = [d for d in range(x.ndim) if d != axis]
    shape = [1] * x.ndim
    shape[axis] = -1
    step = max(1, CHUNK // max(x[0].numel(), 1)) if x.device.type == "cpu" else len(x)
    guess = x[:step].mean(others)
    total, squares = (torch.zeros_like(guess, dtype=sum_type(x.device)) for _ in range(2))
    for start in range(0, len(x), step):
        gap = x[start : start + step] - guess.view(shape)
        total += gap.sum(others)
        squares += gap.square_().sum(others)
    count = x.numel() // len(guess)
    return count, guess + total / count, (squares - total * total / count).clamp_(min=0)
