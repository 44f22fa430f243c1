"""The whole battery: plan a study, execute what is missing, and turn the store's tables into the report.

It is long because everything that verbs have in common is here, and nowhere else.
"""

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from transferscope import against, analyses, interim_looks, registry
from transferscope.against import Published
from transferscope.analyses import Chosen
from transferscope.analyses._shared import contrasts
from transferscope.engine import executors
from transferscope.engine.estimate import Past
from transferscope.engine.executors import Executor, Slots
from transferscope.engine.machine import Machine, this_machine
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.simulate import Schedule, simulate
from transferscope.engine.step import Outside, Step
from transferscope.engine.store import Store
from transferscope.engine.table import ResultTable, Tally, gather, tally
from transferscope.engine.vouched import vouched
from transferscope.engine.worker import Outcome
from transferscope.engine.worker_slots import dealt, per_run
from transferscope.errors import UserError
from transferscope.forecast import Forecast, image_counts, output_counts
from transferscope.measures.deciding import Design
from transferscope.measures.intervals import Interval
from transferscope.measures.multiple_comparisons import by_chance_words
from transferscope.memo import Memo
from transferscope.models import anatomy, in_words
from transferscope.report.failures import Mishaps
from transferscope.report.first_screen import Asked
from transferscope.report.input_words import docstring_on, section_on
from transferscope.report.page import PagePart, Provenance, lost, write_report
from transferscope.report.results import Results
from transferscope.section import Finding, Section
from transferscope.study import Study
from transferscope.study.schema import Resources
from transferscope.tasks import restore
from transferscope.tasks.inputs import USUAL
from transferscope.timing import calibrate
from transferscope.timing.calibrate import Calibration
from transferscope.timing.share import remembered, sharing
from transferscope.timing.step_time import Question
from transferscope.version import VERSION

log = logging.getLogger(__name__)
WORTH = 100_000  # passes of a run whose network is timed first: minutes on a core, even of a small network
BESIDE = "published"  # the section that holds a study beside published numbers
LIBRARIES = ("transferscope", "python", "numpy", "PIL", "safetensors", "torch", "torchvision", "timm")


def plan(study: Study, *, timed: bool = False) -> tuple[Plan, Store]:
    """The study's steps, and the store they live in. Looks at outside files afresh.

    `timed` says that the network is timed for a moment afterwards, where nothing tells how fast it trains: that is done
    first, if planning would have to load torch for what the same process tells.
    """
    study.forget()
    store = Store.at(study.store_place)
    store.look()
    if timed and not anatomy.is_known(study.network, study.memo) and not any(t == "train" for t, _ in store.entries()):
        with suppress(UserError):  # which planning says in its own words
            _calibrated(study.question(*_ways([study.precision()])), study.memo)
    return analyses.plan(study), store


def slots(
    resources: Resources, machine: Machine | None = None, sharing: Callable[[], int] | None = None, runs: int = 0
) -> Slots:
    """The workers that a machine, this one by default, gives a study with so many `runs` to do: see
    `engine.worker_slots`."""
    machine = machine or this_machine()
    processes = per_run(machine, resources.gpus_per_run, resources.device, runs)
    return dealt(machine, resources.slots, resources.threads, resources.device, sharing, processes)


def known_slots(study: Study, todo: Iterable[Step]) -> Slots:
    """The slots of a study that is `todo` without measuring anything: one run a GPU where no measurement is remembered.

    Of workers that are elsewhere only what the study says is known: their number, or else one.
    """
    how = study.resources
    if executors.is_elsewhere(how.executor):
        count = how.slots if how.slots != "auto" else how.slurm.get("workers", 1)
        return Slots(("cpu",) * count, 1, 1, _processes_elsewhere(how))
    return slots(study.resources, sharing=partial(_runs_a_gpu, study, remembered), runs=_runs(todo))


def _runs(todo: Iterable[Step]) -> int:
    return sum(step.task == "train" for step in todo)


