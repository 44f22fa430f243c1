"""Rounds: what a study lacks is done, look by look, until nothing is left, or something stops it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transferscope import battery, preflight, retention, store_users
from transferscope.engine.executors import Executor
from transferscope.engine.plan import Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError
from transferscope.preflight import Check
from transferscope.retention import NOTHING, Relieved
from transferscope.study import Study

Opened = tuple[Study, Plan, Store]


class Refused(UserError):
    """What the preflight refused; `checks` are all that it said."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        lost = [f"{one.name}: {one.said}" for one in checks if not one.ok]
        super().__init__(f"The study cannot run: {' '.join(lost)}")


@dataclass(frozen=True)
class Round:
    """Steps that are about to be done, and by whom."""

    study: Study
    steps: Plan
    store: Store
    todo: Sequence[Step]
    executor: Executor


@dataclass
class Done:
    """How far a study came: at its present look, with how every step of this run ended."""

    study: Study
    steps: Plan
    store: Store
    began: int  # steps that were to do at first
    left: Collection[str]  # keys of steps that were not tried, because they had failed before
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    stopped: bool = False
    relieved: Relieved = NOTHING  # what was let go of in the end

    @property
    def failed(self) -> list[Outcome]:
        """The outcomes of steps that failed themselves."""
        return [one for one in self.outcomes.values() if one.status == "failed"]


def finish(
    opened: Callable[[], Opened],
    do: Callable[[Round], tuple[Mapping[str, Outcome], bool]],
    *,
    file: Path,
    tell: Callable[[str], object],
    warn: Callable[[str], object],
    retry_failed: bool = True,
    whole: bool = False,
) -> Done:
    """Have `do` do what is missing, round after round: it returns how steps ended, and whether it was stopped.

    `opened` gives the study at its present look, of which a later one may have more seeds; the store keeps that its
    results are for the study in `file`. Results that are found damaged on the way are done once more. Raises Refused
    before a round that the preflight refuses. `tell` hears how the study goes on, `warn` what is wrong with its store.

    In the end what the study does not keep is let go; with `whole` nothing is, and what was let go earlier is done
    again.
    """
    study, steps, store = opened()
    store_users.register(file, steps, store, study.resources.keep)
    for said in store.damaged(steps.steps):
        warn(said)
    left = set() if retry_failed else battery.failures(store).keys()
    done = Done(study, steps, store, len(steps.todo(store, whole=whole)), left)
    anew: set[str] = set()  # steps whose results were found damaged on the way
    while todo := [step for step in done.steps.todo(done.store, whole=whole) if step.key not in left]:
        found, done.stopped = do(_checked(done, todo))
        done.outcomes |= found
        battery.remember(done.store, done.outcomes)
        if done.stopped:
            return done
        if missing := {step.key for step in done.steps.todo(done.store, whole=whole)} - left:
            lost = missing - {step.key for step in todo} - anew
            if not lost:
                break
            anew |= lost
            continue
        looked = done.study
        done.study, done.steps, done.store = opened()
        store_users.register(file, done.steps, done.store, done.study.resources.keep)
        if (seeds := len(looked.seeds)) < len(done.study.seeds):
            tell(f"With {seeds} seeds a claim is undecided: seed {len(done.study.seeds)} is added.")
            battery.results(looked, done.outcomes)  # the page of this look stands until the next one's
    if not whole:
        done.relieved = retention.relieve(file, done.study.resources.keep, done.steps, done.store)
    return done


def _checked(done: Done, todo: Sequence[Step]) -> Round:
    """The next round, which the preflight lets pass. Raises Refused."""
    checks = list(preflight.quick(done.study, done.steps, done.store, decoded=False))
    if all(c.ok for c in checks) and preflight.untried(done.steps, done.store):
        checks += preflight.deep(done.study, done.steps)
    if not all(c.ok for c in checks):
        raise Refused(checks)
    return Round(done.study, done.steps, done.store, todo, battery.executor(done.study, todo))
