"""What a running task is given besides its parameters: a folder, cores, and a way to be heard and stopped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Interrupted(Exception):
    """Raised by a task that was asked to stop and has saved what it needs to go on later."""


class Lost(Exception):
    """Raised by a task that lost what it computed with, by no fault of its own or of the study: one sentence. What it
    saved is kept."""


def _silent(**_: Any) -> None:
    return None


def _unshared(_: bool) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Work:
    """The bench a task works at. Nothing here may change a number.

    `folder` is the scratch folder that becomes the result; `cores` counts those of the whole run (a task alone on the
    machine may use them), `threads` those of this slot; `tell` reports progress; `stopping` is asked between batches.
    A training may spread over `processes`, which share these threads; where `device` is a GPU each has one, from it on.
    `memo` is where the store keeps answers that save time. `share` is told when the folder holds a save from which the
    step may go on, with True where it is the last one of this process.
    """

    folder: Path
    memo: Path | None = None
    cores: int = 1
    threads: int = 1
    device: str = "cpu"
    processes: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    tell: Callable[..., None] = _silent
    stopping: Callable[[], bool] = _never
    share: Callable[[bool], None] = _unshared

    def go_on(self, **said: Any) -> None:
        """Tell what is `said` of the progress. Raises Interrupted where the task is to stop."""
        if self.stopping():
            raise Interrupted
        if said:
            self.tell(**said)
