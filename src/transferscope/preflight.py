"""Preflight: what would go wrong, found before anything is trained."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from transferscope import analyses, battery, input_nouns
from transferscope.answers import counted
from transferscope.data.absent_classes import decides, lacking
from transferscope.data.pictures.compressed import SMALLER
from transferscope.data.pictures.squares import DISK_SHARE
from transferscope.engine import executors
from transferscope.engine.estimate import Past
from transferscope.engine.machine import this_machine
from transferscope.engine.plan import Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker_slots import WORKER_MEMORY
from transferscope.errors import UserError
from transferscope.forecast import split_rows
from transferscope.measures.matching import check_scipy
from transferscope.models import in_words
from transferscope.rehearsal import augmentations, rehearsals, rehearse, rehearse_augmentation
from transferscope.study import Study
from transferscope.tasks.inputs import USUAL
from transferscope.tasks.optimisers import shares

RESERVE = 200_000_000  # bytes that must stay free on the disk


@dataclass(frozen=True)
class Check:
    """What the preflight says of one thing, a sentence a line: `ok` False refuses the study."""

    name: str
    ok: bool
    said: str


def quick(study: Study, plan: Plan, store: Store, decoded: bool = True) -> Iterator[Check]:
    """Checks that load no network: images, splits, store, disk, memory. Pictures of targets that the store holds
    decoded are looked at again only where `decoded` says so."""
    for target in study.targets:
        look = decoded or not store.has(study.data(target))
        yield _named(study, _attempt(f"target {target}", lambda target=target, look=look: _target(study, target, look)))
    for name, one in analyses.chosen(study).items():
        yield from (Check(f"analyses.{name}", True, said) for said in one.unswayed(study))
    yield _attempt("store", lambda: _store(store))
    yield _attempt("disk", lambda: _disk(plan, store))
    yield from _streamed(study, store)
    yield _attempt("memory", lambda: _memory(study, plan.todo(store)))
    if any(step.params.get("align") for step in plan.todo(store)):
        yield _attempt("align", _matching)


def deep(study: Study, plan: Plan) -> Iterator[Check]:
    """Checks that build the network: every arm starts with every target's head and takes one step on random images
    without a NaN; then, if all do, every network takes the batches that its runs will have. A refusal is said once.
    What the recipe does to crops is tried on random pictures."""
    if study.recipe.best_on == "test":
        said = "chosen on the test images (recipe.best_on: test): what is called best leans upward there"
        yield Check("best epoch", True, said)
    for where, (then, more_bits) in augmentations(study).items():
        yield _attempt(
            f"{where}.augment",
            lambda where=where, then=then, more_bits=more_bits: rehearse_augmentation(
                where, then, study.image_size, study.example.channels, more_bits
            ),
        )
    counts = {len(split_rows(study, ref)[0].classes) for ref in study.targets.values()}
    refused = set()
    for arm, classes in itertools.product(study.arms, sorted(counts)):
        name = f"arm {arm}" if len(counts) == 1 else f"arm {arm}, {classes} outputs"
        check = _named(study, _attempt(name, lambda arm=arm, classes=classes: _arm(study, arm, classes)))
        if check.ok or check.said not in refused:
            yield check
        refused |= set() if check.ok else {check.said}
    if not refused and battery.known_slots(study, plan.steps).processes > 1:
        yield _named(study, _attempt("shares of a batch", lambda: _shares(study, max(counts))))
    for run in () if refused else rehearsals(study, plan):
        yield _named(study, _attempt(f"steps on {run.target}", lambda run=run: rehearse(run, study.example)))


def untried(plan: Plan, store: Store) -> bool:
    """Whether something is still to be trained of which no run has got anywhere: only then `deep` can tell news."""
    runs = [step for step in plan.steps if step.task == "train"]
    done = [s for s in runs if store.has(s) or any(store.scratch(s.task, s.key).glob("resume.*"))]
    return not {_kind(step) for step in runs} <= {_kind(step) for step in done}


def _kind(step: Step) -> tuple[object, ...]:
    """What decides whether a training run can begin."""
    names = ("network", "arm", "batch_size", "fraction", "trainable", "data", "weights")
    values = (step.params[name] for name in names)
    then = str((step.params["augment"] or {}).get("then"))
    return then, *(getattr(value, "fingerprint", None) or getattr(value, "key", value) for value in values)


def _attempt(name: str, look: object) -> Check:
    try:
        return Check(name, True, look())  # type: ignore[operator]
    except UserError as error:
        return Check(name, False, str(error))


def _named(study: Study, check: Check) -> Check:
    """The check as it is said of what the study's inputs are."""
    return replace(check, said=input_nouns.spoken(check.said, study.example.noun))


