"""Processes that this one starts: how they begin, and what is said of their end."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from transferscope.engine.environment import set_to
from transferscope.spawning import without_main


@contextmanager
def starting(environment: Mapping[str, str]) -> Iterator[None]:
    """A process that is spawned inside has `environment` from its first moment, when its allocator reads it; it is not
    shot down by Ctrl-C or SIGTERM while it still imports, and does not import what this one runs."""
    with set_to(environment), _deaf(), without_main():
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
