"""Stopping a run by Ctrl-C or SIGTERM: the first signal saves and ends it, the second ends it at once."""

import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.console.exits import INTERRUPTED, TERMINATED
from transferscope.console.lines import err

if TYPE_CHECKING:
    from transferscope.engine.executors import Executor


def again(file: Path, changes: list[str] | None, flags: Sequence[str] = ()) -> str:
    """The command line that goes on where a run was stopped; `flags` are those it had besides `--set`."""
    return shlex.join(
        ["transferscope", "run", str(file), *flags, *(word for change in changes or [] for word in ("--set", change))]
    )


@contextmanager
def stoppable(executor: "Executor", resume: str) -> Iterator[list[int]]:
    """While inside, signals stop the executor; the list yielded holds those that came. `resume`: see `again`."""
    caught: list[int] = []

    def on_signal(number: int, _: object) -> None:
        caught.append(number)
        if len(caught) == 1:
            err.print(f"Stopping after this batch and saving (again to stop at once). To go on: {resume}", markup=False)
            executor.stop()
        else:
            executor.kill()

    with _answered(on_signal):
        yield caught


@contextmanager
def heard() -> Iterator[list[int]]:
    """While inside, signals do nothing but to stand in the list that is yielded."""
    caught: list[int] = []
    with _answered(lambda number, _: caught.append(number)):
        yield caught


@contextmanager
def _answered(handler: Callable[[int, object], None]) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM are handled so."""
    before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def code(caught: list[int]) -> int:
    """The exit code of a verb that signals stopped."""
    return INTERRUPTED if caught[0] == signal.SIGINT else TERMINATED
