"""A study that grows: one more seed, one more analysis, somebody's own; nothing old is computed again."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smoke import study
from smoke.command import environment, transferscope

PATHS = environment()["PYTHONPATH"]
COUNTS = '''
"""Counts: how many rows every training run has left.

How to read it. Two epochs leave three rows.
"""

from transferscope import analyses
from transferscope.engine.step import task
from transferscope.section import Finding, Section, View


class Options(analyses.Options):
    """`times` multiplies every count."""

    times: int = 1


@task("lab_count", version=1)
def count(*, run, times, work):
    """One row with the number of rows of a run."""
    return [{"rows": times * len(run.rows)}]


def plan(study, options):
    """One count a training run."""
    for target in study.targets:
        for arm in study.arms:
            for seed in study.seeds:
                step = count.step(run=study.run(target, arm, seed), times=options.times)
                yield {"target": target, "arm": arm, "seed": seed}, step


def section(table, options):
    """The counts."""
    return Section("Rows counted", [Finding(f"{table.rows.height} runs were counted.")], tables=[
        View("counts", "Counts", table.rows)])
'''


@pytest.fixture
def lab(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Somebody's own package `lab` beside the study, which can be imported while the test runs."""
    (copied / "lab").mkdir()
    (copied / "lab" / "__init__.py").touch()
    (copied / "lab" / "counts.py").write_text(COUNTS, encoding="utf-8")
    monkeypatch.syspath_prepend(copied)
    yield
    for name in ("lab", "lab.counts"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_one_more_seed_and_one_more_analysis(copied: Path, lab: None, call) -> None:
    before = study.times(copied)
    grown = (copied / "study.yaml").read_text(encoding="utf-8").replace("seeds: 2", "seeds: 3")
    grown = grown.replace("analyses: {", 'analyses: {"lab.counts": {}, ')
    (copied / "study.yaml").write_text(grown, encoding="utf-8")

    done = transferscope("run", "--set", "resources.slots=1", cwd=copied, PYTHONPATH=f"{copied}:{PATHS}")
    assert done.returncode == 0, done.stdout + done.stderr
    after = study.times(copied)
    assert before.items() <= after.items(), "a result that was there was touched"
    assert len(list((copied / "store" / "train").iterdir())) >= 6
    assert len(list((copied / "store" / "lab_count").iterdir())) == 6
    assert "6 runs were counted." in (copied / "report.html").read_text(encoding="utf-8")
    page = (copied / "report.html").read_text(encoding="utf-8")
    assert "Two epochs leave three rows." in page, "its docstring is on the page"
    table = (copied / "tables" / "lab-counts.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "target,arm,seed,rows" and len(table) == 7 and all(line.endswith(",3") for line in table[1:])

    # An option of one analysis is in the keys of that analysis only.
    changed = grown.replace('"lab.counts": {}', '"lab.counts": {"times": 2}')
    (copied / "study.yaml").write_text(changed, encoding="utf-8")
    plan = call("plan", "--json", "--no-calibrate", cwd=copied)
    assert plan.code == 0, plan.err
    todo = [step for step in json.loads(plan.out)["steps"] if not step["cached"]]
    assert [step["task"] for step in todo] == ["lab_count"] * 6


def test_options_of_somebody_s_own_analysis_are_strict(copied: Path, lab: None, call) -> None:
    done = call("plan", "--set", "analyses={lab.counts: {tmes: 2}}", cwd=copied)
    assert done.code == 2
    assert "analyses.lab.counts: unknown key 'tmes'; did you mean 'times'?" in done.err