def _processes_elsewhere(how: Resources) -> int:
    """UserError where their number hangs on GPUs that are not here."""
    if how.gpus_per_run == "auto":
        raise UserError(
            f"resources.gpus_per_run: 'auto' counts the GPUs of this machine, but with 'executor: {how.executor}' "
            "others work; give a number."
        )
    return how.gpus_per_run


def executor(study: Study, todo: Iterable[Step]) -> Executor:
    """The executor that a study asks for, to do `todo`; on GPUs sharing one is measured where any of it trains.

    Workers that are elsewhere are dealt there, by the machine they find: they are told what was asked for.
    """
    how, runs = study.resources, _runs(todo)
    trains = runs > 0
    ask = sharing if trains else remembered
    options: dict[str, Any] = {"table": how.table, "compile": how.compile, "patience": how.patience}
    if executors.is_elsewhere(how.executor):
        options |= {
            "slots": how.slots,
            "threads": how.threads,
            "device": how.device,
            "processes": _processes_elsewhere(how),
            "natural": trains and study.recipe.precision == "auto",
            "sharing": _sharing_elsewhere(study, ask),
            "slurm": how.slurm,
            "folder": str(study.folder.absolute()),
        }
        return executors.build(how.executor, Slots((), 1, 1), options)
    return executors.build(how.executor, slots(how, sharing=partial(_runs_a_gpu, study, ask), runs=runs), options)


def _runs_a_gpu(study: Study, ask: Callable[[Question, Path, int], int]) -> int:
    """What `ask` says of the network, precision and images of a study; 1 if they are in doubt, as preflight tells."""
    return 1 if (asked := _asked_of_a_gpu(study)) is None else ask(*asked)


def _asked_of_a_gpu(study: Study) -> tuple[Question, Path, int] | None:
    """What measuring how many runs share a GPU takes, or None if it is in doubt.

    A run fills a GPU with its table of images at both sizes besides: the largest of the study is counted.
    """
    try:
        first = study.data(next(iter(study.targets)))
        held = sum(image.bytes for image in study.kind.examples(first.params).values())
        most = max(sum(images.values()) for images in image_counts(study).values())
        return replace(study.question(), quick=False), study.memo, most * held
    except UserError:
        return None


def _sharing_elsewhere(study: Study, ask: Callable[[Question, Path, int], int]) -> Callable[[], int] | None:
    """The question for the machine of a worker, which may have the GPUs that this one lacks."""
    if study.resources.device == "cpu" or (asked := _asked_of_a_gpu(study)) is None:
        return None
    question, memo, held = asked
    return partial(_there, ask, question, memo.absolute(), held)


def _there(ask: Callable[[Question, Path, int], int], question: Question, memo: Path, held: int) -> int:
    """From a worker's machine: what `ask` says of the kind of GPU that it has."""
    return ask(replace(question, device=this_machine().accelerator), memo, held)


def forecast(study: Study, store: Store, steps: Sequence[Step], ask: bool = False) -> Forecast:
    """What `steps` will cost. Where no past run tells how fast the network trains, a remembered timing does, in the
    precisions that they train in; without one the network is timed for a moment, if `ask`."""
    found = Forecast(Past(store), study.network, image_counts(study), outputs=output_counts(study))
    return _timed(study, found, steps, ask)


def foresight(study: Study, store: Store, steps: Sequence[Step]) -> Forecast:
    """The forecast by which a run tells its time left: a run of minutes is worth a moment of timing first."""
    found = forecast(study, store, steps)
    if found.total(steps, 1).seconds is not None or sum(found.passes(step) for step in steps) < WORTH:
        return found
    try:
        return _timed(study, found, steps, ask=True)
    except UserError:  # what cannot be timed is told of once it moves
        return found


def schedules(steps: Sequence[Step], forecast: Forecast, workers: int) -> list[Schedule]:
    """How `steps` are done by 1, 2, 4, ... and `workers` workers. UserError where nothing tells how long one takes."""
    seconds = {step.key: forecast.of(step).seconds for step in steps}
    known = {key: value for key, value in seconds.items() if value is not None}
    if unknown := sorted({step.task for step in steps if step.key not in known}):
        raise UserError(
            f"plan: nothing tells how long steps take ({', '.join(unknown)}); say how long a training run takes with "
            "--seconds-per-run, or run the study for a while."
        )
    counts = sorted({*(2**power for power in range(workers.bit_length())), workers})
    return [simulate(steps, known, count) for count in counts]


