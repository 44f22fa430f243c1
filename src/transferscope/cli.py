"""The command line: one verb a function; heavy libraries load inside the verbs that need them.

It is long because there is a verb for everything a person does; none of them is.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from transferscope import __version__
from transferscope.console import exits, lines, tables
from transferscope.console.asked import DEFAULT, Set, StudyFile, planned
from transferscope.console.exits import FAILED, INCOMPLETE, REFUSED
from transferscope.console.lines import err, out
from transferscope.errors import UserError, worded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="What did pretraining give this network on these images, and where in the network does it sit?",
)


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and exit code 2."""
    exits.ended(app)


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

    study, plan, store = planned(file, set_)
    how = study.preprocessing()
    out.print(
        f"Images are normalised with mean {how['mean']}, std {how['std']}, resized {how['interpolation']} "
        f"({how['source']}).",
        markup=False,
    )
    checks = list(preflight.quick(study, plan, store))
    if all(c.ok for c in checks):
        checks += preflight.deep(study, plan)
    lines.checks(checks)
    if not all(c.ok for c in checks):
        raise typer.Exit(REFUSED)
    lines.precision(study, plan)
    out.print(f"Ready: {len(plan.steps)} steps, {len(plan.todo(store))} to do.")


@app.command()
def plan(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    calibrate: Annotated[
        bool,
        typer.Option(help="Time the network for a moment when no past run tells how fast it is."),
    ] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show the steps, which are cached, and what the rest will cost. Runs nothing but a short calibration.

    Example: [bold]transferscope plan study.yaml --set seeds=6[/bold]
    """
    import json

    from transferscope import battery
    from transferscope.console.words import duration, size

    study, steps, store = planned(file, set_)
    missing = steps.todo(store)
    todo = {step.key for step in missing}
    slots = len(battery.known_slots(study).devices)
    forecast = battery.forecast(study, store, missing, ask=calibrate)
    total = forecast.total(missing, slots)
    if json_:
        labels = steps.labels()
        rows = [
            {
                "task": s.task,
                "key": s.key,
                "labels": dict(labels[s.key]),
                "cached": s.key not in todo,
                "seconds": forecast.of(s).seconds,
            }
            for s in steps.steps
        ]
        print(json.dumps({"steps": rows, "seconds": total.seconds, "bytes": total.bytes}, indent=1))
        return
    out.print(tables.steps(steps, todo, forecast))
    out.print(
        f"{len(steps.steps)} steps, {len(steps.steps) - len(todo)} cached, {len(todo)} to do on {slots} worker(s)."
    )
    lines.precision(study, steps)
    if todo and total.seconds is not None:
        disk = f" and {size(total.bytes)} of disk" if total.bytes else ""
        out.print(f"About {duration(total.seconds)}{disk}.")


@app.command()
def run(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """Do what is missing, then write the report. Stop it anywhere; run it again to go on.

    Example: [bold]transferscope run study.yaml --set recipe.epochs=3[/bold]

    Exit codes: 0 done, 1 some steps failed or a part of the report could not be written, 2 wrong usage or study,
    3 preflight refused, 4 incomplete, 130 stopped by Ctrl-C, 143 stopped by SIGTERM.
    """
    from transferscope import battery, preflight
    from transferscope.console import stopping
    from transferscope.console.watch import Watcher

    study, steps, store = planned(file, set_)
    todo = steps.todo(store)
    outcomes: Mapping[str, Any] = {}
    if todo:
        checks = list(preflight.quick(study, steps, store, decoded=False))
        if all(c.ok for c in checks) and preflight.untried(steps, store):
            checks += preflight.deep(study, steps)
        if not all(c.ok for c in checks):
            lines.checks(checks)
            raise typer.Exit(REFUSED)
        executor = battery.executor(study, todo)
        workers = len(executor.slots.devices)
        each = f"{workers} worker(s) with {executor.slots.threads} thread(s) each"
        out.print(f"{len(steps.steps)} steps, {len(todo)} to do on {each}.")
        lines.precision(study, steps)
        forecast = battery.foresight(study, store, todo)
        resume = stopping.again(file, set_)
        with (
            stopping.stoppable(executor, resume) as caught,
            Watcher(out, steps, todo, forecast, workers, live=out.is_terminal) as watch,
        ):
            outcomes = executor.run(todo, store, watch)
        battery.remember(store, outcomes)
        if caught:
            err.print(f"Stopped. To go on: {resume}", markup=False)
            raise typer.Exit(stopping.code(caught))
    found = battery.results(study, outcomes)
    lines.findings(found)
    failed = [o for o in outcomes.values() if o.status == "failed"]
    if not todo:
        out.print("Nothing to do: every step was in the store.")
    if failed:
        lines.failures(outcomes.values())
        raise typer.Exit(FAILED)
    if found.problems:
        raise typer.Exit(FAILED)
    if steps.todo(store) or found.incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command()
def status(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """What is done, what is missing and why. Computes nothing; exit code 4 when something is missing.

    Example: [bold]transferscope status study.yaml[/bold]
    """
    from transferscope import battery
    from transferscope.analyses import chosen

    study, steps, store = planned(file, set_)
    reasons = battery.failures(store)
    found = {name: battery.table(name, steps, store, reasons) for name in chosen(study)}
    out.print(tables.cells(found))
    for cell in (cell for table in found.values() for cell in table.missing):
        out.print(f"missing {worded(cell.labels)}: {cell.reason}", markup=False)
    todo = steps.todo(store)
    out.print(f"{len(steps.steps) - len(todo)} of {len(steps.steps)} steps done.")
    if todo:
        raise typer.Exit(INCOMPLETE)


@app.command()
def report(file: StudyFile = DEFAULT, set_: Set = None) -> None:
    """Write the page, figures and tables again from what the store holds. Computes nothing; exit code 1 when a part
    of it could not be written, 4 when something is missing.

    Example: [bold]transferscope report study.yaml[/bold]
    """
    from transferscope import battery

    study, steps, store = planned(file, set_)
    found = battery.results(study)
    lines.findings(found)
    if found.problems:
        raise typer.Exit(FAILED)
    if todo := steps.todo(store):
        err.print(f"{len(todo)} of {len(steps.steps)} steps are missing; 'transferscope status {file}' names them.")
    if todo or found.incomplete:
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
    from transferscope import battery
    from transferscope.analyses import chosen
    from transferscope.errors import did_you_mean

    study, steps, store = planned(file, set_)
    if form not in ("csv", "json"):
        raise UserError(f"--format: '{form}' is not a format; {did_you_mean(form, ['csv', 'json'])}")
    known = list(chosen(study))
    if analysis is not None and analysis not in known:
        raise UserError(f"--analysis: '{analysis}' is not in this study; {did_you_mean(analysis, known)}")
    names = [analysis] if analysis else known
    found = {name: battery.table(name, steps, store).rows for name in names}
    if form == "json":
        import json

        print(json.dumps({name: rows.to_dicts() for name, rows in found.items()}, indent=1, allow_nan=False))
        return
    for name, rows in found.items():
        if len(found) > 1:
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
    from transferscope.console.words import size
    from transferscope.engine.store import folder_bytes

    opened = [planned(file, None) for file in files]
    stores = {store.root.resolve() for _, _, store in opened}
    if len(stores) > 1:
        raise UserError(
            f"gc: the studies use different stores ({', '.join(map(str, stores))}); give those of one store."
        )
    store = opened[0][2]
    kept = {(step.task, step.key) for _, steps, _ in opened for step in steps.steps}
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
    from transferscope.engine.arithmetic import PRECISIONS
    from transferscope.engine.machine import this_machine
    from transferscope.timing import pace
    from transferscope.timing.calibrate import calibrated

    models.check_network_ref(model)
    machine = this_machine()
    fast = PRECISIONS if machine.has_bfloat16(device) else PRECISIONS[:1]
    ways = (pace.PLAIN, *fast, *((w + pace.COMPILED for w in fast) if compile_ else ()))
    with tempfile.TemporaryDirectory() as memo:  # asked for by hand: timed, and compiled, afresh
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = memo
        timed = calibrated(pace.Question(model, image_size, batch, device, threads, ways), Path(memo))
    rows = timed.table(batch, pace.PLAIN)
    if json_:
        import json

        print(json.dumps({"rows": rows, "matmul_flops": dict(timed.matmul), "image_flops": timed.flops}, indent=1))
        return
    out.print(f"On {machine.told(device)}.", markup=False)
    out.print(tables.paces(rows))
    if len(fast) < len(PRECISIONS):
        out.print(f"bfloat16 is left out: {machine.natural(device)[1]}.")
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in timed.matmul.items())
    out.print(f"One image forward is {timed.flops / 1e6:.0f} MFLOP; a matrix product reaches {rates}.")
    out.print("The floor of a step is three forwards at that rate; plain is NCHW float32 as torch comes.")
    for row in rows:
        if row["way"].endswith(pace.COMPILED):
            pays = "never pays" if row["pays_after"] is None else f"pays after {row['pays_after']:.0f} steps"
            out.print(f"{row['way']}: the first step and evaluation took {row['start_seconds']:.0f} s; it {pays}.")


@app.command()
def ls() -> None:
    """List the analyses, data sources, networks, weights, optimisers and executors this installation knows.

    Example: [bold]transferscope ls[/bold]
    """
    from transferscope import battery, data, models, registry
    from transferscope.engine import executors
    from transferscope.tasks import optimisers

    for title, found in (
        ("Analyses (analyses:)", battery.analysis_docs()),
        ("Data sources (targets:)", data.source_names()),
        ("Networks (network:)", models.network_names()),
        ("Weights (pretrained:)", models.weights_names()),
        ("Optimisers (recipe.optimizer:)", registry.lines(optimisers.__name__)),
        ("Executors (resources.executor:)", registry.lines(executors.__name__)),
    ):
        out.print(f"\n[bold]{title}[/bold]")
        for name, line in found.items():
            out.print(f"  {name:<14} {line}", markup=False)
    out.print("\nA dotted name (my_lab.module) in any of these places is your own module.", markup=False)


if __name__ == "__main__":
    main()
