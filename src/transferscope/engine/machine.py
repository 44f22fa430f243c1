"""What this machine has: cores, memory, GPUs. Found without importing torch."""

import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from transferscope import devices
from transferscope.engine import quota
from transferscope.engine.arithmetic import has_bfloat16, instructions, natural
from transferscope.errors import UserError


@dataclass(frozen=True)
class Machine:
    """`memory` in bytes; `gpus` are their names, in torch's order, all of the kind `accelerator`, `capabilities` their
    compute capabilities where they have any, `bfloat16` whether others say that they compute in it; `instructions` the
    extensions of the processor that decide in what it computes, and how fast."""

    cores: int
    memory: int
    gpus: tuple[str, ...]
    processor: str
    system: str
    instructions: tuple[str, ...] = ()
    capabilities: tuple[float, ...] = ()
    accelerator: str = "cuda"
    bfloat16: bool = False

    def as_dict(self) -> dict[str, Any]:
        """What readers are told."""
        said = asdict(self)
        del said["accelerator"], said["bfloat16"]
        return said

    def places(self, device: str, key: str = "resources.device") -> tuple[str, ...]:
        """The GPUs that `device` ("auto", "cpu", "cuda", "cuda:1", ...) means, as torch calls them; none for "cpu", and
        for "auto" where there is none. UserError, which names the `key`, where another is named that is not here."""
        if device == "cpu":
            return ()
        here = tuple(f"{self.accelerator}:{number}" for number in range(len(self.gpus)))
        found = tuple(place for place in here if device in ("auto", place, devices.kind(place)))
        if device != "auto" and not found:
            there = f"only {', '.join(here)}" if here else "no GPU"
            raise UserError(f"{key}: '{device}' was asked for but {there} was found; use 'auto' or 'cpu'.")
        return found

    def describe(self, device: str) -> str:
        """What computes on `device`, for a sentence: "AMD EPYC 9R14 (avx2, avx512f, avx512_bf16)"."""
        if devices.on_gpu(device) and self.gpus:
            kinds = dict.fromkeys(self.gpus)
            return ", ".join(f"{self.gpus.count(name)} x {name}" for name in kinds)
        return self.processor + (f" ({', '.join(self.instructions)})" if self.instructions else "")

    def has_bfloat16(self, device: str) -> bool:
        """Whether it computes in bfloat16 on `device` without emulating it."""
        return has_bfloat16(device, self.instructions, self.capabilities, self.bfloat16)

    def natural(self, device: str) -> tuple[str, str]:
        """What ``precision: auto`` means on `device`, and why."""
        return natural(device, self.instructions, self.capabilities, self.bfloat16)


@cache
def this_machine() -> Machine:
    """Cores this process may use and memory, both within the container's limits, and the GPUs that torch finds."""
    gpus = devices.accelerators()
    return Machine(
        _cores(),
        _memory(),
        gpus.names,
        _processor(),
        platform.platform(),
        instructions(),
        gpus.capabilities,
        gpus.kind or "cuda",
        gpus.bfloat16,
    )


def _cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return max(1, int(min(cores, quota.cores() or cores)))


def _memory() -> int:
    total = int(psutil.virtual_memory().total)
    return min(total, quota.memory() or total)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
