"""What a person sees while a study runs: live bars on a terminal, one plain line a minute elsewhere."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from transferscope import battery
from transferscope.console.early import EarlyPage
from transferscope.console.lines import err, precision
from transferscope.console.time_left import TimeLeft
from transferscope.console.words import duration
from transferscope.engine.plan import Plan
from transferscope.engine.step import Step
from transferscope.engine.worker import Outcome
from transferscope.errors import worded
from transferscope.forecast import Forecast
from transferscope.rounds import Round


@dataclass
class Watcher:
    """Hears the executor's events and shows them; use as a context manager and pass it as `watch`."""

    console: Console
    plan: Plan
    todo: list[Step]
    forecast: Forecast
    slots: int
    live: bool = False
    _names: dict[str, str] = field(default_factory=dict, init=False)
    _shares: dict[str, float] = field(default_factory=dict, init=False)  # done share of every running step
    _rows: dict[str, TaskID] = field(default_factory=dict, init=False)
    _done: int = field(default=0, init=False)
    _time: TimeLeft = field(init=False)
    _began: float = field(default_factory=time.monotonic, init=False)
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
        if self._bars is None and time.monotonic() - self._said > 60:
            self._said = time.monotonic()
            running = ", ".join(f"{self._names[k]} {share:.0%}" for k, share in self._shares.items())
            self.console.print(
                f"{self._clock()} {self._done}/{len(self.todo)} steps done; {running}; {self._left()}",
                markup=False,
                highlight=False,
            )

    def _progress(self, key: str, what: Mapping[str, Any]) -> None:
        said = ""
        if "epochs" in what:
            batches = max(what.get("batches", 1), 1)
            self._shares[key] = min(
                1.0, (what["epoch"] - (what["batch"] > 0) + what["batch"] / batches) / what["epochs"]
            )
            said = f"epoch {what['epoch']}/{what['epochs']}"
            if what.get("metric") is not None:
                said += f"  val {what['metric']:.3f}"
        elif what.get("total"):
            self._shares[key] = what["done"] / what["total"]
            said = f"{what['done']}/{what['total']}"
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
        elif what["status"] == "done" and self._bars is None:
            self.console.print(
                f"{self._clock()} done {self._names[key]} ({what['seconds']:.1f} s)", markup=False, highlight=False
            )

    def _left(self) -> str:
        seconds = self._time.seconds()
        return "time left not known yet" if seconds is None else f"about {duration(seconds)} left"

    def _clock(self) -> str:
        return f"[{duration(time.monotonic() - self._began)}]"


def watched(now: Round, to: Console, *, live: bool = False) -> dict[str, Outcome]:
    """Do a round of a study and tell of it: who does it, how far it is, and how every step ended; its page is written
    anew as analyses finish."""
    workers = len(now.executor.slots.devices)
    each = f"{workers} worker(s) with {now.executor.slots.threads} thread(s) each"
    to.print(f"{len(now.steps.steps)} steps, {len(now.todo)} to do on {each}.")
    precision(now.study, now.steps, to)
    forecast = battery.foresight(now.study, now.store, now.todo)
    with Watcher(to, now.steps, list(now.todo), forecast, workers, live=live) as watch:
        to.print(f"Page: {now.study.folder / 'report.html'}, written anew as analyses finish.", markup=False)
        page = partial(battery.results, now.study, running=True)
        return now.executor.run(now.todo, now.store, EarlyPage(now.steps, now.todo, watch, page))
