"""Executors: who does the steps of a plan. One file each, the file name being what `resources.executor` says.

A module has ``executor(slots, options) -> Executor``; a dotted path names anyone's module. One whose workers are on
other machines says ``ELSEWHERE = True``: it deals them itself, by what `options` say was asked for. One that takes an
address, as in `ray://HOST:PORT`, says ``ADDRESS``, an example of it, and finds the given in ``options["address"]``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from transferscope import registry
from transferscope.engine.queue import Watch
from transferscope.engine.step import Step
from transferscope.engine.store import Store
from transferscope.engine.worker import Outcome
from transferscope.errors import UserError

WHERE = "resources.executor"


@dataclass(frozen=True)
class Slots:
    """How a machine is shared: one worker per entry of `devices`, each with `threads` threads; a training spreads over
    so many `processes`, each with a GPU of its own where there are any, from the worker's on."""

    devices: tuple[str, ...]
    threads: int
    cores: int
    processes: int = 1


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


def check(said: str) -> None:
    """UserError unless `said` names one of them, or looks like somebody's module."""
    name = registry.split(said)[0]
    if name not in names() and not registry.is_dotted(name):
        raise UserError(f"'{name}' is not an executor; {registry.hint(__name__, name)}")


def is_elsewhere(said: str) -> bool:
    """Whether the workers of an executor are on other machines than this one. UserError where there is none."""
    return bool(getattr(_module(said), "ELSEWHERE", False))


def build(said: str, slots: Slots, options: Mapping[str, Any]) -> Executor:
    """The executor that a study calls `said`: a name, and an address where it takes one. UserError where there is
    none."""
    module, (name, rest) = _module(said), registry.split(said)
    if not hasattr(module, "executor"):
        raise UserError(f"{WHERE}: '{name}' cannot be used (it has no function 'executor(slots, options)').")
    if rest and not hasattr(module, "ADDRESS"):
        raise UserError(f"{WHERE}: '{name}' takes no address; write '{name}' alone.")
    made: Executor = module.executor(slots, {**options, "address": said} if rest else options)
    return made


def _module(said: str) -> ModuleType:
    check(said)
    name = registry.split(said)[0]
    return registry.module(__name__, name, WHERE, lambda why: f"'{name}' cannot be used ({why}).")
