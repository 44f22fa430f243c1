"""Standing still: a worker that for its patience neither says anything nor computes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

MOVES = 0.01  # of its patience that a step computes, if it is not standing still


@dataclass
class Moves:
    """When a worker last `heard` said something or was seen to have computed, and its processor seconds by then."""

    moved: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def heard(self) -> None:
        self.moved = time.monotonic()

    def stopped(self, patience: float | None, spent: Callable[[], float | None]) -> bool:
        """Whether it has stood still for `patience` seconds. `spent` are its processor seconds, asked when those are
        over; None where it does not even answer that."""
        if patience is None or time.monotonic() - self.moved < patience:
            return False
        if (now := spent()) is None or now - self.spent < MOVES * patience:
            return True
        self.moved, self.spent = time.monotonic(), now
        return False


def processor_seconds(pid: int | None) -> float:
    """Of a process and its children (this one: None); 0 where it is no more."""
    try:
        own = psutil.Process(pid)
        used = [one.cpu_times() for one in (own, *own.children(recursive=True))]
    except psutil.Error:
        return 0.0
    return float(sum(one.user + one.system for one in used))
