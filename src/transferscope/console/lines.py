"""The two streams a verb writes to, and the short lines that several verbs print there."""

import codecs
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.control import Control
from rich.markup import escape

from transferscope.console import tables
from transferscope.console.words import duration, size
from transferscope.errors import worded

if TYPE_CHECKING:
    from transferscope.engine.plan import Plan
    from transferscope.engine.simulate import Schedule
    from transferscope.engine.step import Keep
    from transferscope.engine.table import Tally
    from transferscope.engine.worker import Outcome
    from transferscope.forecast import Forecast
    from transferscope.preflight import Check
    from transferscope.report.results import Summary
    from transferscope.study import Study

LISTED = 200  # steps or cells that are printed one by one, at most
LIKE = str.maketrans({"−": "-", "–": "-", "—": "-", "·": "|", "×": "x", "’": "'", "“": '"', "”": '"', "…": "..."})


class _Stream(Console):
    """A console whose reader may go away (``run | head``): what else there is to say goes unsaid, the work goes on.

    What is printed is also noted where somebody hears it (`hear`), whether this console is quiet or not.
    """

    def print(self, *objects: Any, **how: Any) -> None:
        super().print(*objects, **how)
        if _hears and not all(isinstance(one, Control) for one in objects):  # of a live display that moves
            plain = Console(file=io.StringIO(), width=200, color_system=None, soft_wrap=True)
            plain.print(*objects, **how)
            text = cast(io.StringIO, plain.file).getvalue()
            noted(_level(text, self.stderr), text)

    def show(self, *objects: Any, **how: Any) -> None:
        """As `print`, for this console alone."""
        super().print(*objects, **how)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if self.stderr else sys.stdout).fileno())


_hears: list[Callable[[int, str], None]] = []


def hear(who: Callable[[int, str], None] | None) -> None:
    """Have `who` hear all that is noted, with its level as of `logging`; None: nobody hears it any more."""
    _hears[:] = [] if who is None else [who]


def noted(level: int, text: str) -> None:
    """Say something to who hears, and to no console."""
    for who in _hears:
        who(level, text)


def _level(text: str, is_err: bool) -> int:
    if text.startswith(("error:", "failed", "refused")):
        return logging.ERROR
    return logging.WARNING if is_err or text.startswith("note:") else logging.INFO


