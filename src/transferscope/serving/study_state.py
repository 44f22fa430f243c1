"""A study as it stands now, for a page that shows it: every step's state, learning curves, logs, the time left.

All of it is read from the store: no lock is taken there and nothing is written, so that any number of these look at it
while a run goes on.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from transferscope import battery, run_status
from transferscope.answers import metric
from transferscope.engine.artifact import ROWS
from transferscope.engine.plan import Plan
from transferscope.engine.step import Step
from transferscope.engine.store import SCRATCH, Store
from transferscope.errors import UserError, legible, worded
from transferscope.serving import safe_files
from transferscope.study import Study
from transferscope.tasks import live_curve

FRESH = 1.0  # seconds for which one look serves all who ask
AGAIN = 20.0  # seconds between two plans of a study, and between two forecasts, at least
TAIL = 1 << 16  # bytes of a log that are shown
PROGRESS = ("epoch", "epochs", "done", "total", "metric")
SHOWN = ("val_metric", "test_metric", "train_metric", "val_loss", "test_loss", "train_loss")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")  # colours, links of terminals
Opened = tuple[Study, Plan, Store]


class Watched:
    """What the study given by `opened` shows; `file` is where it is written. Any thread may ask.

    `opened` plans it without writing, and is asked again when its file changes, when seeds are added, and when a run
    of the study does steps that nobody here knows of. Raises UserError as `opened` does, the first time only.
    """

    def __init__(self, file: Path, opened: Callable[[], Opened]) -> None:
        self.file, self._opened = file, opened
        self._lock = threading.Lock()
        self._seen: tuple[float, dict[str, Any]] = (-FRESH, {})
        self._problem = ""
        self._done: dict[str, dict[str, Any]] = {}  # what step.json says of steps that are done, by key
        self._rows: dict[str, tuple[Any, list[dict[str, Any]]]] = {}  # rows of trainings, by key, and of which file
        self._forecast: tuple[float, frozenset[str], float | None] = (-AGAIN, frozenset(), None)
        self._unknown: frozenset[str] = frozenset()
        self._plan()

    # -- what is shown -------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where the page, its figures and tables lie."""
        return self.study.folder

    def state(self) -> dict[str, Any]:
        """Every step and how it is doing, the runs that are at work, and the time left."""
        with self._lock:
            when, said = self._seen
            if time.monotonic() - when >= FRESH:
                self._plan_again()
                said = self._look()
                self._seen = (time.monotonic(), said)
            return said

    def curves(self, of: str) -> dict[str, Any]:
        """The epochs of every training and one of `SHOWN` in each, by target. KeyError for another."""
        if of not in SHOWN:
            raise KeyError(of)
        states = {one["key"]: one["state"] for one in self.state()["steps"]}
        with self._lock:
            panels: dict[str, dict[str, Any]] = {}
            for step in self.steps.steps:
                rows = self._rows_of(step) if step.task == "train" and step.key in states else []
                points = [(row["epoch"], row[of]) for row in rows if _number(row.get(of)) and _number(row.get("epoch"))]
                if not points:
                    continue
                target = self._targets.get(getattr(step.params.get("data"), "key", ""), "")
                panel = panels.setdefault(target, {"title": target, "metric": "", "runs": []})
                panel["metric"] = str(rows[-1].get("metric", ""))
                if of.endswith("_metric") and metric(panel["metric"]).error:  # it is held as its negative
                    points = [(x, -y) for x, y in points]
                run: dict[str, Any] = {"key": step.key, "name": self._names[step.key]}
                run |= {
                    "arm": str(step.params.get("arm", "")),
                    "state": states[step.key],
                    "epochs": step.params.get("epochs"),
                }
                panel["runs"].append({**run, "x": [x for x, _ in points], "y": [round(y, 5) for _, y in points]})
            return {"of": of, "panels": list(panels.values())}

    def log(self, key: str) -> dict[str, Any]:
        """What a step printed, and why it failed. KeyError where the study has no such step."""
        state = next(one for one in self.state()["steps"] if one["key"] == key) if key in self._by_key else None
        if state is None:
            raise KeyError(key)
        task = state["task"]
        places = (
            ("Where it failed", ("failures", f"{task}-{key}.txt")),
            ("What it printed so far", (SCRATCH, f"{task}-{key}", "log.txt")),
            ("What it printed", (task, key, "log.txt")),
        )
        parts = []
        for title, place in places if state["state"] != "done" else places[2:]:
            found = safe_files.read(self.store.root, place, last=TAIL)
            if found is not None and found.size:
                cut = found.size - len(found.content)
                parts.append({"title": title, "text": _plain(found.content), "cut": cut, "changed": found.changed})
        return {**state, "parts": parts}

    # -- the plan ------------------------------------------------------------------------------------------------

    def _plan(self) -> None:
        self.study, self.steps, self.store = self._opened()
        labels = self.steps.labels()
        self._by_key = {step.key: step for step in self.steps.steps}
        self._names = {key: legible(f"{step.task} {worded(labels[key])}".strip()) for key, step in self._by_key.items()}
        self._targets = {self.study.data(name).key: name for name in self.study.targets}
        self._planned, self._changed = time.monotonic(), _changed(self.file)

    def _plan_again(self) -> None:
        """Plan anew where the present plan may be an old one; what is wrong then is told, and the old one stays."""
        changed = _changed(self.file)
        unknown = frozenset(key for run in self._runs() for key in run["running"] if key not in self._by_key)
        grown = self.study.growing is not None and not self.steps.todo(self.store)
        if changed == self._changed and (
            time.monotonic() - self._planned < AGAIN or not (grown or unknown - self._unknown)
        ):
            return
        self._unknown |= unknown
        try:
            self._plan()
            self._problem = ""
        except UserError as error:
            self._problem, self._changed, self._planned = str(error), changed, time.monotonic()

    # -- one look ------------------------------------------------------------------------------------------------

    def _runs(self) -> list[dict[str, Any]]:
        return run_status.heard(self.store)

    def _look(self) -> dict[str, Any]:
        runs, now = self._runs(), time.time()
        todo = {step.key for step in self.steps.todo(self.store)}
        running = {key: said for run in runs for key, said in run["running"].items() if isinstance(said, dict)}
        lost = {key: said for run in runs for key, said in run["lost"].items() if isinstance(said, dict)}
        earlier = battery.failures(self.store)
        ours = [run for run in runs if any(key in self._by_key for key in (*run["running"], *run["lost"]))]
        steps = [self._step(step, todo, running, lost, earlier, bool(ours), now) for step in self.steps.steps]
        counts: dict[str, int] = {}
        for one in steps:
            counts[one["state"]] = counts.get(one["state"], 0) + 1
        page = safe_files.changed(self.folder, ("report.html",))
        return {
            "study": legible(self.study.name),
            "file": legible(str(self.file)),
            "at": now,
            "problem": self._problem,
            "page": None if page is None else page[0] / 1e9,
            "runs": [
                {
                    **{name: run[name] for name in ("study", "host", "pid", "began", "told", "total", "workers")},
                    "left": run["left"] - (now - run["at"]) if _number(run["left"]) else None,
                    "unknown": sum(key not in self._by_key for key in run["running"]),
                }
                for run in runs
            ],
            "left": None if runs else self._foreseen(todo),
            "to_do": len(todo),
            "counts": counts,
            "steps": steps,
        }

    def _step(
        self,
        step: Step,
        todo: set[str],
        running: Mapping[str, dict[str, Any]],
        lost: Mapping[str, dict[str, Any]],
        earlier: Mapping[str, str],
        goes_on: bool,
        now: float,
    ) -> dict[str, Any]:
        """One line of the page. A step of which no run tells has failed if the last run to try it says so."""
        key = step.key
        said: dict[str, Any] = {"key": key, "task": step.task, "name": self._names[key], "error": ""}
        if self.store.has(step):
            return {**said, "state": "done", "seconds": self._said(step).get("seconds")}
        if key in running:
            how = running[key]
            told = {name: how[name] for name in PROGRESS if _number(how.get(name))}
            began = how["began"] if _number(how.get("began")) else now
            done = how["share"] if _number(how.get("share")) else 0.0
            return {**said, "state": "running", "share": done, "seconds": max(0.0, now - began), **told}
        if key in lost:
            state = "failed" if lost[key].get("status") == "failed" else "not run"
            return {**said, "state": state, "error": str(lost[key].get("error", ""))}
        if key not in todo:
            return {**said, "state": "not needed"}
        if key in earlier and not goes_on:
            state = "not run" if earlier[key].startswith("not run") else "failed"
            return {**said, "state": state, "error": earlier[key]}
        if (self.store.scratch(step.task, key)).is_dir():
            return {**said, "state": "begun"}
        return {**said, "state": "waiting", "error": f"In an earlier run: {earlier[key]}" if key in earlier else ""}

    def _said(self, step: Step) -> dict[str, Any]:
        """What `step.json` of a step that is done says."""
        if step.key not in self._done:
            with suppress(OSError, UserError):  # gone, or damaged, which a run tells
                self._done[step.key] = self.store.artifact(step.task, step.key).said
        return self._done.get(step.key, {})

    def _rows_of(self, step: Step) -> list[dict[str, Any]]:
        """The epochs of a training: its result, or what it has told so far."""
        where = (step.task, step.key, ROWS) if self.store.has(step) else (*_scratch(step), live_curve.FILE)
        mark = (where, safe_files.changed(self.store.root, where))
        known = self._rows.get(step.key)
        if known is None or known[0] != mark:
            self._rows[step.key] = known = (mark, self._read(step, where))
        return known[1]

    def _read(self, step: Step, where: tuple[str, ...]) -> list[dict[str, Any]]:
        found = safe_files.read(self.store.root, where)
        if found is None:
            return []
        try:
            rows = json.loads(found.content) if where[-1] != ROWS else self.store.artifact(step.task, step.key).rows
        except (ValueError, OSError, UserError):
            return []
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _foreseen(self, todo: set[str]) -> float | None:
        """Seconds that a run would take now, by what finished steps and remembered timings tell; None: they do not."""
        when, of, seconds = self._forecast
        if todo != of and time.monotonic() - when >= AGAIN:
            missing = [step for step in self.steps.steps if step.key in todo]
            seconds = None
            with suppress(UserError, OSError):  # data that cannot be read, which the next run tells
                workers = len(battery.known_slots(self.study, missing).devices)
                seconds = battery.forecast(self.study, self.store, missing).total(missing, workers).seconds
            self._forecast = (time.monotonic(), frozenset(todo), seconds)
        return seconds if todo == self._forecast[1] else None


def _scratch(step: Step) -> tuple[str, str]:
    return SCRATCH, f"{step.task}-{step.key}"


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e300


def _changed(file: Path) -> tuple[int, int] | None:
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size


def _plain(content: bytes) -> str:
    """A log as text: of lines that a progress bar wrote over each other the last, and no escape codes."""
    text = ESCAPES.sub("", content.decode("utf-8", errors="replace").replace("\r\n", "\n"))
    return "\n".join(legible(line.rstrip("\r").rpartition("\r")[2].expandtabs()) for line in text.split("\n"))
