"""inline: every step in this process, one after the other, for a debugger, for notebooks and for tests."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from transferscope.engine.executors import Slots
from transferscope.engine.queue import Course, Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import Outcome, execute


@dataclass
class Inline:
    """The first of `slots.devices`, and as many threads as one worker there would have: the same bytes."""

    slots: Slots
    options: Mapping[str, Any] = field(default_factory=dict)
    _stopped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.slots = replace(self.slots, devices=self.slots.devices[:1])

    def stop(self) -> None:
        self._stopped = True

    def kill(self) -> None:
        """Raises KeyboardInterrupt: the step is this process itself. What it saved on the way is kept."""
        self._stopped = True
        raise KeyboardInterrupt

    def run(self, steps: Iterable[Step], store: Store, watch: Watch = lambda *_: None) -> dict[str, Outcome]:
        """Do `steps` (inputs among them or already in `store`)."""
        course = Course(steps, store, watch)
        while not self._stopped:
            if step := course.next():
                course.end(execute(step.job, store, self._work(step, store, watch)))
            elif course.waits:
                time.sleep(0.2)
            else:
                break
        return course.outcomes()

    def _work(self, step: Step, store: Store, watch: Watch) -> Work:
        return Work(
            folder=store.root,
            cores=self.slots.cores,
            threads=self.slots.threads,
            device=self.slots.devices[0],
            processes=self.slots.processes,
            options=dict(self.options),
            stopping=lambda: self._stopped,
            tell=lambda **said: watch("progress", {"key": step.key, **said}),
        )


executor = Inline
