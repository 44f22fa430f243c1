"""Learning-rate schedules: pure functions of how far training has come."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RISE, LOW, END = 0.3, 25.0, 1e4  # one-cycle: share of the epochs that rise, lr over its first, its first over its last


@dataclass(frozen=True)
class Schedule:
    """lr at any point of training: linear warmup over `warmup` epochs, then cosine to 0, drops, or nothing.

    `milestones` are shares of `epochs` (0.3 of 100 epochs is epoch 30), each multiplying lr by `gamma`; "step" does so
    every `step_size` epochs, "plateau" whenever val has not improved for `patience` epochs (see `lowered`). "one-cycle"
    has no warmup: cosines from lr / 25 up to lr in 30% of the epochs, then down to lr / 250,000, as torch's OneCycleLR
    has by default; the momentum stays.
    """

    kind: str
    lr: float
    epochs: int
    warmup: float
    milestones: tuple[float, ...]
    gamma: float
    step_size: int = 10
    patience: int = 5

    def at(self, epoch: float) -> float:
        """lr after `epoch` epochs, fractions counted; `epoch` runs from 0 to `epochs`."""
        if self.kind == "one-cycle":
            top = RISE * self.epochs
            if epoch < top:
                return _between(self.lr / LOW, self.lr, epoch / top)
            return _between(self.lr, self.lr / LOW / END, min(1.0, (epoch - top) / (self.epochs - top)))
        if epoch < self.warmup:
            return self.lr * max(epoch, 0.1 * self.warmup) / self.warmup
        if self.kind == "cosine":
            done = (epoch - self.warmup) / max(self.epochs - self.warmup, 1e-9)
            return self.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        if self.kind == "multistep":
            # milestones are compared in whole steps of a millionth, so that 0.3 * 10 is epoch 3 and not 3.0000000004
            passed = sum(round(epoch * 1e6) >= round(m * self.epochs * 1e6) for m in self.milestones)
            return self.lr * self.gamma**passed
        if self.kind == "step":
            return self.lr * self.gamma ** (round(epoch * 1e6) // (self.step_size * 10**6))
        return self.lr

    def lowered(self, rows: Sequence[Mapping[str, Any]]) -> float:
        """What "plateau" multiplies lr by after the epochs of `rows`, the start first; 1 for other kinds.

        As torch's ReduceLROnPlateau: when more than `patience` epochs have passed without a better val metric than any
        before, lr is multiplied by `gamma` and the count begins anew. Where one is undefined the val loss counts.
        """
        if self.kind != "plateau":
            return 1.0
        best, waited, factor = -math.inf, 0, 1.0
        for score in _on_val(rows):
            best, waited = (score, 0) if score > best else (best, waited + 1)
            if waited > self.patience:
                waited, factor = 0, factor * self.gamma
        return factor

    def drops(self) -> tuple[int, ...]:
        """The epochs after whose end the learning rate is lower, as far as they are known beforehand."""
        if self.kind == "step":
            return tuple(range(self.step_size, self.epochs, self.step_size))
        if self.kind != "multistep":
            return ()
        return tuple(math.floor(round(m * self.epochs * 1e6) / 1e6) for m in self.milestones)


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` (share 0) to `end` (1)."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _on_val(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The val metric of every epoch but the start; where one is undefined, the negative val losses."""
    seen = [row for row in rows if row["epoch"] > rows[0]["epoch"]]
    undefined = any(row["val_metric"] is None for row in seen)
    return [-row["val_loss"] if undefined else row["val_metric"] for row in seen]


def stops(rows: Sequence[Mapping[str, Any]], patience: int | None) -> bool:
    """Whether the last `patience` epochs of `rows` (the start first) were not better on val than any before them."""
    scores = _on_val(rows)
    return patience is not None and len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def kept(epoch: int, keep: str, schedule: Schedule, every: int | None = None) -> bool:
    """Whether the weights after `epoch` (at least 1) are saved: powers of two and one in `every`, with them both sides
    of every drop, or all."""
    if keep == "all" or epoch & (epoch - 1) == 0 or (every is not None and epoch % every == 0):
        return True
    return keep == "drops" and any(epoch in (drop, drop + 1) for drop in schedule.drops())


def saved_epochs(keep: str, schedule: Schedule, every: int | None = None) -> tuple[int, ...]:
    """The epochs whose weights a run keeps by number: 0, those that are `kept`, and the last (as ``final``)."""
    inside = (epoch for epoch in range(1, schedule.epochs) if kept(epoch, keep, schedule, every))
    return (0, *inside, schedule.epochs)