def _target(study: Study, target: str, look: bool) -> str:
    """Its splits, and a `look` at some of its images: one of every kind of file at least is opened and decoded."""
    listing, rows = split_rows(study, study.targets[target])
    if not len(rows["test"]):
        raise UserError(f"targets.{target}: no image is left for testing; raise split.test (it is {study.split.test}).")
    study.recipe.check_answers(listing.kind)
    what = "value" if listing.kind == "numbers" else "class"
    searched = [arm for arm in study.arms if len(study.recipe.rates(arm)) > 1]
    if searched and not decides(listing.labels[rows["val"]]):
        others = "values" if listing.kind == "numbers" else "classes"
        raise UserError(
            f"targets.{target}: the val split holds one {what} only, so that recipe.lr of the arm '{searched[0]}' "
            f"cannot be searched on it; give recipe.lr one number, or val images of other {others}."
        )
    said = ", ".join(f"{len(of):,} {word}" for word, of in rows.items())
    if listing.groups is not None:
        groups = np.array([group or f"\0{row}" for row, group in enumerate(listing.groups)])
        said += "; of groups " + ", ".join(f"{len(np.unique(groups[of])):,} {word}" for word, of in rows.items())
    notes = [*listing.notes, *lacking(listing.labels, rows, listing.classes)]
    if look:
        notes += study.kind.look(listing, study.data(target).params)
    return "\n".join(
        [f"{len(listing.names):,} {listing.holds}, {counted(len(listing.classes), listing.kind)} ({said})", *notes]
    )


def _store(store: Store) -> str:
    store.prepare()
    return f"{store.place} can be written"


def _disk(plan: Plan, store: Store) -> str:
    free = battery.disk_free(store.root)
    past = Past(store)
    needed = sum(past.of(step).bytes or 0 for step in plan.todo(store))
    if free < RESERVE + needed:
        raise UserError(
            f"{free / 1e9:.1f} GB are free at {store.root} but about {(needed + RESERVE) / 1e9:.1f} GB are "
            "needed; free some space or set resources.store to another disk."
        )
    return f"{free / 1e9:.0f} GB free" + (f", about {needed / 1e9:.1f} GB needed" if needed else "")


def _streamed(study: Study, store: Store) -> Iterator[Check]:
    """The targets whose squares would not find room as pixels, so that pictures are decoded again in every epoch."""
    if study.resources.table != "auto" or study.recipe.table_jpeg is not None or study.input != USUAL:
        return
    free = battery.disk_free(store.root)
    for target, of in study.targets.items():
        try:
            step, count = study.data(target), len(study.listing(of).names)
        except UserError:  # which the check of the target says
            continue
        size = count * study.kind.stored_bytes(step.params)
        if size > DISK_SHARE * free and not store.has(step):
            said = (
                f"decoded, its pictures take {size / 1e9:.1f} GB of {free / 1e9:.1f}: they will be decoded again in "
                f"every epoch; 'recipe.table_jpeg: 95' keeps them in about {size / SMALLER / 1e9:.1f} GB"
            )
            yield Check(f"table {target}", True, said)


def _matching() -> str:
    check_scipy()
    return "units are matched by scipy"


def _memory(study: Study, todo: Sequence[Step]) -> str:
    slots, machine = battery.known_slots(study, todo), this_machine()
    if executors.is_elsewhere(study.resources.executor):
        return "workers are on other machines, which are looked at when they start"
    need = len(slots.devices) * slots.processes * WORKER_MEMORY
    if need > machine.memory * 1.05 and len(slots.devices) * slots.processes > 1:
        each = f" of {slots.processes} processes each" if slots.processes > 1 else ""
        raise UserError(
            f"{len(slots.devices)} workers{each} need about {need / 1e9:.0f} GB but there are "
            f"{machine.memory / 1e9:.0f} GB; lower resources.slots{' or gpus_per_run' if each else ''}."
        )
    where = ", ".join(sorted(set(slots.devices)))
    spread = f"; a run spreads over {slots.processes} processes" if slots.processes > 1 else ""
    return f"{len(slots.devices)} worker(s) on {where}, {slots.threads} thread(s) each{spread}"


def _shares(study: Study, classes: int) -> str:
    from transferscope.models.build import build_network
    from transferscope.tasks.share_trial import IMAGES, try_shares

    net = build_network(study.network, classes, seed=0, drops=study.recipe.drops)
    try_shares(net.train(), study.example.example(IMAGES))
    return "an image is trained alike wherever the rest of its batch is"


def _arm(study: Study, arm: str, classes: int) -> str:
    from transferscope.models import inits
    from transferscope.models.build import build_network
    from transferscope.models.trial_step import trial
    from transferscope.models.usual_settings import remarks

    origin = study.checkpoints()[-1].weights if arm != "random" else None
    if isinstance(origin, Step):
        return "starts from the pretraining, which comes first"
    net = build_network(study.network, classes, seed=0, drops=study.recipe.drops)
    loaded = inits.start(
        arm,
        net,
        network=study.network,
        classes=classes,
        weights=origin.ref if origin else None,
        seed=0,
        head_seed=0,
        min_share=study.pretrained.min_share if study.pretrained else 0.0,
        allow=study.pretrained.allow if study.pretrained else (),
    )
    scaled = shares([name for name, _ in net.named_parameters()], study.recipe.lr_scale or {})
    warning = trial(net, in_words(study.network), classes, study.example)
    count = f"{sum(p.numel() for p in net.parameters()):,} parameters"
    count += f", {len(scaled):,} tensors of which train at a rate of their own" if scaled else ""
    lines = [f"{count}, random"] if loaded is None else [f"{count}; {loaded}", *loaded.sentences()]
    side = study.image_size if study.input == USUAL else None
    told = remarks(net, study.recipe.optimizer, side) if arm == study.arms[0] else []
    return "\n".join(filter(None, [*lines, warning, *told]))
