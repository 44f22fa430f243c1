"""A disk that is full, for real: a small file system of our own where we may mount one, else the kernel's /dev/full."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import tasks

from transferscope.engine.store import Store
from transferscope.engine.task_context import Work
from transferscope.engine.worker import execute


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Store]:
    """A store on a disk of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", place], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here; /dev/full stands in below")
    try:
        store = Store(place / "store")
        store.prepare()
        yield store
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_step_that_fills_the_disk_keeps_its_save_and_is_done_once_there_is_room(small: Store) -> None:
    ballast = small.root / "ballast"
    ballast.write_bytes(bytes(600_000))
    step = tasks.fill.step(size=700_000, onto="")
    outcome = execute(step.job, small, Work(small.root))
    assert outcome.status == "failed" and "the disk is full" in outcome.error and "\n" not in outcome.error
    assert not small.has(step)
    assert (small.scratch("fill", step.key) / "save.txt").read_text() == "0123456789"
    ballast.unlink()
    (small.scratch("fill", step.key) / "large.bin").unlink(missing_ok=True)
    assert execute(step.job, small, Work(small.root)).status == "done"
    assert small.get(step).inspect() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_device_fails_that_step_alone(store) -> None:
    full, good = tasks.fill.step(size=4096, onto="/dev/full"), tasks.number.step(value=1)
    outcome = execute(full.job, store, Work(store.root))
    assert outcome.status == "failed" and "the disk is full" in outcome.error
    assert not store.has(full) and execute(good.job, store, Work(store.root)).status == "done"
