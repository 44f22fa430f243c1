"""A worker of a Ray cluster as its driver sees it: what it does, what it tells, when it stands still or is lost."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferscope.engine.executors import _ray_cluster
from transferscope.engine.executors._ray_cluster import Node
from transferscope.engine.queue import Watch
from transferscope.engine.stalled_workers import Moves
from transferscope.engine.step import Step
from transferscope.engine.store import Store

ASKS = 0.5  # seconds between two questions to a worker
SILENT = 30.0  # seconds in which a worker that computes answers what it has spent


@dataclass
class Slot:
    """An actor, and the step that it does."""

    node: Node
    actor: Any
    pending: Any  # the reference whose value is awaited: that it is ready, or how its step ended
    step: Step | None = None
    ready: bool = False
    moves: Moves = field(default_factory=Moves)
    asked: Any = None
    said: float = 0.0
    spent: float = 0.0  # processor seconds on its step by its last answer
    log: Path | None = None  # where it stood, once it was ended for that
    stood: float = 0.0  # seconds that it then had

    def ask(self, watch: Watch) -> None:
        """Hear what it answered of its progress, and ask again, which waits for nothing."""
        ray = _ray_cluster.ray()
        if self.asked is not None and ray.wait([self.asked], timeout=0)[0]:
            with suppress(ray.exceptions.RayError):
                said, self.spent = ray.get(self.asked)
                if said is not None and self.step is not None:
                    self.moves.heard()
                    watch("progress", {"key": self.step.key, **said})
            self.asked = None
        if self.asked is None and time.monotonic() - self.said >= ASKS:
            self.asked, self.said = self.actor.ask.remote(), time.monotonic()

    def give(self, step: Step) -> None:
        self.step, self.moves, self.spent, self.asked = step, Moves(), 0.0, None
        self.pending = self.actor.do.remote(step.job)

    def end_if_it_stands(self, patience: float | None, store: Store) -> None:
        """End it where it stands still, its stacks being kept among the failures of the store."""
        silent = self.asked is not None and time.monotonic() - self.said > SILENT
        if self.step is None or self.log or not self.moves.stopped(patience, lambda: None if silent else self.spent):
            return
        self.log, self.stood = store.root / "failures" / f"{self.step.task}-{self.step.key}.txt", float(patience or 0)
        self.end(str(self.log.absolute()))

    def end(self, log: str | None = None) -> None:
        """End its process, which does not hear of it where it is lost or hangs in the language itself."""
        ray = _ray_cluster.ray()
        with suppress(Exception):
            if self.step is not None:
                ray.wait([self.actor.leave.remote(log)], timeout=2)
            ray.kill(self.actor)

    def loss(self, error: Exception) -> str:
        """The sentence for a worker that was lost twice."""
        if self.log:
            return f"The step did not move for {self.stood:g} s, twice, and was ended: see {self.log}."
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        return (
            f"The worker was lost twice, perhaps because memory ran out ({why}); run again, perhaps with fewer slots."
        )
