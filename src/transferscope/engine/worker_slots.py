"""Dealing: how the cores, memory and GPUs of a machine are shared among workers."""

from collections.abc import Callable
from typing import Literal

from transferscope import devices
from transferscope.engine.executors import Slots
from transferscope.engine.machine import Machine
from transferscope.errors import UserError

WORKER_MEMORY = 1_400_000_000  # bytes: a worker with torch, a small network and its batches


def dealt(
    machine: Machine,
    count: int | Literal["auto"] = "auto",
    threads: int | Literal["auto"] = "auto",
    device: str = "auto",
    sharing: Callable[[], int] | None = None,
    processes: int = 1,
) -> Slots:
    """As many workers a GPU as `sharing` says (one without it), else one a core, unless `count` says otherwise.

    Where a training spreads over several `processes`, a worker has as many GPUs, or cores, and shares them with none.
    Cores and memory limit both, but for the first worker of a GPU. `sharing` is asked only where its answer counts.
    UserError where `device` is a GPU that the machine has not, or a training is to have more than there are.
    """
    gpus = machine.places(device)
    if processes > 1:
        _check(machine, len(gpus), processes)
    firsts = gpus[: len(gpus) - processes + 1 : processes]
    if count == "auto":
        wanted = len(gpus) * (sharing() if sharing and processes == 1 else 1) if gpus else machine.cores
        workers = max(1, len(firsts), min(wanted, machine.cores, machine.memory // WORKER_MEMORY) // processes)
    else:
        workers = count
    places = tuple(firsts[i % len(firsts)] if gpus else "cpu" for i in range(workers))
    share = max(1, machine.cores // workers)
    return Slots(places, share if threads == "auto" else min(threads, machine.cores), machine.cores, processes)


def per_run(machine: Machine, said: int | Literal["auto"], device: str, runs: int) -> int:
    """Over how many processes each of so many `runs` spreads: as `said`, or with "auto" as many as there are GPUs for
    each, and 1 on a CPU. 1 where nothing is to be trained."""
    if runs == 0:
        return 1
    return max(1, len(machine.places(device)) // runs) if said == "auto" else said


def _check(machine: Machine, gpus: int, processes: int) -> None:
    """UserError unless a training can spread over so many processes on a machine with so many `gpus` to use."""
    if gpus and machine.accelerator not in devices.BACKENDS:
        raise UserError(
            "resources.gpus_per_run: a run spreads over GPUs of NVIDIA or AMD, not over those that torch calls "
            f"'{machine.accelerator}'; leave it at 1."
        )
    if 0 < gpus < processes:
        raise UserError(f"resources.gpus_per_run: {processes} GPUs were asked for but {gpus} found; lower it.")
