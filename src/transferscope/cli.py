"""The command line: one verb a function; heavy libraries load inside the verbs that need them."""

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from transferscope import __version__
from transferscope.errors import UserError, worded

if TYPE_CHECKING:
    from transferscope.engine.plan import Plan
    from transferscope.engine.store import Store
    from transferscope.study import Study

DONE, FAILED, USAGE, REFUSED, INCOMPLETE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="What did pretraining give this network on these images, and where in the network does it sit?",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

StudyFile = Annotated[Path, typer.Argument(help="The study file.", show_default=True)]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. --set recipe.epochs=3.")
]
DEFAULT = Path("study.yaml")


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except OSError as error:  # a full or read-only disk, a file where a folder should be
        from transferscope.engine.store import reason

        err.print(
            f"[red]error:[/red] Could not read or write {escape(str(error.filename or 'a file'))}: {reason(error)}."
        )
        sys.exit(USAGE)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"transferscope {__version__}")
        raise typer.Exit


@app.callback()
def _callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def quickstart(
    folder: Annotated[Path, typer.Argument(help="Where to put the study.")] = Path("transferscope-quickstart"),
    set_: Set = None,
) -> None:
    """Real ImageNet weights on real images, from nothing to a report, in minutes.

    Example: [bold]transferscope quickstart[/bold]
    """
    from importlib.resources import files

    file = folder / "study.yaml"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text((files("transferscope") / "quickstart.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        out.print(f"Wrote {file}: edit it to make it yours.", markup=False)
    run(file, set_)


@app.command()
def init(
    images: Annotated[
        Path, typer.Argument(help="A folder of images: one subfolder per class (or train/, test/ first).")
    ],
    file: Annotated[Path, typer.Option("--out", help="The study file to write.")] = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """Look at a folder of images (or a .csv) and write a commented study for it.

    Example: [bold]transferscope init ~/lesions && transferscope run[/bold]
    """
    from transferscope.propose import propose

    if file.exists() and not force:
        raise UserError(f"{file} is already there; choose another with --out, or overwrite it with --force.")
    text, said = propose(images, file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    out.print(said, markup=False)
    out.print(f"Wrote {file}. Next: transferscope check {file}, then transferscope run {file}", markup=False)


@app.command()
def check(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """Preflight: read the data and weights, build every arm, take one step. Trains nothing.

    Example: [bold]transferscope check study.yaml[/bold]
    """
    from transferscope import preflight

    study, plan, store = _planned(file, set_)
    how = study.preprocessing()
    out.print(f"Images are normalised with mean {how['mean']}, std {how['std']}, resized {how['interpolation']} "
              f"({how['source']}).", markup=False)  # fmt: skip
    checks = list(preflight.quick(study, plan, store))
    if all(c.ok for c in checks):
        checks += preflight.deep(study)
    _show(checks)
    if not all(c.ok for c in checks):
        raise typer.Exit(REFUSED)
    out.print(f"Ready: {len(plan.steps)} steps, {len(plan.todo(store))} to do.")


@app.command()
def plan(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    calibrate: Annotated[
        bool, typer.Option(help="Time the network briefly when no past run tells how fast it is.")
    ] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show the steps, which are cached, and what the rest will cost. Runs nothing but a short calibration.

    Example: [bold]transferscope plan study.yaml --set seeds=6[/bold]
    """
    import json

    from transferscope import battery
    from transferscope.console import duration, size
    from transferscope.engine.estimate import Past

    study, steps, store = _planned(file, set_)
    todo = {step.key for step in steps.todo(store)}
    past: Any = Past(store)
    slots = len(battery.slots(study.resources).devices)
    if calibrate and any(past.of(s).seconds is None for s in steps.steps if s.key in todo and s.task == "train"):
        err.print("No past run of this kind: timing the network for a few seconds (--no-calibrate to skip).")
        past = battery.calibrated(study, past)
    total = past.total((s for s in steps.steps if s.key in todo), slots)
    labels = steps.labels()
    if json_:
        rows = [
            {"task": s.task, "key": s.key, "labels": dict(labels[s.key]), "cached": s.key not in todo,
             "seconds": past.of(s).seconds} for s in steps.steps
        ]  # fmt: skip
        print(json.dumps({"steps": rows, "seconds": total.seconds, "bytes": total.bytes}, indent=1))
        return
    table = RichTable("step", "for", "state", "about", box=None)
    for step in steps.steps:
        words = worded(labels[step.key])
        seconds = past.of(step).seconds
        state = "to do" if step.key in todo else "[green]cached[/green]"
        table.add_row(
            step.task, escape(words), state, duration(seconds) if seconds is not None and step.key in todo else ""
        )
    out.print(table)
    out.print(
        f"{len(steps.steps)} steps, {len(steps.steps) - len(todo)} cached, {len(todo)} to do on {slots} worker(s)."
    )
    if todo and total.seconds is not None:
        disk = f" and {size(total.bytes)} of disk" if total.bytes else ""
        out.print(f"About {duration(total.seconds)}{disk}.")


@app.command()
def run(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """Do what is missing, then write the report. Stop it anywhere; run it again to go on.

    Example: [bold]transferscope run study.yaml --set recipe.epochs=3[/bold]

    Exit codes: 0 done, 1 some steps failed, 2 wrong usage or study, 3 preflight refused, 4 incomplete,
    130 stopped by Ctrl-C, 143 stopped by SIGTERM.
    """
    from transferscope import battery, preflight
    from transferscope.console import Watcher
    from transferscope.engine.estimate import Past

    study, steps, store = _planned(file, set_)
    todo = steps.todo(store)
    outcomes: Mapping[str, Any] = {}
    caught: list[int] = []
    if todo:
        checks = list(preflight.quick(study, steps, store))
        if not all(c.ok for c in checks):
            _show(checks)
            raise typer.Exit(REFUSED)
        executor = battery.executor(study)
        workers = len(executor.slots.devices)
        each = f"{workers} worker(s) with {executor.slots.threads} thread(s) each"
        out.print(f"{len(steps.steps)} steps, {len(todo)} to do on {each}.")
        resume = f"transferscope run {shlex.quote(str(file))}" + "".join(f" --set {shlex.quote(s)}" for s in set_ or [])

        def on_signal(number: int, _: object) -> None:
            caught.append(number)
            if len(caught) == 1:
                err.print(
                    f"Stopping after this batch and saving (again to stop at once). To go on: {resume}", markup=False
                )
                executor.stop()
            else:
                executor.kill()

        before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            with Watcher(out, steps, todo, Past(store), workers, live=out.is_terminal) as watch:
                outcomes = executor.run(todo, store, watch)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        battery.remember(store, outcomes)
    if caught:
        err.print(f"Stopped. To go on: {resume}", markup=False)
        raise typer.Exit(INTERRUPTED if caught[0] == signal.SIGINT else TERMINATED)
    found = battery.results(study, outcomes)
    _findings(found)
    failed = [o for o in outcomes.values() if o.status == "failed"]
    if not todo:
        out.print("Nothing to do: every step was in the store.")
    if failed:
        names = steps.labels()
        for outcome in failed:
            words = worded(names[outcome.key])
            err.print(f"[red]failed[/red] {escape(words)}: {escape(outcome.error)}")
        lost = sum(o.status == "skipped" for o in outcomes.values())
        err.print(f"{len(failed)} step(s) failed, {lost} not run because of them; the rest is in the report.")
        raise typer.Exit(FAILED)
    if steps.todo(store):
        raise typer.Exit(INCOMPLETE)


@app.command()
def status(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """What is done, what is missing and why. Computes nothing; exit code 4 when something is missing.

    Example: [bold]transferscope status study.yaml[/bold]
    """
    from transferscope import battery
    from transferscope.analyses import chosen
    from transferscope.engine.table import gather

    study, steps, store = _planned(file, set_)
    reasons = battery.failures(store)
    table = RichTable("analysis", "cells", "done", "missing", box=None)
    missing: list[Any] = []
    for name in chosen(study):
        cells = [c for c in steps.cells if c.analysis == name]
        lost = gather(cells, store, reasons).missing
        missing += lost
        table.add_row(escape(name), str(len(cells)), str(len(cells) - len(lost)), str(len(lost)))
    out.print(table)
    for cell in missing:
        out.print(f"missing {worded(cell.labels)}: {cell.reason}", markup=False)
    todo = steps.todo(store)
    out.print(f"{len(steps.steps) - len(todo)} of {len(steps.steps)} steps done.")
    if todo:
        raise typer.Exit(INCOMPLETE)


@app.command()
def report(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """Write the page, figures and tables again from what the store holds. Computes nothing.

    Example: [bold]transferscope report study.yaml[/bold]
    """
    from transferscope import battery

    study, steps, store = _planned(file, set_)
    _findings(battery.results(study))
    if todo := steps.todo(store):
        err.print(f"{len(todo)} of {len(steps.steps)} steps are missing; 'transferscope status {file}' names them.")
        raise typer.Exit(INCOMPLETE)


@app.command()
def results(
    file: StudyFile = DEFAULT,
    analysis: Annotated[str | None, typer.Option(help="One analysis; all when left out.")] = None,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    set_: Set = None,
) -> None:
    """Print the tidy tables of the analyses, for a spreadsheet or a script.

    Example: [bold]transferscope results study.yaml --analysis transfer --format csv > transfer.csv[/bold]
    """
    from transferscope.analyses import chosen
    from transferscope.engine.table import gather
    from transferscope.errors import did_you_mean

    study, steps, store = _planned(file, set_)
    if form not in ("csv", "json"):
        raise UserError(f"--format: '{form}' is not a format; {did_you_mean(form, ['csv', 'json'])}")
    known = list(chosen(study))
    if analysis is not None and analysis not in known:
        raise UserError(f"--analysis: '{analysis}' is not in this study; {did_you_mean(analysis, known)}")
    names = [analysis] if analysis else known
    tables = {name: gather([c for c in steps.cells if c.analysis == name], store).rows for name in names}
    if form == "json":
        import json

        print(json.dumps({name: rows.to_dicts() for name, rows in tables.items()}, indent=1, allow_nan=False))
        return
    for name, rows in tables.items():
        if len(tables) > 1:
            print(f"# {name}")
        print(rows.write_csv(), end="")


@app.command()
def gc(
    files: Annotated[list[Path], typer.Argument(help="The studies whose results are kept; all share one store.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would go.")] = False,
) -> None:
    """Delete results that none of the given studies asks for, and leftovers of killed runs.

    Example: [bold]transferscope gc study.yaml other.yaml --yes[/bold]
    """
    from transferscope.console import size
    from transferscope.engine.store import folder_bytes

    planned = [_planned(file, None) for file in files]
    stores = {store.root.resolve() for _, _, store in planned}
    if len(stores) > 1:
        raise UserError(
            f"gc: the studies use different stores ({', '.join(map(str, stores))}); give those of one store."
        )
    store = planned[0][2]
    kept = {(step.task, step.key) for _, steps, _ in planned for step in steps.steps}
    total = 0
    for task, key in list(store.entries()):
        if (task, key) not in kept:
            freed = store.remove(task, key) if yes else folder_bytes(store.path(task, key))
            total += freed
            out.print(f"{'deleted' if yes else 'would delete'} {task} {key} ({size(freed)})", markup=False)
    wanted = {f"{task}-{key}" for task, key in kept}
    total += store.sweep(wanted, delete=yes)
    out.print(f"{size(total)} {'freed' if yes else 'could be freed; add --yes to do it'}.")


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="A network, e.g. timm:resnet18.", show_default=False)],
    image_size: Annotated[int, typer.Option(min=8, help="Side of the square images.")] = 64,
    batch: Annotated[int, typer.Option(min=2, help="Images of one training step.")] = 32,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the worker that is timed.")] = 1,
    compile_: Annotated[bool, typer.Option("--compile", help="Time torch.compile too: minutes.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Time one network in every way of computing: milliseconds a step, images a second, what the machine could do.

    Example: [bold]transferscope bench timm:tf_efficientnet_lite0 --image-size 64[/bold]
    """
    import tempfile

    from transferscope import models
    from transferscope.tasks import pace
    from transferscope.tasks.calibrate import calibrated

    models.check_network_ref(model)
    ways = (pace.PLAIN, *pace.WAYS, *((w + pace.COMPILED for w in pace.WAYS) if compile_ else ()))
    with tempfile.TemporaryDirectory() as memo:  # asked for by hand: timed afresh
        timed = calibrated(pace.Question(model, image_size, batch, device, threads, ways), Path(memo))
    rows = timed.table(batch, pace.PLAIN)
    if json_:
        import json

        print(json.dumps({"rows": rows, "matmul_flops": dict(timed.matmul), "image_flops": timed.flops}, indent=1))
        return
    table = RichTable("way", "step", "train", "eval", "train vs plain", "eval vs plain", "of the floor", box=None)
    for row in rows:
        table.add_row(
            row["way"],
            f"{1e3 * row['step_seconds']:.1f} ms",
            f"{row['train_images_per_second']:.0f}/s",
            f"{row['eval_images_per_second']:.0f}/s",
            f"{row['train_ratio']:.2f}x",
            f"{row['eval_ratio']:.2f}x",
            f"{row['step_seconds'] / row['floor_seconds']:.1f}x",
        )
    out.print(table)
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in timed.matmul.items())
    out.print(f"One image forward is {timed.flops / 1e6:.0f} MFLOP; a matrix product reaches {rates}.")
    out.print("The floor of a step is three forwards at that rate; plain is NCHW float32 as torch comes.")


@app.command()
def ls() -> None:
    """List the analyses, data sources, networks and weights this installation knows.

    Example: [bold]transferscope ls[/bold]
    """
    from transferscope import battery, data, models

    for title, found in (
        ("Analyses (analyses:)", battery.analysis_docs()),
        ("Data sources (targets:)", data.source_names()),
        ("Networks (network:)", models.network_names()),
        ("Weights (pretrained:)", models.weights_names()),
    ):
        out.print(f"\n[bold]{title}[/bold]")
        for name, line in found.items():
            out.print(f"  {name:<14} {line}", markup=False)
    out.print("\nA dotted name (my_lab.module) in any of these places is your own module.", markup=False)


def _planned(file: Path, changes: list[str] | None) -> "tuple[Study, Plan, Store]":
    """The study with its overrides, its plan, its store."""
    from transferscope import battery
    from transferscope.study import Study

    pairs: dict[str, str] = {}
    for change in changes or []:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise UserError(f"--set {change}: write KEY=VALUE, for example --set recipe.epochs=3.")
        pairs[key] = value
    study = Study.load(file, pairs)
    try:
        return study, *battery.plan(study)
    except UserError as error:  # what only planning sees, such as the options of an analysis
        raise error if str(file) in str(error) else UserError(f"{file}: {error}") from None


def _show(checks: list[Any]) -> None:
    for one in checks:
        mark = "[green]ok     [/green]" if one.ok else "[red]refused[/red]"
        out.print(f"{mark} {escape(one.name)}: {escape(one.said)}")


def _findings(found: Any) -> None:
    from transferscope.report.wording import sentence

    for section in found.sections.values():
        if section.findings:
            out.print(f"\n[bold]{escape(section.title)}[/bold]")
        for finding in section.findings:
            out.print(f"  - {escape(sentence(finding))}")
    for note in dict.fromkeys(note for section in found.sections.values() for note in section.notes):
        out.print(f"[yellow]note:[/yellow] {escape(note)}")
    out.print(f"\nReport: {found.report}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
