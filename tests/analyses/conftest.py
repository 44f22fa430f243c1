"""One smoke study, run once, that the tests of the pair analyses read: two arms, two seeds, two epochs."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from smoke import study as smoke

from transferscope import analyses, battery
from transferscope.engine.plan import Plan
from transferscope.engine.store import Store
from transferscope.engine.table import ResultTable, gather
from transferscope.engine.task_context import Work
from transferscope.engine.worker import Outcome, execute
from transferscope.section import Section
from transferscope.study import Study

PAIRS = ("mistakes", "similarity", "distance", "spectrum")


@dataclass(frozen=True)
class Finished:
    """A study with everything done, in this process."""

    study: Study
    plan: Plan
    store: Store
    outcomes: dict[str, Outcome]

    def table(self, analysis: str) -> ResultTable:
        return gather([cell for cell in self.plan.cells if cell.analysis == analysis], self.store)

    def section(self, analysis: str, table: ResultTable | None = None) -> Section:
        options = analyses.options(analysis, self.study.analyses[analysis])
        return analyses.load(analysis).section(table or self.table(analysis), options)


def finish(path: Path, changes: dict[str, str]) -> Finished:
    """Run every step of a study file one after the other in this process; a failure fails the test."""
    study = Study.load(path, changes)
    plan, store = battery.plan(study)
    store.prepare()
    outcomes = {}
    for step in plan.todo(store):
        outcomes[step.key] = execute(step.job, store, Work(store.root))
        assert outcomes[step.key].status == "done", (step.task, outcomes[step.key].error)
    return Finished(study, plan, store, outcomes)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The smoke study with the four analyses of pairs."""
    path = smoke.write(tmp_path_factory.mktemp("smoke"))
    return finish(path, {"analyses": "[" + ", ".join(PAIRS) + "]"})
