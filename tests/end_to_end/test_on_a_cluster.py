"""`run --on ray` and `--on slurm` do a whole study and write the bytes of a local run."""

from pathlib import Path

import pytest
import rays
from smoke import command

from transferscope import battery
from transferscope.study import Study

JOBS = ("--set", "resources.slurm={cluster: local, workers: 2, timeout_min: 20}")
ALIKE = ("--set", "resources.slots=1", "--set", "resources.threads=1")  # as the two workers of a local run, in each


def run(folder: Path, *arguments: str) -> str:
    done = command.transferscope("run", *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compare(here: Path, there: Path) -> None:
    assert (here / "results.json").read_bytes() == (there / "results.json").read_bytes()
    plan, store = battery.plan(Study.load(here / "study.yaml"))
    other = battery.plan(Study.load(there / "study.yaml"))[1]
    for step in plan.steps:
        mine, theirs = store.get(step).path, other.get(step).path
        for name in ("rows.json", "final.safetensors"):
            if (mine / name).exists():
                assert (mine / name).read_bytes() == (theirs / name).read_bytes(), (step.task, name)


@pytest.mark.slow
def test_ray_writes_the_bytes_of_a_local_run(trained: Path, fresh: Path) -> None:
    with rays.cluster():
        said = run(fresh, "--on", "ray")
    assert "on 2 worker(s) with 1 thread(s) each" in said
    compare(fresh, trained)


@pytest.mark.slow
def test_slurm_writes_the_bytes_of_a_local_run(trained: Path, fresh: Path) -> None:
    pytest.importorskip("submitit")
    said = run(fresh, "--on", "slurm", *JOBS, *ALIKE)
    assert "Another process" not in said, "jobs of one run are no strangers to each other"
    compare(fresh, trained)


def test_an_executor_that_is_none_is_one_sentence(fresh: Path, call) -> None:
    said = call("run", "--on", "rai", cwd=fresh)
    assert said.code == 2 and "resources.executor: 'rai' is not an executor; did you mean 'ray'" in " ".join(
        said.err.split()
    )
