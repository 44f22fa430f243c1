"""The command line: one verb a function; heavy libraries load inside the verbs that need them.

It is long because there is a verb for everything a person does; none of them is.
"""

import os
import time
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from transferscope.console import arguments, exits, lines, tables
from transferscope.console.arguments import (
    DEFAULT,
    Against,
    Json,
    On,
    Quiet,
    Set,
    StudyFile,
    Trust,
    analyses_named,
    planned,
)
from transferscope.console.exits import FAILED, INCOMPLETE, REFUSED
from transferscope.console.lines import err, out
from transferscope.console.logfile import LogFile
from transferscope.console.words import size
from transferscope.errors import UserError
from transferscope.version import VERSION

DAY = 86400.0  # seconds

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="What did pretraining give this network on these images, and where in the network does it sit?",
)


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and exit code 2."""
    exits.ended(app)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"transferscope {VERSION}")
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
    trust: Trust = False,
    quiet: Quiet = False,
    json_: Json = False,
    log_file: LogFile = None,
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
    run(file, set_, trust=trust, quiet=quiet, json_=json_, log_file=log_file)


@app.command()
def init(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of images or texts (a subfolder per class, or train/, test/ first), a .csv, shards, or a "
            "reference such as hf:NAME."
        ),
    ],
    file: Annotated[Path, typer.Option("--out", help="The study file to write.")] = DEFAULT,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    network: Annotated[str | None, typer.Option(help="The network, e.g. timm:vit_tiny_patch16_224.")] = None,
    weights: Annotated[str | None, typer.Option(help="Its pretrained weights, e.g. file:mine.pth.")] = None,
    task: Annotated[str | None, typer.Option(help="What is asked: regression or ordinal; else it is found.")] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Look at images, texts or arrays and write a commented study for it.

    Example: [bold]transferscope init ~/lesions && transferscope run[/bold]
    """
    from transferscope.propose import propose

    if file.exists() and not force:
        raise UserError(f"{file} is already there; choose another with --out, or overwrite it with --force.")
    if task not in (None, "regression", "ordinal"):
        raise UserError(f"--task {task}: write regression or ordinal.")
    text, said = propose(data, file.parent, network, weights, cast(Any, task))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    if json_:
        lines.as_json({"written": str(file), "said": said.splitlines()})
    out.print(said, markup=False)
    out.print(f"Wrote {file}. Next: transferscope check {file}, then transferscope run {file}", markup=False)


@app.command()
def check(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    trust: Trust = False,
    quiet: Quiet = False,
    json_: Json = False,
    log_file: LogFile = None,
) -> None:
    """Preflight: read the data and weights, build every arm, take one step. Trains nothing.

    Example: [bold]transferscope check study.yaml[/bold]
    """
    from transferscope import preflight
    from transferscope.tasks.inputs import USUAL

    study, plan, store = planned(file, set_, trusted=trust)
    how = study.preprocessing()
    if study.input == USUAL and not json_:
        out.print(
            f"Images are normalised with mean {how['mean']}, std {how['std']}, resized {how['interpolation']} "
            f"({how['source']}).",
            markup=False,
        )
    checks = list(preflight.quick(study, plan, store))
    if all(c.ok for c in checks):
        checks += preflight.deep(study, plan)
    ready = all(c.ok for c in checks)
    if json_:
        name, why = study.precision_and_reason() if ready else (None, None)
        lines.as_json(
            {
                "ready": ready,
                "checks": [{"name": c.name, "ok": c.ok, "said": c.said.splitlines()} for c in checks],
                "normalisation": how if study.input == USUAL else None,
                "precision": {"name": name, "reason": why} if ready else None,
                "steps": len(plan.steps),
                "to_do": len(plan.todo(store)),
            }
        )
        raise typer.Exit(0 if ready else REFUSED)
    lines.checks(checks)
    if not ready:
        raise typer.Exit(REFUSED)
    lines.precision(study, plan)
    out.print(f"Ready: {len(plan.steps)} steps, {len(plan.todo(store))} to do.")


