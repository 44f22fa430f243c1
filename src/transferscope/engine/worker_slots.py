"""Dealing: how the cores, memory and GPUs of a machine are shared among workers."""

from collections.abc import Callable
from typing import Literal

from transferscope.engine.executors import Slots
from transferscope.engine.machine import Machine

WORKER_MEMORY = 1_400_000_000  # bytes: a worker with torch, a small network and its batches


def dealt(
    machine: Machine,
    count: int | Literal["auto"] = "auto",
    threads: int | Literal["auto"] = "auto",
    device: str = "auto",
    sharing: Callable[[], int] | None = None,
) -> Slots:
    """As many workers a GPU as `sharing` says (one without it), else one a core, unless `count` says otherwise.

    Cores and memory limit both, but for the first worker of a GPU. `sharing` is asked only where its answer counts.
    UserError where `device` is a GPU that the machine has not.
    """
    gpus = machine.places(device)
    if count == "auto":
        wanted = len(gpus) * (sharing() if sharing else 1) if gpus else machine.cores
        workers = max(1, len(gpus), min(wanted, machine.cores, machine.memory // WORKER_MEMORY))
    else:
        workers = count
    devices = tuple(gpus[i % len(gpus)] if gpus else "cpu" for i in range(workers))
    share = max(1, machine.cores // workers)
    return Slots(devices, share if threads == "auto" else min(threads, machine.cores), machine.cores)
