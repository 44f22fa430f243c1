"""Kinds of workers: where they differ in what they compute with, equal steps may differ in their last digits."""

from collections.abc import Iterable
from typing import NamedTuple

from transferscope.engine.machine import Machine
from transferscope.engine.step import Step
from transferscope.errors import UserError


class Bench(NamedTuple):
    """A worker's machine, and the device it computes on."""

    machine: Machine
    device: str


def differences(benches: Iterable[Bench], steps: Iterable[Step], natural: bool) -> list[str]:
    """What is to be said of workers of several kinds, or of ones that emulate what they compute in: a sentence each.

    `natural` says that the precision of the steps is what "auto" meant where they were planned. UserError where it
    means another to a worker: its results would be those of no study planned there.
    """
    kinds = {(bench.machine.describe(bench.device), bench.machine.natural(bench.device)): bench for bench in benches}
    asked = sorted({str(step.params["precision"]) for step in steps if step.params.get("precision") is not None})
    said = []
    for (words, (name, why)), bench in kinds.items():
        if natural and asked and asked != [name]:
            raise UserError(
                f"recipe.precision: 'auto' means {' and '.join(asked)} where the study was planned and {name} on a "
                f"worker, {words} ({why}); write the one that you want."
            )
        if "bfloat16" in asked and not bench.machine.has_bfloat16(bench.device):
            said.append(f"A worker, {words}, has no bfloat16: it is emulated there and slow.")
    if len(kinds) > 1:
        names = "; ".join(dict.fromkeys(words for words, _ in kinds))
        said.append(
            f"Workers are of {len(kinds)} kinds ({names}): equal steps done by two of them may differ in their last "
            "digits."
        )
    return said
