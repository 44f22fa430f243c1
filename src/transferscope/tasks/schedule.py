"""Learning-rate schedules: pure functions of how far training has come."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """lr at any point of training: linear warmup over `warmup` epochs, then cosine to 0, drops, or nothing.

    `milestones` are shares of `epochs` (0.3 of 100 epochs is epoch 30), each multiplying lr by `gamma`.
    """

    kind: str
    lr: float
    epochs: int
    warmup: float
    milestones: tuple[float, ...]
    gamma: float

    def at(self, epoch: float) -> float:
        """lr after `epoch` epochs, fractions counted; `epoch` runs from 0 to `epochs`."""
        if epoch < self.warmup:
            return self.lr * max(epoch, 0.1 * self.warmup) / self.warmup
        if self.kind == "cosine":
            done = (epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9)
            return self.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        if self.kind == "multistep":
            # milestones are compared in whole steps of a millionth, so that 0.3 * 10 is epoch 3 and not 3.0000000004
            passed = sum(round(epoch * 1e6) >= round(m * self.epochs * 1e6) for m in self.milestones)
            return self.lr * self.gamma**passed
        return self.lr

    def drops(self) -> tuple[int, ...]:
        """The epochs after whose end the learning rate is lower, by milestones."""
        if self.kind != "multistep":
            return ()
        return tuple(math.floor(round(m * self.epochs * 1e6) / 1e6) for m in self.milestones)


def kept(epoch: int, keep: str, schedule: Schedule) -> bool:
    """Whether the weights after `epoch` (at least 1) are saved: powers of two, both sides of every drop, or all."""
    if keep == "all" or epoch & (epoch - 1) == 0:
        return True
    return keep == "drops" and any(epoch in (drop, drop + 1) for drop in schedule.drops())


def saved_epochs(keep: str, schedule: Schedule) -> tuple[int, ...]:
    """The epochs whose weights a run keeps by number: 0, those that are `kept`, and the last (as ``final``)."""
    inside = (epoch for epoch in range(1, schedule.epochs) if kept(epoch, keep, schedule))
    return (0, *inside, schedule.epochs)
