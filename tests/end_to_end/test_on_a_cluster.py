"""`run --on slurm` does a whole study and writes the bytes of a local run, as `--on ray` does (engine/test_ray.py)."""

from pathlib import Path

import pytest
from smoke import command, study

JOBS = ("--set", "resources.slurm={cluster: local, workers: 2, timeout_min: 20}")
ALIKE = ("--set", "resources.slots=1", "--set", "resources.threads=1")  # as the two workers of a local run, in each


def run(folder: Path, *arguments: str) -> str:
    done = command.transferscope("run", *arguments, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_slurm_writes_the_bytes_of_a_local_run(trained: Path, fresh: Path) -> None:
    pytest.importorskip("submitit")
    said = run(fresh, "--on", "slurm", *JOBS, *ALIKE)
    assert "Another process" not in said, "jobs of one run are no strangers to each other"
    study.assert_alike(fresh, trained)


def test_an_executor_that_is_none_is_one_sentence(fresh: Path, call) -> None:
    said = call("run", "--on", "rai", cwd=fresh)
    assert said.code == 2 and "resources.executor: 'rai' is not an executor; did you mean 'ray'" in " ".join(
        said.err.split()
    )