def as_json(said: Mapping[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(said, indent=1, allow_nan=False))


def data(content: bytes) -> None:
    """Bytes for another program on stdout, as they are whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def speakable() -> None:
    """Let both streams write what their encoding lacks, as on an ASCII terminal: a likeness (- for a minus sign), or
    else as Python writes it (\\xe9). Nothing changes where they write Unicode."""
    codecs.register_error("likeness", _likeness)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="likeness")


def _likeness(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(LIKE)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


out = _Stream(highlight=False, soft_wrap=True)
err = _Stream(stderr=True, highlight=False, soft_wrap=True)
silent = _Stream(quiet=True)  # what `--quiet` leaves unsaid


def wrong() -> Console:
    """Where it is said what is wrong: beside everything else, or on stderr where nothing else is said."""
    return err if out.quiet else out


def checks(of: "Iterable[Check]") -> None:
    """A line for every check of the preflight."""
    for one in of:
        to = out if one.ok else wrong()
        mark = "[green]ok     [/green]" if one.ok else "[red]refused[/red]"
        first, *notes = one.said.splitlines()
        to.print(f"{mark} {escape(one.name)}: {escape(first)}")
        for note in notes:
            to.print(f"        {escape(note)}")


def precision(study: "Study", steps: "Plan", to: Console = out) -> None:
    """What training computes in, and why, where the study trains at all."""
    if any(step.task == "train" for step in steps.steps):
        name, why = study.precision_and_reason()
        to.print(f"Networks are trained and scored in {name} ({why}).", markup=False)


def steps(plan: "Plan", todo: Collection[str], forecast: "Forecast") -> None:
    """The steps of a plan, of which those with the keys `todo` are to do: each, or where they are very many by task."""
    if len(plan.steps) <= LISTED:
        out.print(tables.steps(plan, todo, forecast))
        return
    out.print(tables.tasks(plan, todo, forecast))
    out.print("With --json every step is listed.")


def missing(found: "Mapping[str, Tally]") -> None:
    """A line for every cell without a result, and why; where they are very many one for all that lack it alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, of in found.items():
        for cell in of.missing:
            alike.setdefault((name, cell.reason), []).append(worded(cell.labels))
    if sum(map(len, alike.values())) <= LISTED:
        for (_, reason), cells in alike.items():
            for labels in cells:
                out.print(f"missing {labels}: {reason}", markup=False)
        return
    for (name, reason), cells in list(alike.items())[:LISTED]:
        ends = cells[0] if len(cells) == 1 else f"{len(cells):,} of {name}, {cells[0]} to {cells[-1]}"
        out.print(f"missing {ends}: {reason}", markup=False)
    if len(alike) > LISTED:
        out.print(f"... and others, for {len(alike) - LISTED:,} more reasons.")
    out.print("With --json every one is listed.")


def schedules(
    found: "list[Schedule]",
    gpus: int | None,
    steps: "Plan",
    disk: Mapping[str, int],
    stays: "Mapping[Keep, int]",
    json_: bool = False,
) -> None:
    """What simulated schedules come to, what holds up the last, the bytes that analyses leave and those that stay."""
    last, labels = found[-1], steps.labels()
    held = {one.workers: one.makespan / 3600 * min(gpus, one.workers) for one in found} if gpus else {}
    chain: list[dict[str, Any]] = [{"task": step.task, "labels": dict(labels[step.key])} for step in last.chain]
    if json_:
        rows = [
            {
                "workers": one.workers,
                "seconds": one.makespan,
                "utilisation": one.utilisation,
                "gpu_hours": held.get(one.workers),
            }
            for one in found
        ]
        said = {"work_seconds": last.work, "chain_seconds": last.critical, "chain": chain}
        as_json({"schedules": rows, **said, "bytes": dict(disk), "kept": dict(stays)})
        return
    out.print(tables.schedules(found, held))
    names = " > ".join(f"{one['task']} {worded(one['labels'])}".strip() for one in chain)
    out.print(
        f"One after the other: {duration(last.work)}. The longest chain, {duration(last.critical)}: {names}.",
        markup=False,
    )
    out.print(
        "More workers would hardly help: that chain holds it up."
        if last.is_bound_by_chain
        else f"The workers hold it up: they are busy {last.utilisation:.0%} of the time."
    )
    left = ", ".join(f"{name} {size(count)}" for name, count in disk.items() if count)
    if left:
        out.print(f"Disk: {size(sum(disk.values()))} ({left}).", markup=False)
    kept(stays)


def kept(stays: "Mapping[Keep, int]") -> None:
    """The bytes that stay of what is to do, by what `resources.keep` may say, where it makes a difference."""
    if len({*stays.values()}) > 1:
        said = ", ".join(f"{keep} {size(count)}" for keep, count in stays.items())
        out.print(f"When it is finished stays, by resources.keep: {said}.")


def findings(found: "Summary") -> None:
    """The gain, what to do, what is wrong with the data, how much more stands on the page, what of it could not be
    written, and where it is."""
    out.print()
    for line in found.answers:
        out.print(line, markup=False)
    for alarm in found.alarms:
        out.print(f"[yellow]note:[/yellow] {escape(alarm)}")
    count, notes = found.findings, found.notes
    out.print(f"The page has {count} finding{'s' if count != 1 else ''} and {notes} note{'s' if notes != 1 else ''}.")
    for problem in found.problems:
        wrong().print(f"[red]note:[/red] {escape(problem)}")
    if found.problems:
        out.print(f"      What happened stands in {found.log}, for whoever mends it.", markup=False)
    out.print(f"Report: {found.page}", markup=False, soft_wrap=True)


def summed_up(found: "Summary", outcomes: "Iterable[Outcome]" = ()) -> dict[str, Any]:
    """What `findings` and `failures` say, for a program; what was found in full is in `results`, a file."""
    return {
        "page": str(found.page),
        "results": str(found.page.with_name("results.json")),
        "answers": list(found.answers),
        "problems": list(found.problems),
        "incomplete": found.incomplete,
        "failed": [{"key": one.key, "reason": one.error} for one in outcomes if one.status in ("failed", "skipped")],
    }


def failures(outcomes: "Iterable[Outcome]") -> None:
    """How many steps failed, each of which was named when it did, and how many others they took with them."""
    ended = [o.status for o in outcomes]
    failed, lost = ended.count("failed"), ended.count("skipped")
    err.print(f"{failed} step(s) failed, {lost} not run because of them; the rest is in the report.")