@app.command()
def plan(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    trust: Trust = False,
    calibrate: Annotated[
        bool,
        typer.Option(help="Time the network for a moment when no past run tells how fast it is."),
    ] = True,
    workers: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Simulate the schedule with so many workers.")
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="With so many GPUs, which the workers share.")
    ] = None,
    run_seconds: Annotated[
        float | None,
        typer.Option("--seconds-per-run", min=0.001, help="Seconds of a training run, for a machine not measured."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    log_file: LogFile = None,
) -> None:
    """Show the steps, which are cached, and what the rest will cost. Runs nothing but a short calibration.

    With --workers or --gpus it plays the schedule through instead: how long, how busy, what holds it up, how much disk.

    Example: [bold]transferscope plan study.yaml --workers 16 --gpus 8 --seconds-per-run 240[/bold]
    """
    from transferscope import battery
    from transferscope.console.words import duration, size
    from transferscope.step_overview import outlook

    study, steps, store = planned(file, set_, trusted=trust, timed=calibrate and run_seconds is None)
    found = outlook(study, steps, store, ask=calibrate, run_seconds=run_seconds)
    if workers or gpus:
        played = battery.schedules(found.missing, found.forecast, workers or gpus or 1)
        held = battery.bytes_by_analysis(steps, found.missing, found.forecast)
        lines.schedules(played, gpus, steps, held, found.kept, json_)
        return
    total = found.total
    if json_:
        lines.as_json({"steps": found.rows, "seconds": total.seconds, "bytes": total.bytes, "kept": found.kept})
        return
    lines.steps(steps, {step.key for step in found.missing}, found.forecast)
    out.print(found.said)
    lines.precision(study, steps)
    if found.missing and total.seconds is not None:
        disk = f" and {size(total.bytes)} of disk" if total.bytes else ""
        out.print(f"About {duration(total.seconds)}{disk}.")
    lines.kept(found.kept)


@app.command()
def run(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    on: On = None,
    trust: Trust = False,
    retry_failed: Annotated[
        bool, typer.Option(help="Try again what failed in an earlier run, or leave it and what needs it.")
    ] = True,
    restore: Annotated[
        bool,
        typer.Option("--restore", help="Compute again what was let go (resources.keep), and let nothing go."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Say nothing but warnings, failures and what was found.")
    ] = False,
    json_: Json = False,
    log_file: LogFile = None,
) -> None:
    """Do what is missing, then write the report. Stop it anywhere; run it again to go on.

    Example: [bold]transferscope run study.yaml --set recipe.epochs=3 --on ray[/bold]

    Exit codes: 0 done, 1 some steps failed or a part of the report could not be written, 2 wrong usage or study,
    3 preflight refused, 4 incomplete, 5 a disk that cannot be read or written, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    from transferscope import kept_page, rounds
    from transferscope.console import stopping
    from transferscope.console.watch import watched

    told = lines.silent if quiet or json_ else out
    set_ = arguments.on(on, set_)
    flags = {"--trust": trust, "--no-retry-failed": not retry_failed, "--restore": restore}
    flags |= {"--quiet": quiet, "--json": json_}
    kept = [] if log_file is None else ["--log-file", str(log_file)]
    resume = stopping.again(file, set_, [*(flag for flag, given in flags.items() if given), *kept])
    caught: list[int] = []

    def do(now: rounds.Round) -> tuple[dict[str, Any], bool]:
        with stopping.stoppable(now.executor, resume) as signals:
            found = watched(now, told, live=told.is_terminal and not told.quiet)
        caught.extend(signals)
        return found, bool(signals)

    try:
        done = rounds.finish(
            partial(planned, file, set_, trusted=trust),
            do,
            file=file,
            tell=told.print,
            warn=partial(out.print, markup=False),
            retry_failed=retry_failed,
            whole=restore,
        )
    except rounds.Refused as refused:
        lines.checks(refused.checks)
        raise typer.Exit(REFUSED) from None
    if done.stopped:
        err.print(f"Stopped. To go on: {resume}", markup=False)
        raise typer.Exit(stopping.code(caught))
    found = kept_page.summary(done.study, done.steps, done.store, done.outcomes)
    lines.findings(found)
    if done.relieved.results:
        went = f"{size(done.relieved.bytes)} of {done.relieved.results} results were let go"
        told.print(f"{went} (resources.keep: {done.study.resources.keep}); --restore computes them again.")
    if json_:
        lines.as_json(lines.summed_up(found, done.outcomes.values()))
    if not done.began:
        told.print("Nothing to do: every step was in the store.")
    if passed := {step.key for step in done.steps.todo(done.store)} & set(done.left):
        out.print(f"{len(passed)} steps failed in an earlier run and were left; --retry-failed tries them again.")
    if done.failed:
        lines.failures(done.outcomes.values())
        raise typer.Exit(FAILED)
    if found.problems:
        raise typer.Exit(FAILED)
    if done.steps.todo(done.store) or found.incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command()
def status(file: StudyFile = DEFAULT, set_: Set = None, trust: Trust = False, json_: Json = False) -> None:
    """What is done, what is missing and why. Computes nothing; exit code 4 when something is missing.

    Example: [bold]transferscope status study.yaml[/bold]
    """
    from transferscope import battery
    from transferscope.analyses import chosen
    from transferscope.engine.step import KEEPS

    study, steps, store = planned(file, set_, trusted=trust)
    found = battery.tallies(steps, store, chosen(study))
    todo = steps.todo(store)
    kept = Counter(store.kept(step) for step in steps.steps if store.has(step))
    let_go = {keep: kept[keep] for keep in KEEPS if keep != "all" and kept[keep]}
    if json_:
        lines.as_json(
            {
                "analyses": {
                    name: {
                        "done": of.done,
                        "missing": [{"labels": dict(cell.labels), "reason": cell.reason} for cell in of.missing],
                    }
                    for name, of in found.items()
                },
                "steps": len(steps.steps),
                "to_do": len(todo),
                "let_go": let_go,
            }
        )
        raise typer.Exit(INCOMPLETE if todo else 0)
    out.print(tables.cells(found))
    lines.missing(found)
    out.print(f"{len(steps.steps) - len(todo)} of {len(steps.steps)} steps done.")
    for keep, count in let_go.items():
        out.print(f"Of {count} results weights were let go (keep: {keep}); what needs them computes them again.")
    if todo:
        raise typer.Exit(INCOMPLETE)


@app.command()
def serve(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    trust: Trust = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 is any that is free.")] = 0,
    host: Annotated[
        str, typer.Option(help="The address to listen at; another than this machine's own asks for a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option(envvar="TRANSFERSCOPE_TOKEN", help="The token to ask for, instead of a new one.")
    ] = None,
    log_file: LogFile = None,
) -> None:
    """Watch a study in the browser, while it runs or after: its page, learning curves, every step, logs, time left.

    It reads only: runs go on beside it, and several may watch. Ctrl-C ends it (exit code 130, by SIGTERM 143).

    Example: [bold]transferscope serve study.yaml[/bold]
    """
    from threading import Thread

    from transferscope.console import stopping
    from transferscope.serving import access
    from transferscope.serving.server import Server
    from transferscope.serving.study_state import Watched

    kept = access.chosen(host, token)
    watched = Watched(file, partial(planned, file, set_, read_only=True, trusted=trust))
    with Server(host, port, kept, watched) as server, stopping.heard() as signals:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()
        out.show(f"Watch {file} at {server.url} (Ctrl-C ends this; a run goes on).", markup=False)
        if not access.is_loopback(host):
            err.print("Who has that address reads along, and it travels unencrypted: see docs/operations.md.")
        while not signals:
            time.sleep(0.2)
        server.shutdown()
    err.print("Stopped.")
    raise typer.Exit(stopping.code(signals))


@app.command()
def report(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    trust: Trust = False,
    out_: Annotated[Path | None, typer.Option("--out", help="Another folder for the page, figures and tables.")] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Write nothing into the store, not even memos.")
    ] = False,
    quiet: Quiet = False,
    json_: Json = False,
    log_file: LogFile = None,
    against_: Against = None,
) -> None:
    """Write the page, figures and tables again from what the store holds. Computes nothing; exit code 1 when a part
    of it could not be written, 4 when something is missing.

    Example: [bold]transferscope report /shared/study.yaml --read-only --out ~/page[/bold]
    """
    from transferscope import against, battery

    published = None if against_ is None else against.read(against_)
    study, steps, store = planned(file, set_, read_only=read_only, trusted=trust)
    found = battery.results(study, folder=out_, published=published).summary
    lines.findings(found)
    if json_:
        lines.as_json(lines.summed_up(found))
    if found.problems:
        raise typer.Exit(FAILED)
    if todo := steps.todo(store):
        err.print(f"{len(todo)} of {len(steps.steps)} steps are missing; 'transferscope status {file}' names them.")
    if todo or found.incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command()
def results(
    file: StudyFile = DEFAULT,
    analysis: Annotated[
        str | None, typer.Option(help="One analysis; all when left out.", autocompletion=analyses_named)
    ] = None,
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    json_: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    set_: Set = None,
    trust: Trust = False,
    against_: Against = None,
) -> None:
    """Print the tidy tables of the analyses, for a spreadsheet or a script; with --against the published numbers and
    what was measured of the same. Exit code 4 when something is missing.

    Example: [bold]transferscope results study.yaml --analysis transfer --format csv > transfer.csv[/bold]
    """
    from transferscope import against, battery
    from transferscope.analyses import chosen
    from transferscope.errors import did_you_mean
    from transferscope.report import wording

    published = None if against_ is None else against.read(against_)
    study, steps, store = planned(file, set_, trusted=trust)
    if form not in ("csv", "json"):
        raise UserError(f"--format: '{form}' is not a format; {did_you_mean(form, ['csv', 'json'])}")
    known = list(chosen(study))
    if analysis is not None and analysis not in known:
        raise UserError(f"--analysis: '{analysis}' is not in this study; {did_you_mean(analysis, known)}")
    names, missing = [analysis] if analysis else known, 0
    if published is not None and analysis is not None:
        raise UserError("results: --against prints the published numbers; leave out --analysis.")
    if published is not None:
        found = {"published": battery.beside(study, published)}
    else:
        tables_ = {name: battery.table(name, steps, store) for name in names}
        missing = sum(len(table.missing) for table in tables_.values())
        found = {name: table.rows for name, table in tables_.items()}
    if json_ or form == "json":
        import json

        print(json.dumps({name: rows.to_dicts() for name, rows in found.items()}, indent=1, allow_nan=False))
    else:
        for name, rows in found.items():
            if len(found) > 1:
                print(f"# {name}")
            lines.data(wording.csv(rows))
    if missing:
        err.print(f"{missing} results are missing; 'transferscope status {file}' names them.", markup=False)
        raise typer.Exit(INCOMPLETE)


@app.command()
def compare(
    studies: Annotated[
        list[Path], typer.Argument(help="Study files, or folders that hold one; the others are held against the first.")
    ],
    page: Annotated[Path | None, typer.Option("--out", help="The page to write; compare.html when left out.")] = None,
    trust: Trust = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print one JSON object; the page is written where --out says so.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Studies side by side on one page: what differs, what each found, and the differences, paired by seed and image
    where they may be. Computes nothing and writes nothing into a store; exit code 4 when a study lacks results.

    Example: [bold]transferscope compare resnet convnext --out page.html[/bold]
    """
    from transferscope import trust as trusting
    from transferscope.comparison.studies import compare as held
    from transferscope.report.failures import Mishaps

    if trust:
        trusting.everything()
    found, mishaps = held(studies, read_only=True), Mishaps()
    if json_:
        lines.as_json(found.as_json())
    if page is not None or not json_:
        written = found.write(page or Path("compare.html"), mishaps)
        for said in [] if json_ else [*found.said(), f"Page: {written}"]:
            out.print(said, markup=False)
    for said in mishaps.said:
        err.print(said, markup=False)
    if mishaps.said:
        raise typer.Exit(FAILED)
    if found.incomplete:
        raise typer.Exit(INCOMPLETE)


@app.command()
def export(
    what: Annotated[
        str, typer.Argument(help="model, or a tracker: tensorboard, wandb, mlflow, trackio.", show_default=False)
    ],
    of: Annotated[str, typer.Argument(help="For model a run: TARGET/ARM/SEED or its key. Else the study file.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write; for trackers a folder beside the study.")
    ] = None,
    study_file: Annotated[Path, typer.Option("--study", help="For model: the study file of the run.")] = DEFAULT,
    at: Annotated[str, typer.Option("--at", help="For model: its weights, final, best (on val) or ema.")] = "final",
    set_: Set = None,
    trust: Trust = False,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Write a fine-tuned network as a folder that timm or transformers load, or a study for a tracker of experiments.

    Nothing is sent anywhere.

    Example: [bold]transferscope export model skin/pretrained/0 skin-classifier[/bold]
    """
    from transferscope import battery
    from transferscope.errors import did_you_mean
    from transferscope.exports import model, trackers
    from transferscope.exports.record import record
    from transferscope.exports.runs import find

    known = ["model", *trackers.names()]
    if what not in known:
        raise UserError(f"export: '{what}' is none of them; {did_you_mean(what, known)}")
    if what == "model":
        if folder is None:
            raise UserError("export: name a folder for the network, after its run.")
        study, steps, opened = planned(study_file, set_, trusted=trust)
        run = find(of, study, steps, opened)
        written = model.write(study, run, battery.results(study), folder, at)
        out.print(f"Wrote {written}: its README.md says how to load it.", markup=False)
        if json_:
            lines.as_json({"written": str(written)})
        return
    tracker = trackers.load(what)
    study, _, opened = planned(Path(of), set_, trusted=trust)
    place = folder or study.folder / what
    shown = tracker.write(record(study, opened, battery.results(study)), place)
    out.print(f"Wrote {place}. To see it: {shown}", markup=False)
    if json_:
        lines.as_json({"written": str(place), "to_see_it": shown})


@app.command()
def verify(
    file: StudyFile = DEFAULT,
    set_: Set = None,
    trust: Trust = False,
    repair: Annotated[bool, typer.Option("--repair", help="Set aside what is damaged; a run redoes it.")] = False,
    quiet: Quiet = False,
    json_: Json = False,
    log_file: LogFile = None,
) -> None:
    """Read every result of the study's store and hold it against the digests that were kept when it was written.

    Exit code 1 where one is damaged.

    Example: [bold]transferscope verify study.yaml --repair[/bold]
    """
    _, _, store = planned(file, set_, trusted=trust)
    counts = {"as written": 0, "damaged": 0, "from before there were digests": 0}
    damaged = []
    for task, key in list(store.entries()):
        result = store.artifact(task, key)
        if why := result.inspect():
            if not json_:
                lines.wrong().print(f"{task} {key}: {why}", markup=False)
            damaged.append({"task": task, "key": key, "reason": why, "set_aside": repair})
            counts["damaged"] += 1
            if repair:
                result.set_aside()
        else:
            counts["as written" if result.verifiable else "from before there were digests"] += 1
    if json_:
        whole, _, old = counts.values()
        lines.as_json({"as_written": whole, "without_digests": old, "damaged": damaged})
        raise typer.Exit(FAILED if damaged else 0)
    out.print(f"Results: {', '.join(f'{count} {what}' for what, count in counts.items())}.")
    if counts["damaged"] and repair:
        out.print("What is damaged was set aside: the next run computes it anew.")
    if counts["damaged"]:
        raise typer.Exit(FAILED)


@app.command()
def store(file: StudyFile = DEFAULT, set_: Set = None, trust: Trust = False, json_: Json = False) -> None:
    """What lies in the study's store: how many results of which task, their sizes, when they were finished and by whom,
    and the studies they are for.

    Example: [bold]transferscope store study.yaml[/bold]
    """
    from transferscope import store_users

    _, _, opened = planned(file, set_, trusted=trust)
    held = opened.held()
    studies = store_users.registered(opened)
    theirs = {other: set(said["steps"]) & held.keys() for other, said in studies.items()}
    rest = held.keys() - set().union(*theirs.values())
    if json_:
        lines.as_json(
            {
                "results": [
                    {
                        "task": name.rpartition("-")[0],
                        "key": name.rpartition("-")[2],
                        "bytes": one.size,
                        "finished": datetime.fromtimestamp(one.finished, UTC).isoformat(timespec="seconds"),
                        "by": one.by,
                        "kept": one.kept,
                        "studies": [str(other) for other, names in theirs.items() if name in names],
                    }
                    for name, one in sorted(held.items())
                ],
                "studies": {str(other): {"last_run": said["ran"]} for other, said in studies.items()},
            }
        )
        return
    out.print(tables.results(held))
    for other, said in studies.items():
        of = f"{len(theirs[other])} results, {size(sum(held[name].size for name in theirs[other]))}"
        out.print(f"{other}: {of}, last run {said['ran']}.", markup=False)
    out.print(f"No study known here asks for {len(rest)} of them, {size(sum(held[n].size for n in rest))}.")


@app.command()
def gc(
    files: Annotated[list[Path], typer.Argument(help="The studies whose results are kept; all share one store.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would go.")] = False,
    older: Annotated[
        float, typer.Option("--older-than", min=0.0, metavar="DAYS", help="Only results finished so many days ago.")
    ] = 0.0,
    quiet: Quiet = False,
    json_: Json = False,
    log_file: LogFile = None,
) -> None:
    """Delete results that no study asks for, and leftovers of killed runs.

    Kept is what the given studies ask for, what others asked for when they last ran (as long as their files are there),
    and what came after this command began; with --older-than leftovers, too.

    Example: [bold]transferscope gc study.yaml other.yaml --older-than 30 --yes[/bold]
    """
    from transferscope import store_users

    began = time.time()
    opened = [planned(file, None) for file in files]
    stores = {store.place if store.remote else str(store.root.resolve()) for _, _, store in opened}
    if len(stores) > 1:
        raise UserError(f"gc: the studies use different stores ({', '.join(sorted(stores))}); give those of one store.")
    store = opened[0][2]
    others = store_users.registered(store, but=files)
    for file in others:
        out.print(f"kept for {file}", markup=False)
    kept = {f"{step.task}-{step.key}" for _, steps, _ in opened for step in steps.steps}
    kept |= {name for said in others.values() for name in said["steps"]}
    total, gone = 0, []
    for task, key in list(store.entries()):
        if f"{task}-{key}" not in kept and store.age(task, key, began) > older * DAY:
            freed = store.remove(task, key) if yes else store.bytes(task, key)
            total += freed
            gone.append({"task": task, "key": key, "bytes": freed})
            out.print(f"{'deleted' if yes else 'would delete'} {task} {key} ({size(freed)})", markup=False)
    total += 0 if older else store.sweep(kept, delete=yes)
    if json_:
        lines.as_json({"deleted": yes, "results": gone, "bytes": total, "kept_for": [str(other) for other in others]})
    out.print(f"{size(total)} {'freed' if yes else 'could be freed; add --yes to do it'}.")


@app.command()
def bench(
    model: Annotated[str, typer.Argument(help="A network, e.g. timm:resnet18.", show_default=False)],
    image_size: Annotated[int, typer.Option(min=8, help="Side of the square images.")] = 64,
    batch: Annotated[int, typer.Option(min=2, help="Images of one training step.")] = 32,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, xpu or mps, or one of several: cuda:1.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Threads of the worker that is timed.")] = 1,
    optimizer: Annotated[str, typer.Option(help="What takes the steps, as in recipe.optimizer.")] = "sgd",
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
    from transferscope.tasks import optimisers
    from transferscope.tasks.recipe import Training
    from transferscope.timing import step_time
    from transferscope.timing.calibrate import calibrated

    models.check_network_ref(model)
    optimisers.check(optimizer)
    machine, how = this_machine(), Training(optimizer=optimizer).timed()
    places = machine.places(device, "--device")
    if device == "auto":
        device = places[0] if places else "cpu"
    fast = PRECISIONS if machine.has_bfloat16(device) else PRECISIONS[:1]
    ways = (step_time.PLAIN, *fast, *((w + step_time.COMPILED for w in fast) if compile_ else ()))
    with tempfile.TemporaryDirectory() as memo:  # asked for by hand: timed, and compiled, afresh
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = memo
        timed = calibrated(step_time.Question(model, image_size, batch, device, threads, ways, how=how), Path(memo))
    rows = timed.table(batch, step_time.PLAIN)
    if json_:
        import json

        print(json.dumps({"rows": rows, "matmul_flops": dict(timed.matmul), "image_flops": timed.flops}, indent=1))
        return
    out.print(f"On {machine.describe(device)}.", markup=False)
    out.print(tables.step_times(rows))
    if len(fast) < len(PRECISIONS):
        out.print(f"bfloat16 is left out: {machine.natural(device)[1]}.")
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {name}" for name, rate in timed.matmul.items())
    out.print(f"One image forward is {timed.flops / 1e6:.0f} MFLOP; a matrix product reaches {rates}.")
    out.print("The floor of a step is three forwards at that rate; plain is NCHW float32 as torch comes.")
    for row in rows:
        if row["way"].endswith(step_time.COMPILED):
            pays = "never pays" if row["pays_after"] is None else f"pays after {row['pays_after']:.0f} steps"
            out.print(f"{row['way']}: the first step and evaluation took {row['start_seconds']:.0f} s; it {pays}.")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="The data set: domainnet.", show_default=False)],
    root: Annotated[Path, typer.Argument(help="The folder to have it in.", show_default=False)],
    domain: Annotated[
        list[str] | None, typer.Option("--domain", help="Only this part of it; may be given several times.")
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Where its files lie, instead of the address of its authors.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep-archives", help="Leave archives there when they are unpacked.")] = False,
) -> None:
    """Download a published data set as its source expects it. Stop it anywhere; run it again to go on.

    Example: [bold]transferscope fetch domainnet domainnet --domain real --domain clipart[/bold]
    """
    from transferscope import fetch as fetching

    said = partial(out.print, markup=False)
    came = fetching.fetch(name, root, domain or (), mirror, keep, said)
    said(f"{'' if came else 'Nothing to fetch. '}All of it is in {root}; fetched.json there tells the digests.")


@app.command()
def schema(
    results: Annotated[bool, typer.Option("--results", help="That of results.json instead.")] = False,
) -> None:
    """Print the JSON schema of the study file, from which an editor completes keys and explains them.

    Example: [bold]transferscope schema > study.schema.json[/bold]
    """
    import json

    from transferscope.json_schema import results_schema, study_schema

    print(json.dumps(results_schema() if results else study_schema(), indent=1))


@app.command()
def ls(json_: Json = False) -> None:
    """List what there is here: analyses, data sources, networks, weights, optimisers, augmentations and others.

    Example: [bold]transferscope ls[/bold]
    """
    from transferscope import battery, data, models, registry
    from transferscope.engine import executors
    from transferscope.tasks import augmentations, inputs, optimisers

    known = (
        ("Analyses (analyses:)", battery.analysis_docs()),
        ("Data sources (targets:)", data.source_names()),
        ("Kinds of input (input:)", registry.lines(inputs.__name__)),
        ("Networks (network:)", models.network_names()),
        ("Weights (pretrained:)", models.weights_names()),
        ("Optimisers (recipe.optimizer:)", optimisers.lines()),
        ("Augmentations (recipe.augment.then:)", registry.lines(augmentations.__name__)),
        ("Executors (resources.executor:)", registry.lines(executors.__name__)),
    )
    if json_:
        lines.as_json({title.partition("(")[2].rstrip(":)"): dict(found) for title, found in known})
        return
    for title, found in known:
        out.print(f"\n[bold]{title}[/bold]")
        for name, line in found.items():
            out.print(f"  {name:<14} {line}", markup=False)
    out.print("\nA dotted name (my_lab.module) in any of these places is your own module.", markup=False)


if __name__ == "__main__":
    main()
