"""What a person sees while a study runs: live bars on a terminal, one plain line a minute elsewhere."""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from transferscope import battery
from transferscope.console.early_page import EarlyPage
from transferscope.console.lines import err, noted, precision
from transferscope.console.time_left import TimeLeft
from transferscope.console.words import duration
from transferscope.engine.plan import Plan
from transferscope.engine.step import Step
from transferscope.engine.worker import Outcome
from transferscope.errors import worded
from transferscope.forecast import Forecast
from transferscope.rounds import Round
from transferscope.run_status import Live, share


@dataclass
class Watcher:
    """Hears the executor's events and shows them; use as a context manager and pass it as `watch`."""

    console: Console
    plan: Plan
    todo: list[Step]
    forecast: Forecast
    slots: int
    live: bool = False
    failures: Path | None = None  # the folder where workers leave what is known of a failure
    _names: dict[str, str] = field(default_factory=dict, init=False)
    _shares: dict[str, float] = field(default_factory=dict, init=False)  # done share of every running step
    _rows: dict[str, TaskID] = field(default_factory=dict, init=False)
    _done: int = field(default=0, init=False)
    _time: TimeLeft = field(init=False)
    _began: float = field(default_factory=time.monotonic, init=False)
    _wall: float = field(default_factory=time.time, init=False)
    _said: float = field(default_factory=time.monotonic, init=False)
    _bars: Progress | None = field(default=None, init=False)
    _announced: bool = field(default=False, init=False)  # that another process is at work on the store

    def __post_init__(self) -> None:
        labels = self.plan.labels()
        for step in self.plan.steps:
            words = worded(labels[step.key])
            self._names[step.key] = f"{step.task} {words}".strip()
        self._time = TimeLeft(self.todo, self.forecast, self.slots)

    def __enter__(self) -> Self:
        if self.live:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[said]}"),
                TimeElapsedColumn(),
            )
            self._bars = Progress(*columns, console=self.console)
            self._rows["all"] = self._bars.add_task("all steps", total=len(self.todo), said="")
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, event: str, what: Mapping[str, Any]) -> None:
        key = what["key"]
        if event == "started":
            noted(logging.INFO, f"started {self._names[key]}")
            self._shares[key] = 0.0
            self._time.started(key)
            if self._bars is not None and key not in self._rows:
                self._rows[key] = self._bars.add_task(escape(self._names[key]), total=1.0, said="")
        elif event == "progress":
            self._progress(key, what)
        elif event == "ended":
            self._ended(key, what)
        elif event == "elsewhere" and not self._announced:
            self._announced = True
            self.console.print(
                f"Another process is at work on this store, now on {self._names[key]}: its steps are left to it.",
                markup=False,
                highlight=False,
            )
        if time.monotonic() - self._said > 60:
            self._said = time.monotonic()
            running = ", ".join(f"{self._names[k]} {share:.0%}" for k, share in self._shares.items())
            self._plain(f"{self._clock()} {self._done}/{len(self.todo)} steps done; {running}; {self._left()}")

    def _progress(self, key: str, what: Mapping[str, Any]) -> None:
        said = ""
        if (done := share(what)) is not None:
            self._shares[key] = done
            said = f"epoch {what['epoch']}/{what['epochs']}" if "epochs" in what else f"{what['done']}/{what['total']}"
        if what.get("metric") is not None:
            said += f"  val {what['metric']:.3f}"
        self._time.progress(key, self._shares[key])
        if self._bars is not None:
            self._bars.update(self._rows[key], completed=self._shares[key], said=said)
            self._bars.update(self._rows["all"], said=self._left())

    def _ended(self, key: str, what: Mapping[str, Any]) -> None:
        self._shares.pop(key, None)
        self._time.ended(key, what["seconds"] if what["status"] == "done" else None)
        self._done += what["status"] in ("done", "cached")
        if self._bars is not None:
            if key in self._rows:
                self._bars.remove_task(self._rows.pop(key))
            self._bars.update(self._rows["all"], completed=self._done, said=self._left())
        if what["status"] == "failed":
            console = err if self._bars is None else self.console  # a live display and its lines go together
            console.print(f"[red]failed[/red] {escape(self._names[key])}: {escape(what['error'])}", highlight=False)
            self._where_it_failed(key)
        elif what["status"] == "done":
            self._plain(f"{self._clock()} done {self._names[key]} ({what['seconds']:.1f} s)")
        else:
            why = f": {what['error']}" if what["error"] else ""
            noted(logging.INFO, f"{what['status']} {self._names[key]}{why}")

    def _plain(self, line: str) -> None:
        """A line where no bars tell the same."""
        if self._bars is None:
            self.console.print(line, markup=False, highlight=False)
        else:
            noted(logging.INFO, line)

    def _where_it_failed(self, key: str) -> None:
        """What the worker left of a failure, for the log file."""
        step = next((step for step in self.todo if step.key == key), None)
        file = self.failures / f"{step.task}-{key}.txt" if step and self.failures else None
        with suppress(OSError):  # most failures are a sentence and leave nothing
            if file is not None and file.stat().st_mtime >= self._wall:
                noted(logging.ERROR, file.read_text(encoding="utf-8", errors="replace"))

    def seconds(self) -> float | None:
        """Seconds until all is done; None while they are not known."""
        return self._time.seconds()

    def _left(self) -> str:
        seconds = self.seconds()
        return "time left not known yet" if seconds is None else f"about {duration(seconds)} left"

    def _clock(self) -> str:
        return f"[{duration(time.monotonic() - self._began)}]"


def watched(now: Round, to: Console, *, live: bool = False) -> dict[str, Outcome]:
    """Do a round of a study and tell of it: who does it, how far it is, and how every step ended; its page is written
    anew as analyses finish."""
    workers = len(now.executor.slots.devices)
    each = f"{workers} worker(s) with {now.executor.slots.threads} thread(s) each"
    if now.executor.slots.processes > 1:
        each += f", a training on {now.executor.slots.processes} processes"
    to.print(f"{len(now.steps.steps)} steps, {len(now.todo)} to do on {each}.")
    precision(now.study, now.steps, to)
    forecast = battery.foresight(now.study, now.store, now.todo)
    with (
        Watcher(
            to, now.steps, list(now.todo), forecast, workers, live=live, failures=now.store.root / "failures"
        ) as watch,
        Live(now.store, now.study.name, len(now.todo), workers, watch, watch.seconds) as told,
    ):
        to.print(f"Page: {now.study.folder / 'report.html'}, written anew as analyses finish.", markup=False)
        page = partial(battery.results, now.study, running=True)
        return now.executor.run(now.todo, now.store, EarlyPage(now.steps, now.todo, told, page))