def bytes_by_analysis(steps: Plan, todo: Sequence[Step], forecast: Forecast) -> dict[str, int]:
    """Bytes that the steps to do will leave, by the analyses that ask for them: what several ask for counts for the
    first, and what a step needs for who asks for the step."""
    left = {step.key for step in todo}
    found: dict[str, int] = {}
    for cell in steps.cells:
        stack, total = [cell.step], 0
        while stack:
            step = stack.pop()
            if step.key in left:
                left.discard(step.key)
                total += forecast.of(step).bytes or 0
                stack.extend(step.inputs)
        found[cell.analysis] = found.get(cell.analysis, 0) + total
    return found


def _timed(study: Study, found: Forecast, steps: Sequence[Step], ask: bool) -> Forecast:
    """The forecast with the timing that it needs where past runs do not tell: a remembered one, or one `ask`ed for."""
    trains = [step for step in steps if step.task == "train"]
    if all(found.past.of(step).seconds is not None for step in trains):
        return found
    question = study.question(*_ways([str(step.params["precision"]) for step in trains]))
    timed = calibrate.remembered(question, study.memo)
    if ask and timed is None:
        timed = _calibrated(question, study.memo)
    return replace(found, timed=timed)


def _ways(trained: Iterable[str]) -> list[str]:
    """What is timed: the precisions that networks train in, and that in which criticality usually decides."""
    return list(dict.fromkeys([*sorted({*trained}), "float32"]))


def _calibrated(question: Question, memo: Path) -> Calibration:
    log.info("No past run of this kind: timing the network for a moment.")
    return calibrate.calibrated(question, memo)


def table(name: str, steps: Plan, store: Store, reasons: Mapping[str, str] | None = None) -> ResultTable:
    """What the store holds for the cells of the analysis `name`; `reasons` say why steps failed, by key."""
    return gather([cell for cell in steps.cells if cell.analysis == name], store, reasons)


def tallies(steps: Plan, store: Store, names: Iterable[str]) -> dict[str, Tally]:
    """What the store holds for the analyses `names`, counted, and what is missing and why."""
    reasons = failures(store)
    cells: dict[str, list[Cell]] = {name: [] for name in names}
    for cell in steps.cells:
        if cell.analysis in cells:
            cells[cell.analysis].append(cell)
    with vouched(store) as check:
        return {name: tally(own, store, reasons, check) for name, own in cells.items()}


def results(
    study: Study,
    outcomes: Mapping[str, Outcome] | None = None,
    seconds: float | None = None,
    running: bool = False,
    folder: Path | None = None,
    published: Published | None = None,
) -> Results:
    """Tables, sections and the page from what the store holds; nothing is computed. `outcomes` say why cells miss.

    `running` says on the page that what is missing is still to come; `folder` is where the page goes instead of the
    folder of the study. Beside `published` numbers the study is held in a section of its own.

    What raises on the way costs its own place on the page and nothing else.
    """
    steps, store = plan(study)
    store.bring((step.task, step.key) for step in steps.steps)
    design = interim_looks.design(study, store)
    resolved = _settled(study, steps).resolved()
    reasons = failures(store) | {key: o.error for key, o in (outcomes or {}).items() if o.error}
    mishaps = Mishaps(store.root / "failures" / "report.txt")
    tables, parts = found_parts(study, steps, store, design, reasons, mishaps)
    sections = {part.name: part.section for part in parts}
    if published is not None:
        name = BESIDE if BESIDE not in tables else f"{BESIDE}-numbers"
        tables[name], sections[name] = _beside(study, published, tables, sections, mishaps)
        parts.append(PagePart(name, inspect.getdoc(against) or "", sections[name], tables[name].rows, (), BESIDE))
    loaded = mishaps.attempt("What the runs loaded", partial(_loaded, steps, store), lambda said: [said])
    if parts and loaded:
        first = parts[0]
        sections[first.name] = replace(first.section, notes=[*first.section.notes, *loaded])
        parts[0] = replace(first, section=sections[first.name])
    page = write_report(
        folder or study.folder,
        title=study.name,
        question=_question(study),
        parts=parts,
        provenance=replace(_provenance(resolved, steps, store, seconds), design=_design(design, sections)),
        mishaps=mishaps,
        asked=_asked(study),
        running=running,
    )
    if not any(found.missing for found in tables.values()) and any(_claims(sections)):
        interim_looks.remember(study, store)
    if folder is None:  # its paths start from the folder of the study
        (study.folder / "resolved.yaml").write_text(resolved, encoding="utf-8")
    return Results(steps, tables, sections, page, tuple(mishaps.said), mishaps.log)


