"""A worker on Slurm: a job that takes what is ready from the shared store, as a local run would, until none is left."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transferscope.engine.executors._slurm_run import Run
from transferscope.engine.executors.local import Local
from transferscope.engine.machine import this_machine
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.engine.worker_kinds import Bench, differences
from transferscope.engine.worker_slots import dealt
from transferscope.errors import UserError

TELLS = 0.25  # seconds between two looks at, and words for, the other side


@dataclass
class Worker:
    """What a job runs. Steps that another worker is at are passed over; a job that is preempted is queued again."""

    run: str
    place: str
    options: Mapping[str, Any]
    sharing: Callable[[], int] | None = None

    def checkpoint(self) -> Any:
        """Asked for by submitit when the job is preempted or its time is over: the same again. What is under way saves
        itself when this process ends, and its lock goes with it."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def __call__(self) -> None:
        """Work until nothing is left. Raises UserError where this machine does not fit the plan."""
        from submitit import JobEnvironment

        run, asked = Run(Path(self.run)), self.options
        teller = Teller(run, JobEnvironment().job_id)
        machine, steps = this_machine(), run.steps()
        how = {name: asked[name] for name in ("table", "compile", "patience") if name in asked}
        try:
            count, threads, device = (asked.get(name, "auto") for name in ("slots", "threads", "device"))
            slots = dealt(machine, count, threads, device, self.sharing, asked.get("processes", 1))
            teller.said = differences([Bench(machine, slots.devices[0])], steps, bool(asked.get("natural")))
        except UserError as error:
            run.at(teller.name, {"refused": str(error)})
            raise
        local = Local(slots, how, run.failed)
        teller.tell(at_once=True)
        threading.Thread(target=_heed, args=(run, local), daemon=True).start()
        try:
            local.run(steps, Store.at(self.place), teller)
        finally:
            run.at(teller.name, None)


def _heed(run: Run, local: Local) -> None:
    while not run.stopping:
        time.sleep(TELLS)
    local.stop()


@dataclass
class Teller:
    """Hears the events of a worker and tells the driver."""

    run: Run
    name: str
    said: list[str] = field(default_factory=list)
    _at: dict[str, dict[str, Any]] = field(default_factory=dict)
    _elsewhere: dict[str, Any] | None = None
    _told: float = 0.0

    def __call__(self, event: str, what: Mapping[str, Any]) -> None:
        if event in ("started", "progress"):
            self._at[what["key"]], self._elsewhere = dict(what), None
        elif event == "elsewhere":
            self._elsewhere = dict(what)
            self._at.pop(what["key"], None)
        elif event == "ended":
            self._at.pop(what["key"], None)
            self.run.note(Outcome(what["key"], what["status"], what["seconds"], what["error"]))
        self.tell(at_once=event in ("started", "ended"))

    def tell(self, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self._told >= TELLS:
            self._told = time.monotonic()
            told = {"at": list(self._at.values()), "elsewhere": self._elsewhere, "said": self.said}
            self.run.at(self.name, told)
