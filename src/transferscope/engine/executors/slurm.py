"""slurm: an array of jobs that take what is ready from the shared store, queued again where they are preempted.

`resources.slurm` says what sbatch is asked for, and how many `workers`. Each is a job that deals its own cores and GPUs
as the local executor does. They need nobody: a driver that is lost takes nothing with it.
"""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from transferscope import extras
from transferscope.engine.environment import import_paths, set_to
from transferscope.engine.executors import Slots
from transferscope.engine.executors._slurm_run import Run
from transferscope.engine.executors._slurm_worker import Worker
from transferscope.engine.queue import Course, Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError

log = logging.getLogger(__name__)
ELSEWHERE = True
OURS = ("workers", "cluster")  # keys of `resources.slurm` that are no setting of sbatch
ALIKE = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node", "stderr_to_stdout")  # anywhere
LEAVE = 10.0  # seconds in which jobs end by themselves when nothing is left to do
LOOKS = 0.2  # seconds between two looks at what workers tell
TRIES = 3  # of a step whose worker is lost, and of workers that end before they did anything
BLAMELESS = ("PREEMPTED", "TIMEOUT", "NODE_FAIL", "REQUEUED", "CANCELLED")  # ends of which no step is the cause


@dataclass
class Slurm:
    """`slots` are the jobs; what each has of cores and GPUs is known when it starts."""

    slots: Slots
    options: Mapping[str, Any] = field(default_factory=dict)
    _stopped: bool = field(default=False, init=False)
    _killed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._asked = dict(self.options.get("slurm") or {})
        workers, threads = self._asked.get("workers", 1), self._asked.get("cpus_per_task", 1)
        for name, value in (("workers", workers), ("cpus_per_task", threads)):
            if type(value) is not int or value < 1:
                raise UserError(f"resources.slurm.{name}: {value!r} must be a whole number from 1 on.")
        self.slots = Slots(("cpu",) * workers, threads, workers * threads)

    def stop(self) -> None:
        """Safe in a signal handler: the loop passes the word on."""
        self._stopped = True

    def kill(self) -> None:
        """Likewise."""
        self._stopped = self._killed = True

    def run(self, steps: Iterable[Step], store: Store, watch: Watch = lambda *_: None) -> dict[str, Outcome]:
        """Do `steps` (inputs among them or already in `store`). UserError where no job can be submitted, or none does
        anything."""
        todo = list(steps)
        store.prepare()
        root = store.root.absolute()
        run = Run(root / ".runs" / uuid4().hex)
        place = Path(self.options.get("folder") or root.parent) / ".slurm" / run.folder.name
        place.mkdir(parents=True, mode=0o700)  # what lies in it is executed
        executor = self._executor(place)
        run.begin(todo)
        driver = _Driver(run, Course(todo, store, watch), watch, {step.key: place for place, step in enumerate(todo)})
        how = {name: value for name, value in self.options.items() if name not in ("slurm", "sharing", "folder")}
        worker = Worker(str(run.folder), store.place, how, self.options.get("sharing"))
        jobs: list[Any] = []
        vain = 0
        try:
            jobs += _submitted(executor, worker, min(len(self.slots.devices), len(todo)))
            while driver.left and not self._killed:
                over = [job for job in jobs if job.done()]  # before the last words are heard
                vain = 0 if driver.hear() else vain
                if self._stopped:
                    run.stop()
                    if not run.workers():
                        break
                for job in over if driver.left and not self._stopped else ():
                    jobs.remove(job)
                    driver.lost(job)
                    vain += 1  # jobs since a step last ended
                    if vain > TRIES * len(self.slots.devices):
                        raise UserError(f"resources.slurm: jobs end before they have done anything: see {place}.")
                    jobs += _submitted(executor, worker, 1)
                time.sleep(LOOKS)
            driver.hear()
        finally:
            run.stop()
            _end(jobs, 0.0 if driver.left else LEAVE)
            shutil.rmtree(run.folder, ignore_errors=True)
        return driver.course.outcomes()

    def _executor(self, place: Path) -> Any:
        """What submits jobs. UserError for settings that are none."""
        submitit = extras.load("submitit", "slurm", "resources.executor: 'slurm'")
        settings = {name: value for name, value in self._asked.items() if name not in OURS}
        try:
            made = submitit.AutoExecutor(place, cluster=self._asked.get("cluster", "slurm"))
            made.update_parameters(**{n if n in ALIKE else f"slurm_{n}": value for n, value in settings.items()})
        except (NameError, AssertionError, ValueError, RuntimeError) as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise UserError(f"resources.slurm: {why}.") from None
        return made


