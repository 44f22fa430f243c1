"""What the driver and the workers of a run on Slurm tell each other, as files beside the results; none is executed.

`plan.json` holds the steps, `ended/KEY.json` how each ended, `workers/NAME.json` what a worker is at; a file
`stop` ends them all.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferscope import atomic_files
from transferscope.engine.step import Step, from_job
from transferscope.engine.worker import Outcome

ENDED = ("done", "cached", "failed")  # others are begun again, or follow from these


@dataclass(frozen=True)
class Run:
    """The folder of one run."""

    folder: Path

    def begin(self, steps: Iterable[Step]) -> None:
        """Write the plan, inputs before what needs them."""
        for name in ("ended", "workers"):
            (self.folder / name).mkdir(parents=True)
        jobs = [{"job": step.job, "inputs": [one.key for one in step.inputs]} for step in steps]
        atomic_files.write_json(self.folder / "plan.json", jobs)

    def steps(self) -> list[Step]:
        """The plan: steps to do, and among their inputs those that are to be done."""
        found: dict[str, Step] = {}
        for one in json.loads((self.folder / "plan.json").read_text(encoding="utf-8")):
            inputs = tuple(found[key] for key in one["inputs"] if key in found)
            found[one["job"]["key"]] = from_job(one["job"], inputs)
        return list(found.values())

    def stop(self) -> None:
        (self.folder / "stop").touch()

    @property
    def stopping(self) -> bool:
        """Whether the driver asks all workers to end, or has ended itself and removed what they told each other."""
        return (self.folder / "stop").exists() or not self.folder.exists()

    def note(self, outcome: Outcome) -> None:
        """Tell all how a step ended. What another worker did has been told by it."""
        file = self.folder / "ended" / f"{outcome.key}.json"
        if not self.folder.exists():  # nobody waits for it any more
            return
        if outcome.status in ENDED and not (outcome.status == "cached" and file.exists()):
            atomic_files.write_json(file, asdict(outcome))

    def failed(self, step: Step) -> Outcome | None:
        """How a step ended that a worker of this run has tried in vain."""
        outcome = self._outcome(self.folder / "ended" / f"{step.key}.json")
        return outcome if outcome is not None and outcome.status == "failed" else None

    def ended(self, but: Mapping[str, Any]) -> list[Outcome]:
        """How steps ended of which nobody knew yet."""
        files = (self.folder / "ended").glob("[!.]*.json")
        found = [self._outcome(file) for file in files if file.stem not in but]
        return [outcome for outcome in found if outcome is not None]

    def at(self, worker: str, what: Mapping[str, Any] | None) -> None:
        """Tell what a worker is at; None when it is gone."""
        file = self.folder / "workers" / f"{worker}.json"
        with suppress(OSError):  # of a run whose driver has removed the folder
            file.unlink(missing_ok=True) if what is None else atomic_files.write_json(file, what)

    def workers(self) -> dict[str, dict[str, Any]]:
        """What every worker is at, by its name."""
        return {file.stem: said for file in (self.folder / "workers").glob("[!.]*.json") if (said := _read(file))}

    @staticmethod
    def _outcome(file: Path) -> Outcome | None:
        return None if (said := _read(file)) is None else Outcome(**said)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # it is not there yet, or no more
        return None
    return said
