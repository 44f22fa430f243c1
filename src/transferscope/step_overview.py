"""Every step of a study, whether it is done, and what the rest will cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from transferscope import battery
from transferscope.charts import in_notebooks as html
from transferscope.engine.estimate import Estimate
from transferscope.engine.plan import Plan
from transferscope.engine.step import KEEPS, Keep, Step
from transferscope.engine.store import Store
from transferscope.errors import worded
from transferscope.forecast import Forecast
from transferscope.study import Study
from transferscope.timing.size import weights_bytes


@dataclass(frozen=True, repr=False)
class Outlook:
    """The steps of a plan, those of them `missing` from the store, how many `workers` will do them, and the forecast
    of what they cost."""

    steps: Plan
    missing: Sequence[Step]
    workers: int
    forecast: Forecast

    @property
    def total(self) -> Estimate:
        """Seconds of all workers together at the clock, None where they are not known, and bytes of the disk."""
        return self.forecast.total(self.missing, self.workers)

    @property
    def kept(self) -> dict[Keep, int]:
        """Bytes of what is to do that stay when all is done, by what `resources.keep` may say."""
        return {keep: self.forecast.kept(self.missing, keep) for keep in reversed(KEEPS)}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A record for every step: task, key, labels, whether it is cached, and the seconds of one worker."""
        todo, labels = {step.key for step in self.missing}, self.steps.labels()
        return [
            {
                "task": step.task,
                "key": step.key,
                "labels": dict(labels[step.key]),
                "cached": step.key not in todo,
                "seconds": self.forecast.of(step).seconds,
            }
            for step in self.steps.steps
        ]

    def table(self) -> pl.DataFrame:
        """The same as a table, the labels in words."""
        rows = [{**row, "labels": worded(row["labels"])} for row in self.rows]
        kinds = {"task": pl.String, "key": pl.String, "labels": pl.String, "cached": pl.Boolean, "seconds": pl.Float64}
        return pl.DataFrame(rows, schema=kinds)

    @property
    def said(self) -> str:
        """How much there is to do, in a sentence."""
        count, left = len(self.steps.steps), len(self.missing)
        runs = sum(step.task == "train" for step in self.steps.steps)
        done = f"{count} steps ({runs} of them training runs), {count - left} cached"
        return f"{done}, {left} to do on {self.workers} worker(s)."

    def __repr__(self) -> str:
        return self.said

    def _repr_html_(self) -> str:
        return html.piece("Plan", html.paragraphs([self.said]), html.table(self.table().drop("key")))


def outlook(study: Study, steps: Plan, store: Store, *, ask: bool = False, run_seconds: float | None = None) -> Outlook:
    """What is to do and what it will cost, were a training run to take `run_seconds` if that is given; the network is
    timed for a moment where nothing else tells, if `ask`."""
    missing = steps.todo(store)
    workers = len(battery.known_slots(study, missing).devices)
    forecast = battery.forecast(study, store, missing, ask=ask and run_seconds is None)
    if run_seconds is not None:
        forecast = forecast.paced(missing, run_seconds, weights_bytes(study.network, study.memo))
    return Outlook(steps, missing, workers, forecast)