def found_parts(
    study: Study, steps: Plan, store: Store, design: Design, reasons: Mapping[str, str], mishaps: Mishaps
) -> tuple[dict[str, ResultTable], list[PagePart]]:
    """The table of every analysis by name, and what the page is told of it, with verdicts as `design` has them."""
    tables: dict[str, ResultTable] = {}
    parts: list[PagePart] = []
    noun = study.example.noun if steps.steps else "images"
    for name, one in analyses.chosen(study).items():
        found, section = _table_and_section(one, partial(table, name, steps, store, reasons), mishaps)
        section, docstring = contrasts.judge(section, design, len(study.seeds)), inspect.getdoc(one.module) or ""
        if noun != "images":
            section, docstring = section_on(section, noun), docstring_on(docstring, noun)
        tables[name] = found
        missing = [(dict(m.labels), m.reason) for m in found.missing]
        parts.append(PagePart(name, docstring, section, found.rows, missing, one.kind))
    return tables, parts


def _table_and_section(
    one: Chosen, gathered: Callable[[], ResultTable], mishaps: Mishaps
) -> tuple[ResultTable, Section]:
    """The table of an analysis and its section; in the place of what raises stands the sentence that says so."""
    unread: list[str] = []

    def without(said: str) -> ResultTable:
        unread.append(said)
        return ResultTable()

    found = mishaps.attempt(f"The table of '{one.name}'", gathered, without)
    if unread:
        return found, Section(one.title, problems=unread)

    def instead(said: str) -> Section:
        return lost(one.name, one.title, found.rows, said)

    made = mishaps.attempt(
        f"The section '{one.name}'", partial(one.section, found), instead, rest="its table stands below"
    )
    return found, made


def beside(study: Study, published: Published) -> pl.DataFrame:
    """Published numbers with what the store holds of the same, as a tidy table (`against.rows`)."""
    steps, store = plan(study)
    chosen = analyses.chosen(study)
    tables = {name: table(name, steps, store) for name in chosen}
    data = [one for name in chosen if name == "images" for one in chosen[name].section(tables[name]).data]
    return against.rows(against.lines(published, study, chosen, tables, data))


def _beside(
    study: Study,
    published: Published,
    tables: Mapping[str, ResultTable],
    sections: Mapping[str, Section],
    mishaps: Mishaps,
) -> tuple[ResultTable, Section]:
    """The study beside published numbers, as a table and a section."""
    data = [one for section in sections.values() for one in section.data]

    def made() -> tuple[ResultTable, Section]:
        found = against.lines(published, study, analyses.chosen(study), tables, data)
        return ResultTable(against.rows(found)), against.section(published, found)

    title = f"Beside {published.short}"
    return mishaps.attempt(
        f"The section '{title}'", made, lambda said: (ResultTable(), Section(title, problems=[said]))
    )


def _loaded(steps: Plan, store: Store) -> list[str]:
    """What of their weights finished runs did not fill, or adapted; each once."""
    said: dict[str, None] = {}
    for step in steps.steps:
        weights = step.params.get("weights") if step.task == "train" else None
        if weights is None or not store.has(step):
            continue
        name = Path(weights.ref).name if isinstance(weights, Outside) else "the pretraining"
        loaded = restore.loaded(store.get(step))
        for line in loaded.sentences() if loaded else ():
            said[f"Weights of {name}: {line}."] = None
    return list(said)


