"""The two streams a verb writes to, and the short lines that several verbs print there."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from transferscope.battery import Results
    from transferscope.engine.plan import Plan
    from transferscope.engine.worker import Outcome
    from transferscope.preflight import Check
    from transferscope.study import Study

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def checks(of: "Iterable[Check]") -> None:
    """A line for every check of the preflight."""
    for one in of:
        mark = "[green]ok     [/green]" if one.ok else "[red]refused[/red]"
        first, *notes = one.said.splitlines()
        out.print(f"{mark} {escape(one.name)}: {escape(first)}")
        for note in notes:
            out.print(f"        {escape(note)}")


def precision(study: "Study", steps: "Plan") -> None:
    """What training computes in, and why, where the study trains at all."""
    if any(step.task == "train" for step in steps.steps):
        name, why = study.precision_and_reason()
        out.print(f"Networks are trained and scored in {name} ({why}).", markup=False)


def findings(found: "Results") -> None:
    """What every analysis found, each note once, what could not be written, and where the page is."""
    from transferscope.report.wording import sentence

    for section in found.sections.values():
        if section.findings:
            out.print(f"\n[bold]{escape(section.title)}[/bold]")
        for finding in section.findings:
            out.print(f"  - {escape(sentence(finding))}")
    for note in dict.fromkeys(note for section in found.sections.values() for note in section.notes):
        out.print(f"[yellow]note:[/yellow] {escape(note)}")
    for problem in found.problems:
        out.print(f"[red]note:[/red] {escape(problem)}")
    if found.problems:
        out.print(f"      What happened stands in {found.log}, for whoever mends it.", markup=False)
    out.print(f"\nReport: {found.report}", markup=False, soft_wrap=True)


def failures(outcomes: "Iterable[Outcome]") -> None:
    """How many steps failed, each of which was named when it did, and how many others they took with them."""
    ended = [o.status for o in outcomes]
    failed, lost = ended.count("failed"), ended.count("skipped")
    err.print(f"{failed} step(s) failed, {lost} not run because of them; the rest is in the report.")
