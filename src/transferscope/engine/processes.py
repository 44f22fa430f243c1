"""Processes that this one starts: how they begin, and what is said of their end."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import ModuleType
from typing import Any

from transferscope.engine.environment import set_to


@contextmanager
def starting(environment: Mapping[str, str]) -> Iterator[None]:
    """A process that is spawned inside has `environment` from its first moment, when its allocator reads it; it is not
    shot down by Ctrl-C or SIGTERM while it still imports, and does not import what this one runs."""
    with set_to(environment), _deaf(), _apart():
        yield


def cause(code: int | None) -> str:
    """Why a process ended, by its exit code."""
    if code is None or code >= 0:
        return f"exit code {code}"
    known = {signal.SIGKILL: "killed, perhaps because memory ran out", signal.SIGSEGV: "a segmentation fault"}
    number = signal.Signals(-code)
    return f"{known.get(number, 'by a signal')}, {number.name}"


@contextmanager
def _deaf() -> Any:
    """Block Ctrl-C and SIGTERM: a process started inside inherits that, and is not shot down while it still imports."""
    resource_tracker.ensure_running()  # otherwise the first start launches it, which unblocks the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _apart() -> Iterator[None]:
    """A process started inside does not import what this one runs: a script that runs a study would run it again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
