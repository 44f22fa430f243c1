"""The command line as a user calls it: in a process of its own, or (quicker) inside the test."""

import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

SUPPORT = Path(__file__).parents[1]
SOURCE = SUPPORT.parents[1] / "src"
HANGS = 500.0  # seconds no verb takes, however slow or busy the machine; pytest itself gives up a little later


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the project and the test networks importable, offline, one thread."""
    paths = [str(SOURCE), str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return {**os.environ, **ours, **more}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "transferscope", *map(str, arguments)]


def transferscope(
    *arguments: str | Path, cwd: Path | None = None, timeout: float = HANGS, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end; what it printed and its exit code."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def started(*arguments: str | Path, cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """A verb in a process group of its own, to be signalled while it runs."""
    return subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@dataclass(frozen=True)
class Said:
    """How a verb ended."""

    code: int
    out: str
    err: str


def inside(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Said:
    """The verb run in this process. What is neither an exit nor a `UserError` comes through and fails the test."""
    capsys.readouterr()
    code = _code(arguments)
    heard = capsys.readouterr()
    return Said(code, heard.out, heard.err)


def here(folder: Path, *arguments: Any) -> Said:
    """The same in a `folder`, for fixtures that outlive a test."""
    out, err = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = _code(arguments)
    return Said(code, out.getvalue(), err.getvalue())


def _code(arguments: tuple[Any, ...]) -> int:
    """The exit code of a verb in this process."""
    from transferscope import cli

    kept, sys.argv = sys.argv, ["transferscope", *map(str, arguments)]
    try:
        cli.main()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        sys.argv = kept
    return 0