def _claims(sections: Mapping[str, Section]) -> list[Finding]:
    """The findings that judge a claim."""
    return [finding for section in sections.values() for finding in section.findings if finding.effects]


def _design(design: Design, sections: Mapping[str, Section]) -> str:
    """How often claims are looked at and how strictly, and how many intervals would exclude 0 by chance."""
    judged = [design.words] if _claims(sections) else []
    found = [finding for section in sections.values() for finding in section.findings if finding.low is not None]
    intervals = [Interval(one.effect or 0.0, one.low, one.high, one.n or 0) for one in found]
    return " ".join([*judged, by_chance_words(intervals)]).strip()


def _settled(study: Study, steps: Plan) -> Study:
    """The study with the precision that 'auto' meant for its training runs, which is part of their keys."""
    if study.recipe.precision != "auto" or all(step.task != "train" for step in steps.steps):
        return study
    return study.changed(recipe=study.recipe.model_copy(update={"precision": study.precision()}))


def remember(store: Store, outcomes: Mapping[str, Outcome]) -> None:
    """Keep the sentences of failed steps, so that a later `report` or `status` can name them. Never read as results."""
    lost = {key: o.error for key, o in outcomes.items() if o.status in ("failed", "skipped")}
    _failures(store).change(lambda known: {key: why for key, why in known.items() if key not in outcomes} | lost)


def failures(store: Store) -> dict[str, str]:
    """Why steps failed in earlier runs, by key; the next run tries them again."""
    return _failures(store).read()


def _failures(store: Store) -> Memo:
    return store.memo("failures.json")


def _question(study: Study) -> str:
    if study.pretrained is None:
        return f"What does {in_words(study.network)} learn on {', '.join(study.targets)}?"
    return (
        f"What did {study.pretrained.in_words} give {in_words(study.network)} on {', '.join(study.targets)}, "
        f"and where in the network does it sit?"
    )


def _asked(study: Study) -> Asked:
    weights = study.pretrained.in_words if study.pretrained is not None else None
    pixels = study.image_size if study.input == USUAL else None
    return Asked(in_words(study.network), weights, pixels, len(study.seeds))


def _provenance(resolved: str, steps: Plan, store: Store, seconds: float | None) -> Provenance:
    names = steps.labels()
    done = [(step, store.get(step).said) for step in steps.steps if store.has(step)]
    found: dict[str, str] = {"transferscope": VERSION}
    for _, said in done:
        found |= said["versions"]
    order = {name: place for place, name in enumerate(LIBRARIES)}  # not that in which processes happened to load them
    versions = dict(sorted(found.items(), key=lambda one: order.get(one[0], len(order))))
    machines = [said["machine"] for _, said in done]
    return Provenance(
        study=resolved,
        versions=versions,
        precision=" and ".join(sorted({str(s.params["precision"]) for s in steps.steps if s.task == "train"})),
        machine=_machine(machines or [this_machine().as_dict()]),
        seconds=sum(said["seconds"] for _, said in done) if seconds is None else seconds,
        steps=[(step.task, step.key, said["seconds"], names[step.key]) for step, said in done],
    )


def _machine(machines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The description for readers of the last of some machines, with the processors and GPUs of all."""
    said = dict(machines[-1])
    for name in ("processor", "gpus"):
        values = [one[name] for one in machines if name in one]
        each = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
        said |= {name: list(dict.fromkeys(each))} if values else {}
    shown = {**said, "memory": f"{said['memory'] / 1e9:.0f} GB"} if "memory" in said else said
    return {name: ", ".join(map(str, v)) or "none" if isinstance(v, list | tuple) else v for name, v in shown.items()}


def disk_free(folder: Path) -> int:
    """Bytes free where `folder` is or would be."""
    here = folder.resolve()
    while not here.exists():
        here = here.parent
    stat = os.statvfs(here)
    return stat.f_bavail * stat.f_frsize


def analysis_docs() -> dict[str, str]:
    """Name and first docstring line of every analysis, for `ls`."""
    return registry.lines(analyses.__name__)