@dataclass
class _Driver:
    """What is known of a run, and whom it is told to."""

    run: Run
    course: Course
    watch: Watch
    place: Mapping[str, int]  # of every step in the plan, inputs first
    _begun: set[str] = field(default_factory=set)
    _said: dict[str, Any] = field(default_factory=dict)
    _lost: Counter[str] = field(default_factory=Counter)

    def hear(self) -> bool:
        """Pass on what workers tell: true where a step ended. UserError for what one of them refuses.

        What ended goes first: a worker tells it before it tells what it is at next.
        """
        heard = False
        workers = self.run.workers().values()
        every = (one for said in workers for one in said.get("at", ()))
        at = {one["key"]: one for one in sorted(every, key=len)}  # who does it tells more than who found it taken
        for said in workers:
            if "refused" in said:
                raise UserError(said["refused"])
            for line in said.get("said", ()):
                if line not in self._said:
                    self._said[line] = line
                    log.info(line)
        for outcome in sorted(self.run.ended(self.course.ended), key=lambda one: self.place[one.key]):
            if outcome.key not in self.course.ended:  # by the failure of another
                heard = True
                self._begin(outcome.key)
                self.course.end(outcome)
        for key, what in at.items():
            if key in self.course.ended:
                continue
            self._begin(key)
            if len(what) > 1 and self._said.get(key) != what:
                self._said[key] = what
                self.watch("progress", what)
        for other in [said["elsewhere"] for said in workers if said.get("elsewhere")]:
            if other["key"] not in {*at, *self.course.ended}:  # of no worker of this run
                self.watch("elsewhere", other)
        return heard

    @property
    def left(self) -> bool:
        return len(self.course.ended) < len(self.place)

    def _begin(self, key: str) -> None:
        if key not in self._begun:
            self._begun.add(key)
            self.watch("started", {"key": key})

    def lost(self, job: Any) -> None:
        """A job that is over before the run is: what it was at is begun again, unless it was its end too often."""
        name, blameless = str(job.job_id), str(job.state).split(" ")[0] in BLAMELESS
        for one in self.run.workers().get(name, {}).get("at", ()):
            self._lost[one["key"]] += not blameless
            if self._lost[one["key"]] >= TRIES:
                why = f"Its worker was lost {TRIES} times, perhaps because memory ran out; ask for more of it."
                self.run.note(Outcome(one["key"], "failed", error=why))
        self.run.at(name, None)


def _submitted(executor: Any, worker: Worker, count: int) -> list[Any]:
    """So many jobs of one array, which find modules as this process does. UserError where they cannot be submitted."""
    try:
        with set_to({"PYTHONPATH": import_paths()}), executor.batch():
            return [executor.submit(worker) for _ in range(count)]
    except Exception as error:  # sbatch that is not there, or refuses
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1].rstrip(".")
        raise UserError(f"resources.slurm: the jobs cannot be submitted ({why}).") from None


def _end(jobs: list[Any], seconds: float) -> None:
    """Cancel what is not over, and what has not begun, after so many seconds."""
    limit = time.monotonic() + seconds
    while (left := [job for job in jobs if not job.done()]) and time.monotonic() < limit:
        time.sleep(LOOKS)
    for job in left:
        with suppress(Exception):
            job.cancel(check=False)


executor = Slurm
