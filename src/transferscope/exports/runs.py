"""The trained networks of a study by name: TARGET/ARM/SEED, or the key of any of its runs."""

from dataclasses import dataclass
from pathlib import Path

from transferscope.engine.artifact import Artifact
from transferscope.engine.plan import Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.errors import UserError, did_you_mean
from transferscope.study import Study

SHORT = 6  # characters of a key that still name one


@dataclass(frozen=True)
class TrainedRun:
    """A finished run and its table of inputs; `name` is TARGET/ARM/SEED, or the key of one that no arm stands for."""

    name: str
    result: Artifact
    data: Artifact


def named(study: Study) -> dict[str, Step]:
    """The run of every target, arm and seed by name, whether it is done or not."""
    return {
        f"{target}/{arm}/{seed}": study.run(target, arm, seed)
        for target in study.targets
        for arm in study.arms
        for seed in study.seeds
    }


def finished(study: Study, store: Store) -> list[TrainedRun]:
    """Those of every target, arm and seed that are done, in the order of the study."""
    return [_opened(name, step, store) for name, step in named(study).items() if store.has(step)]


def find(asked: str, study: Study, steps: Plan, store: Store) -> TrainedRun:
    """The run called `asked`: its name, its key or the beginning of one, or its folder in the store. UserError where
    the study has none, and for one that is not trained yet."""
    known = named(study)
    key = Path(asked).name
    trained = [step for step in steps.steps if step.task == "train"]
    found = [known[asked]] if asked in known else [s for s in trained if s.key.startswith(key) and len(key) >= SHORT]
    if not found:
        raise UserError(f"export: '{asked}' is no run of this study; {did_you_mean(asked, list(known))}")
    if len(found) > 1:
        raise UserError(f"export: '{asked}' begins the keys of {len(found)} runs; give more of it.")
    if not store.has(found[0]):
        raise UserError(f"export: the run '{asked}' is not trained yet; 'transferscope run' trains it.")
    names = {step.key: name for name, step in known.items()}
    return _opened(names.get(found[0].key, found[0].key), found[0], store)


def _opened(name: str, step: Step, store: Store) -> TrainedRun:
    data = step.params["data"]
    assert isinstance(data, Step)
    return TrainedRun(name, store.get(step), store.get(data))
