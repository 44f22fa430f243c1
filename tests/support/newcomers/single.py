"""single: one step after the other in this process; what an executor of one's own begins from."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from transferscope.engine.executors import Slots
from transferscope.engine.queue import Course, Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import Outcome, execute


class Single:
    """A worker of its own; `options` are what the tasks are told of the machine (`table`, `compile`)."""

    def __init__(self, slots: Slots, options: Mapping[str, Any]) -> None:
        self.slots = replace(slots, devices=slots.devices[:1])
        self.options, self.stopped = dict(options), False

    def stop(self) -> None:
        """The step under way saves and ends; no other begins."""
        self.stopped = True

    def kill(self) -> None:
        """The step is this process."""
        raise KeyboardInterrupt

    def run(self, steps: Iterable[Step], store: Store, watch: Watch) -> dict[str, Outcome]:
        """`Course` knows what may start next; `execute` does it from its JSON recipe, here or on another machine."""
        course = Course(steps, store, watch)
        while not self.stopped:
            if step := course.next():
                course.end(execute(step.job, store, self._work(step, store, watch)))
            elif course.waits:
                time.sleep(0.1)  # another process of this store is at work on what is left
            else:
                break
        return course.outcomes()

    def _work(self, step: Step, store: Store, watch: Watch) -> Work:
        return Work(
            folder=store.root,
            cores=self.slots.cores,
            threads=self.slots.threads,
            device=self.slots.devices[0],
            options=self.options,
            stopping=lambda: self.stopped,
            tell=lambda **said: watch("progress", {"key": step.key, **said}),
        )


executor = Single
