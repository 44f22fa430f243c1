"""Retention: of a finished study stays what it says (`resources.keep`), as long as no study of the store needs more."""

from pathlib import Path
from typing import NamedTuple

from transferscope import store_users
from transferscope.engine.plan import Plan
from transferscope.engine.step import KEEPS, Keep
from transferscope.engine.store import Store


class Relieved(NamedTuple):
    """How many results files were let go of, and their bytes."""

    results: int
    bytes: int


NOTHING = Relieved(0, 0)


def relieve(file: Path, keep: Keep, steps: Plan, store: Store) -> Relieved:
    """Let go of what neither the study in `file` nor another one of the store keeps any longer.

    A result stays as it is while a missing step of this study reads it. What another study asks for stays as that one
    says, once all that it asked for when it last ran is there, and whole until then: it may be running.
    """
    if keep == "all":
        return NOTHING
    needed = {one.key for step in steps.todo(store) for one in step.inputs}
    others = _others(file, store)
    freed = []
    for step in steps.steps:
        if step.key not in needed and store.has(step):
            theirs = [other for other, names in others if f"{step.task}-{step.key}" in names]
            freed.append(store.let_go(step, max([keep, *theirs], key=KEEPS.index)))
    return Relieved(sum(size > 0 for size in freed), sum(freed))


def _others(file: Path, store: Store) -> list[tuple[Keep, set[str]]]:
    """How much other studies of the store keep, and of what ("task-key")."""
    found = store_users.registered(store, but=[file])
    there = {f"{task}-{key}" for task, key in store.entries()} if found else set()
    asked = [({*said["steps"]}, said["keep"]) for said in found.values()]
    return [(keep if names <= there else "all", names) for names, keep in asked]
