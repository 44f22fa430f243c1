"""Executors: who does the steps of a plan. One file each, the file name being what `resources.executor` says.

A module has ``executor(slots, options) -> Executor``; a dotted path names anyone's module.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from transferscope.engine.queue import Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Slots:
    """How a machine is shared: one worker per entry of `devices`, each with `threads` threads."""

    devices: tuple[str, ...]
    threads: int
    cores: int


class Executor(Protocol):
    """Does the steps of a plan and returns how each ended: see `queue.Course`, which knows what may start next.

    `slots` are those it has. `stop` asks every task to save and end (safe in a signal handler), `kill` ends them now.
    """

    slots: Slots

    def run(self, steps: Iterable[Step], store: Store, watch: Watch) -> dict[str, Outcome]: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


def names() -> list[str]:
    """The executors that come with the project."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def first_lines() -> dict[str, str]:
    """The executors that come with the project and the first lines of their docstrings."""
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names()}
    return {name: (inspect.getdoc(module) or "").partition("\n")[0] for name, module in modules.items()}


def check(name: str) -> None:
    """UserError unless `name` is one of them, or looks like somebody's module."""
    if name not in names() and "." not in name:
        raise UserError(f"'{name}' is not an executor; {did_you_mean(name, names())}")


def build(name: str, slots: Slots, options: Mapping[str, Any]) -> Executor:
    """The executor `name`. UserError where there is none."""
    check(name)
    try:
        module = importlib.import_module(f"{__name__}.{name}" if name in names() else name)
        made: Executor = module.executor(slots, options)
    except (ImportError, AttributeError) as error:
        raise UserError(f"resources.executor: '{name}' cannot be used ({error}).") from None
    return made
