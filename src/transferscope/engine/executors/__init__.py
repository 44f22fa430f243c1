"""Executors: who does the steps of a plan. One file each, the file name being what `resources.executor` says.

A module has ``executor(slots, options) -> Executor``; a dotted path names anyone's module.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from transferscope import registry
from transferscope.engine.queue import Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError


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
    return list(registry.names(__name__))


def check(name: str) -> None:
    """UserError unless `name` is one of them, or looks like somebody's module."""
    if name not in names() and not registry.is_dotted(name):
        raise UserError(f"'{name}' is not an executor; {registry.hint(__name__, name)}")


def build(name: str, slots: Slots, options: Mapping[str, Any]) -> Executor:
    """The executor `name`. UserError where there is none."""
    check(name)
    where = "resources.executor"
    module = registry.module(__name__, name, where, lambda why: f"'{name}' cannot be used ({why}).")
    if not hasattr(module, "executor"):
        raise UserError(f"{where}: '{name}' cannot be used (it has no function 'executor(slots, options)').")
    made: Executor = module.executor(slots, options)
    return made
