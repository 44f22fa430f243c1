"""The page while a study runs: written anew when an analysis has got its last step, now and then."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from transferscope.engine.plan import Plan
from transferscope.engine.step import Step

log = logging.getLogger(__name__)
EVERY = 20.0  # seconds between two pages, at least
SHARE = 20.0  # of the time that a page takes: so much passes before the next, which costs a run a twentieth at most


@dataclass
class EarlyPage:
    """Hears the executor's events, passes them on to `watch`, and calls `write` between them.

    What raises there costs that page only: the run goes on, and the page at its end tells what is wrong.
    """

    plan: Plan
    todo: Iterable[Step]
    watch: Callable[[str, Mapping[str, Any]], None]
    write: Callable[[], object]
    every: float = EVERY
    _left: dict[str, set[str]] = field(default_factory=dict, init=False)  # keys of steps still to do, by analysis
    _due: bool = field(default=False, init=False)
    _next: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        missing = {step.key for step in self.todo}
        for cell in self.plan.cells:
            if cell.step.key in missing:
                self._left.setdefault(cell.analysis, set()).add(cell.step.key)

    def __call__(self, event: str, what: Mapping[str, Any]) -> None:
        self.watch(event, what)
        if event != "ended":
            return
        for keys in self._left.values():
            if what["key"] in keys:
                keys.discard(what["key"])
                self._due |= not keys
        if self._due and any(self._left.values()) and time.monotonic() >= self._next:
            self._written()

    def _written(self) -> None:
        began = time.monotonic()
        try:
            self.write()
        except Exception:
            log.debug("The page could not be written while the study runs.", exc_info=True)
        self._due = False
        took = time.monotonic() - began
        self._next = time.monotonic() + max(self.every, SHARE * took)
