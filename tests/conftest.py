"""The smoke study, run once for all tests that look at a finished study."""

import gc
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
if PARALLEL:  # workers side by side; read before any of them loads torch
    os.environ["OMP_NUM_THREADS"] = "1"
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):  # else each of hundreds of processes compiles the project anew
    sys.dont_write_bytecode = False
os.environ["HF_HUB_OFFLINE"] = "1"  # a hub that cannot be reached is waited for
os.environ.setdefault("TRANSFERSCOPE_TRUST", "1")  # checkouts in containers often belong to somebody else

from filelock import FileLock  # noqa: E402
from smoke import command, study, targets  # noqa: E402


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers side by side begin with the files that have most slow tests, so that they end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    if PARALLEL:
        items.sort(key=lambda item: -slow[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end: the garbage collector never walks through its million objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """No test computes with more than one core, whatever a test before it left: the workers share the machine."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all pytest workers of this session have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if PARALLEL else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def finished(shared: Path) -> Path:
    """Its folder after one `transferscope run`; treat it as read-only."""
    folder = shared / "reference"
    with FileLock(shared / "finished.lock"):
        if not (folder / "said.txt").exists():
            study.write(folder)
            done = command.transferscope("run", cwd=folder)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "said.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def trained(shared: Path, finished: Path) -> Path:
    """The same with the analysis `transfer` alone, for tests that run it again and again; treat it as read-only."""
    folder, ready = shared / "trained", shared / "trained.ready"
    with FileLock(shared / "trained.lock"):
        if not ready.exists():
            shutil.copytree(finished, folder)
            shutil.rmtree(folder / "tables")
            (folder / "study.yaml").write_text(study.text("transfer"), encoding="utf-8")
            for verb in (("gc", "study.yaml", "--yes"), ("report",)):
                done = command.here(folder, *verb)
                assert done.code == 0, done.out + done.err
            ready.touch()
    return folder


@pytest.fixture(scope="session")
def numbers(shared: Path) -> Path:
    """A finished study of two numbers with every analysis that makes sense of them; treat it as read-only."""
    folder, ready = shared / "numbers", shared / "numbers.ready"
    with FileLock(shared / "numbers.lock"):
        if not ready.exists():
            targets.write(folder)
            done = command.here(folder, "run")
            assert done.code == 0, done.out + done.err
            ready.write_text(done.out, encoding="utf-8")
    return folder


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that transferscope logs while a test runs."""
    lines: list[str] = []
    heard = logging.Handler()
    heard.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("transferscope")
    level = log.level
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(heard)
    log.setLevel(level)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained study that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "study"))


@pytest.fixture
def fresh(trained: Path, tmp_path: Path) -> Path:
    """The study of `trained` with nothing done yet."""
    return study.inputs(trained, tmp_path / "study")


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """``call("check", "--set", "seeds=1", cwd=folder)`` is the command line inside this process."""

    def run(*arguments: object, cwd: Path | None = None) -> command.Said:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        return command.inside(capsys, *arguments)

    return run
