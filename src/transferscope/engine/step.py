"""Steps: cached pieces of work, each named by everything that can change its numbers and by nothing else."""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, cast, get_args

Keep = Literal["findings", "ends", "all"]  # how much of a finished result stays, from the least to the most
KEEPS: tuple[Keep, ...] = get_args(Keep)
REQUIRED = inspect.Parameter.empty  # of a parameter that has no default
KEY_LENGTH = 24  # hex digits: 96 bits, no collision before the sun goes out
_PLAIN = frozenset({type(None), bool, int, float, str})  # types of values that are what they are in JSON
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


@dataclass(frozen=True)
class Outside:
    """A thing outside the store: `ref` says where it is, `fingerprint` what it is. Only the latter is identity."""

    ref: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Step:
    """One piece of work: a task, its version and all of its parameters, defaults filled in.

    Parameters are JSON values, `Outside` things, or other steps (the inputs).
    """

    task: str
    version: int
    call: str  # "module:function", how a worker finds the task; not part of the identity
    params: Mapping[str, Any]
    neutral: Mapping[str, Any] = field(default_factory=dict, repr=False)
    cost: float = 1.0  # work in a unit that all tasks share, for estimates and for starting the longest first
    key: str = field(init=False)
    inputs: tuple["Step", ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inputs: dict[str, Step] = {}
        neutral = self.neutral
        said = {
            str(n): v if type(v) in _PLAIN else _identity(v, inputs)
            for n, v in self.params.items()
            if n not in neutral or v != neutral[n]
        }
        identity = {"params": said, "task": self.task, "version": self.version}
        object.__setattr__(self, "key", hashlib.blake2b(canonical(identity)).hexdigest()[:KEY_LENGTH])
        object.__setattr__(self, "inputs", tuple(inputs.values()))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and other.key == self.key

    @property
    def job(self) -> dict[str, Any]:
        """Everything a worker needs to do the step, as plain JSON."""
        return {
            "task": self.task,
            "version": self.version,
            "key": self.key,
            "call": self.call,
            "passes": self.cost,
            "params": encoded(self.params),
        }


def from_job(job: Mapping[str, Any], inputs: tuple[Step, ...]) -> Step:
    """The step that a `job` tells of, for who only does it: its key is that of the job, its parameters are encoded."""
    step: Step = object.__new__(Step)
    said = {name: job[name] for name in ("task", "version", "call", "params", "key")}
    for name, value in {**said, "neutral": {}, "cost": job["passes"], "inputs": inputs}.items():
        object.__setattr__(step, name, value)
    return step


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no white space, no NaN."""
    return _CANONICAL.encode(value).encode()


def _identity(value: Any, inputs: dict[str, Step]) -> Any:
    """The part of a parameter that decides numbers; the steps met on the way are collected in `inputs`."""
    if isinstance(value, str | int | float) or value is None:
        return value
    if isinstance(value, Step):
        inputs.setdefault(value.key, value)
        return {"$step": value.key}
    if isinstance(value, Outside):
        return {"$outside": value.fingerprint}
    if isinstance(value, Mapping):
        return {str(k): v if type(v) in _PLAIN else _identity(v, inputs) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [v if type(v) in _PLAIN else _identity(v, inputs) for v in value]
    return value


def encoded(value: Any) -> Any:
    """A parameter as plain JSON, from which `decode` makes it again."""
    if isinstance(value, Step):
        return {"$step": [value.task, value.key]}
    if isinstance(value, Outside):
        return {"$outside": [value.ref, value.fingerprint]}
    if isinstance(value, Mapping):
        return {str(k): encoded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(v) for v in value]
    return value


def decode(value: Any, artifact: Callable[[str, str], Any]) -> Any:
    """Turn the parameters of a job back into values; ``artifact(task, key)`` stands in for each input step."""
    if isinstance(value, dict):
        if "$step" in value:
            return artifact(*value["$step"])
        if "$outside" in value:
            return Outside(*value["$outside"])
        return {k: decode(v, artifact) for k, v in value.items()}
    if isinstance(value, list):
        return [decode(v, artifact) for v in value]
    return value


@dataclass(frozen=True)
class Task:
    """A function made cacheable. Call it as the function it is, or plan it with `step`.

    Where the function takes ``**further``, `further` names those parameters, each with its default or `REQUIRED`.
    `neutral` names parameters added later and the value at which each changes nothing: at that value it stays out of
    the key, so results made before the parameter existed are still found. `version` is raised by hand when the meaning
    of the code changes. `resumes` says that a half-finished scratch folder is of use to the next attempt. `cost` is the
    work of a step by its parameters, in a unit that all tasks share (ours: `tasks.costs`); 1 where nobody says.

    `sheds` are the files (patterns of names) that a result does without where less than "all" of it is kept; what the
    page reads is never among them. `needs` is how much of its inputs a step reads, by its parameters.
    """

    name: str
    version: int
    function: Callable[..., Any]
    further: Mapping[str, Any]
    neutral: Mapping[str, Any]
    resumes: bool
    cost: Callable[..., float] | None
    sheds: Mapping[Keep, Sequence[str]]
    needs: Callable[[Mapping[str, Any]], Keep]

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        """Every parameter but `work`, with its default or `REQUIRED`."""
        named = [p for p in inspect.signature(self.function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        return {p.name: p.default for p in named if p.name != "work"} | dict(self.further)

    @cached_property
    def _required(self) -> list[str]:
        """The parameters that have no default."""
        return [name for name, default in self._defaults.items() if default is REQUIRED]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def step(self, **params: Any) -> Step:
        """The step that runs this task on `params` (every default filled in now). TypeError for a wrong name."""
        full = {**self._defaults, **params}
        absent = [n for n in self._required if full[n] is REQUIRED]
        if absent or len(full) > len(self._defaults):
            unknown = [n for n in params if n not in self._defaults]
            raise TypeError(f"task {self.name}: unknown {unknown}, missing {absent}")
        call = f"{self.function.__module__}:{self.function.__qualname__}"
        cost = self.cost(full) if self.cost else 1.0
        return Step(self.name, self.version, call, full, self.neutral, cost)


def task(
    name: str,
    *,
    version: int,
    further: Mapping[str, Any] | None = None,
    neutral: Mapping[str, Any] | None = None,
    resumes: bool = False,
    cost: Callable[..., float] | None = None,
    sheds: Mapping[Keep, Sequence[str]] | None = None,
    needs: Keep | Callable[[Mapping[str, Any]], Keep] = "ends",
) -> Callable[[Callable[..., Any]], Task]:
    """Decorator: a function of keyword parameters and ``work: Work``, returning rows (dicts), becomes a `Task`."""

    def wrap(function: Callable[..., Any]) -> Task:
        said = needs if callable(needs) else lambda _: needs
        return Task(name, version, function, further or {}, neutral or {}, resumes, cost, sheds or {}, said)

    return wrap


def find(call: str) -> Task:
    """The task behind a job's ``"module:function"``."""
    import importlib

    module, _, name = call.partition(":")
    return cast(Task, getattr(importlib.import_module(module), name))


def walk(steps: Iterator[Step] | list[Step]) -> list[Step]:
    """Distinct steps and all their inputs, every input before what needs it."""
    seen: dict[str, Step] = {}
    stack = [(step, False) for step in reversed(list(steps))]
    while stack:
        step, ready = stack.pop()
        if step.key in seen:
            continue
        if ready:
            seen[step.key] = step
        else:
            stack.append((step, True))
            stack.extend((i, False) for i in reversed(step.inputs))
    return list(seen.values())
