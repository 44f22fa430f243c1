"""The tables that verbs print: the steps of a plan, what each analysis has, and the step times of a network."""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Column, Table

from transferscope.console.words import duration, size
from transferscope.errors import worded

if TYPE_CHECKING:
    from transferscope.engine.plan import Plan
    from transferscope.engine.simulate import Schedule
    from transferscope.engine.step import Step
    from transferscope.engine.store import Held
    from transferscope.engine.table import Tally
    from transferscope.forecast import Forecast


def steps(plan: "Plan", todo: Collection[str], forecast: "Forecast") -> Table:
    """Every step with what it is for, whether it is done, and how long it takes by the `forecast`."""
    table = Table("step", "for", "state", "about", box=None)
    labels = plan.labels()
    for step in plan.steps:
        seconds = forecast.of(step).seconds
        state = "to do" if step.key in todo else "[green]cached[/green]"
        about = duration(seconds) if seconds is not None and step.key in todo else ""
        table.add_row(step.task, escape(worded(labels[step.key])), state, about)
    return table


def tasks(plan: "Plan", todo: Collection[str], forecast: "Forecast") -> Table:
    """How many steps of every task a plan has, how many are done and to do, and how long one worker is at these."""
    right = [Column(name, justify="right") for name in ("steps", "cached", "to do")]
    table = Table("step", *right, "about", box=None)
    found: dict[str, list[Step]] = {}
    for step in plan.steps:
        found.setdefault(step.task, []).append(step)
    for task, own in found.items():
        left = [step for step in own if step.key in todo]
        seconds = forecast.total(left, 1).seconds
        about = duration(seconds) if left and seconds is not None else ""
        table.add_row(task, f"{len(own):,}", f"{len(own) - len(left):,}", f"{len(left):,}", about)
    return table


def cells(of: "Mapping[str, Tally]") -> Table:
    """How many cells each analysis has, and how many of them are done and missing."""
    table = Table("analysis", "cells", "done", "missing", box=None)
    for name, found in of.items():
        missing = len(found.missing)
        table.add_row(escape(name), str(found.done + missing), str(found.done), str(missing))
    return table


def schedules(found: "Iterable[Schedule]", hours: Mapping[int, float]) -> Table:
    """Simulated schedules by their workers; `hours` of GPUs that are held, where any are."""
    columns = [
        Column(name, justify="right") for name in ("workers", "done in", "busy", *(["GPU hours"] if hours else []))
    ]
    table = Table(*columns, box=None)
    for one in found:
        held = [f"{hours[one.workers]:.1f}"] if hours else []
        table.add_row(str(one.workers), duration(one.makespan), f"{one.utilisation:.0%}", *held)
    return table


def results(held: "Mapping[str, Held]") -> Table:
    """How many results of every task there are, files of how many were let go, their bytes, when they were finished
    and by whom, by the names "task-key"."""
    table = Table(
        "task",
        Column("results", justify="right"),
        Column("let go", justify="right"),
        Column("size", justify="right"),
        "finished",
        "by",
        box=None,
    )
    tasks: dict[str, list[Held]] = {}
    for name, one in held.items():
        tasks.setdefault(name.rpartition("-")[0], []).append(one)
    for task, own in sorted(tasks.items()):
        days = sorted({date.fromtimestamp(one.finished).isoformat() for one in own})
        when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        by = ", ".join(sorted({one.by for one in own}))
        gone, total = sum(one.kept != "all" for one in own), size(sum(one.size for one in own))
        table.add_row(escape(task), str(len(own)), str(gone or ""), total, when, escape(by))
    return table


def step_times(rows: Iterable[Mapping[str, Any]]) -> Table:
    """The ways of computing a network, from the rows of `timing.calibrate`."""
    table = Table(
        Column("way", no_wrap=True),
        "step",
        "train",
        "eval",
        "train vs plain",
        "eval vs plain",
        "of the floor",
        "first",
        box=None,
    )
    for row in rows:
        table.add_row(
            row["way"],
            f"{1e3 * row['step_seconds']:.1f} ms",
            f"{row['train_images_per_second']:.0f}/s",
            f"{row['eval_images_per_second']:.0f}/s",
            f"{row['train_ratio']:.2f}x",
            f"{row['eval_ratio']:.2f}x",
            f"{row['step_seconds'] / row['floor_seconds']:.1f}x",
            f"{row['start_seconds']:.1f} s",
        )
    return table
