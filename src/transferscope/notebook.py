"""A study in Python: what the verbs of the command line do, as methods, for notebooks and scripts."""

import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from transferscope import adding_seeds, battery, preflight, rounds, study
from transferscope.against import read
from transferscope.charts import in_notebooks as html
from transferscope.comparison import studies as side_by_side
from transferscope.comparison.studies import Comparison
from transferscope.console import lines, stopping
from transferscope.console.watch import watched
from transferscope.engine.executors import Executor
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError
from transferscope.preflight import Check
from transferscope.report.results import Results
from transferscope.run_status import Live
from transferscope.step_overview import Outlook, outlook
from transferscope.study.explain import NO_KEYS
from transferscope.study.file import StudyFile

Progress = bool | Callable[[str, Mapping[str, Any]], object]
RESUME = "study.run()"
log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Checks:
    """What the preflight says, `all` of it; a study is `ready` where nothing was refused."""

    all: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        return all(one.ok for one in self.all)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.all)

    def __repr__(self) -> str:
        return "\n".join(self._said())

    def _repr_html_(self) -> str:
        return html.piece("Ready" if self.ready else "Refused", html.listed(self._said()))

    def _said(self) -> list[str]:
        return [f"{'ok' if one.ok else 'refused'} {one.name}: {one.said}" for one in self.all]


class Study:
    """A study of the keys that a study file has (docs/study-file.md), which `folder` holds the results of.

    `Study(targets="folder:images", network="timm:resnet18")` says them here; `Study.load("study.yaml")` reads a file.
    Relative paths start from `folder`. Raises UserError for keys and values that a study file may not have either.
    """

    __signature__ = inspect.Signature(  # the keys, for whoever asks for help or completes them
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if one.is_required() else one.default,
            )
            for name, one in StudyFile.model_fields.items()
            if name not in {*NO_KEYS, "extends"} - {"folder"}
        ]
    )

    def __init__(self, *, folder: Path | str = ".", **keys: Any) -> None:
        self._study = study.Study.parse(keys, where="Study", folder=Path(folder))
        self._file = Path(folder) / "resolved.yaml"  # which its results write; the store knows the study by it

    @classmethod
    def load(cls, path: Path | str, changes: Mapping[str, Any] | None = None) -> Self:
        """The study of a file, with `changes` such as `{"recipe.epochs": 3}`. Raises UserError as the verbs do."""
        made = cls.__new__(cls)
        said = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (changes or {}).items()}
        made._study = study.Study.load(path, said)
        made._file = Path(path)
        return made

    def check(self) -> Checks:
        """Read the data and weights, build every arm, take one step; nothing is trained."""
        now, steps, store = self._present()
        checks = list(preflight.quick(now, steps, store))
        if all(one.ok for one in checks):
            checks += preflight.deep(now, steps)
        return Checks(tuple(checks))

    def plan(self, *, calibrate: bool = False) -> Outlook:
        """The steps, which of them are cached, and what the rest will cost; `calibrate` times the network for a moment
        where no past run tells."""
        return outlook(*self._present(), ask=calibrate)

    def run(self, *, progress: Progress = True, retry_failed: bool = True, restore: bool = False) -> Results:
        """Do what is missing, by `resources.executor`, and write the page; what is in the store is not done again.

        `progress`: True prints as the command line does, False nothing, and a function hears every event of the
        executor: `progress("started" | "progress" | "ended", {"key": ..., ...})`. An interrupt saves and raises
        KeyboardInterrupt; calling it again goes on from there. `restore` does again what was let go
        (`resources.keep`), and lets nothing go. Raises UserError where the preflight refuses.
        """
        to = lines.out if progress is True else lines.silent

        def do(now: rounds.Round) -> tuple[dict[str, Outcome], bool]:
            with _interruptible(now.executor) as signals:
                if callable(progress):
                    workers = len(now.executor.slots.devices)
                    heard = partial(_heard, progress)
                    with Live(now.store, now.study.name, len(now.todo), workers, heard) as told:
                        found = now.executor.run(now.todo, now.store, told)
                else:
                    found = watched(now, to, live=to.is_terminal and not to.is_jupyter)
            return found, bool(signals)

        done = rounds.finish(
            self._present,
            do,
            file=self._file,
            tell=to.print,
            warn=log.warning,
            retry_failed=retry_failed,
            whole=restore,
        )
        if done.stopped:
            raise KeyboardInterrupt
        if done.failed:
            log.warning("%d steps failed, the first of them: %s", len(done.failed), done.failed[0].error)
        return battery.results(done.study, done.outcomes)

    def results(self, *, folder: Path | str | None = None, against: str | None = None) -> Results:
        """Tables, findings and charts of what the store holds, and the page anew (in `folder`, if one is given);
        nothing is computed. `against`: "paper" or a YAML file, to hold the study beside published numbers."""
        published = None if against is None else read(against)
        return battery.results(self._present()[0], folder=None if folder is None else Path(folder), published=published)

    def resolved(self) -> str:
        """The study as YAML with every default written out, which a file may hold."""
        return self._study.resolved()

    def __repr__(self) -> str:
        return f"Study '{self._study.name}' in {self._study.folder}"

    def _present(self) -> rounds.Opened:
        return adding_seeds.present(self._study)


def compare(studies: Sequence[Study | Path | str]) -> Comparison:
    """Studies side by side, from what their stores hold: what differs, what each found, and the differences with their
    intervals, paired by seed and image where that may be. Nothing is computed.

    `studies`: two or more study files, folders of studies, or `Study`s; the others are held against the first.
    `.table()` has every number, `.write("page.html")` the page. Raises UserError as `transferscope compare` does.
    """
    if not isinstance(studies, Sequence) or not all(isinstance(one, Study | Path | str) for one in studies):
        raise UserError("compare: studies is not a list of study files, folders or Studies.")
    return side_by_side.compare([one._study if isinstance(one, Study) else one for one in studies])


@contextmanager
def _interruptible(executor: Executor) -> Iterator[list[int]]:
    """Signals stop the executor, where Python lets them be heard: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    with stopping.stoppable(executor, RESUME) as signals:
        yield signals


def _heard(progress: Callable[[str, Mapping[str, Any]], object], event: str, what: Mapping[str, Any]) -> None:
    progress(event, what)
