"""What this machine has: cores, memory, GPUs. Found without importing torch."""

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from transferscope.engine import quota
from transferscope.engine.arithmetic import has_bfloat16, instructions, natural


@dataclass(frozen=True)
class Machine:
    """`memory` in bytes; `gpus` are their names, in CUDA's order, `capabilities` their compute capabilities where
    known; `instructions` the extensions of the processor that decide in what it computes, and how fast."""

    cores: int
    memory: int
    gpus: tuple[str, ...]
    processor: str
    system: str
    instructions: tuple[str, ...] = ()
    capabilities: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self, device: str) -> str:
        """What computes on `device`, for a sentence: "AMD EPYC 9R14 (avx2, avx512f, avx512_bf16)"."""
        if device.startswith("cuda") and self.gpus:
            kinds = dict.fromkeys(self.gpus)
            return ", ".join(f"{self.gpus.count(name)} x {name}" for name in kinds)
        return self.processor + (f" ({', '.join(self.instructions)})" if self.instructions else "")

    def has_bfloat16(self, device: str) -> bool:
        """Whether it computes in bfloat16 on `device` without emulating it."""
        return has_bfloat16(device, self.instructions, self.capabilities)

    def natural(self, device: str) -> tuple[str, str]:
        """What ``precision: auto`` means on `device`, and why."""
        return natural(device, self.instructions, self.capabilities)


@cache
def this_machine() -> Machine:
    """Cores this process may use and memory, both within the container's limits, and GPUs that CUDA would show."""
    gpus = _gpus()
    names, known = tuple(name for name, _ in gpus), tuple(capability for _, capability in gpus if capability)
    return Machine(_cores(), _memory(), names, _processor(), platform.platform(), instructions(), known)


def _cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    return max(1, int(min(cores, quota.cores() or cores)))


def _memory() -> int:
    total = int(psutil.virtual_memory().total)
    return min(total, quota.memory() or total)


def _gpus() -> list[tuple[str, float]]:
    """Name and compute capability (0 where the driver is too old to tell) of every GPU that CUDA would show."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "" or visible == "-1" or not (smi := shutil.which("nvidia-smi")):
        return []
    for query in ("name,compute_cap", "name"):
        command = [smi, f"--query-gpu={query}", "--format=csv,noheader"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return shown([line for line in done.stdout.splitlines() if line.strip()], visible)
    return []


def shown(lines: list[str], visible: str | None) -> list[tuple[str, float]]:
    """The GPUs of nvidia-smi's `lines` that CUDA_VISIBLE_DEVICES leaves: by number, else as many as it names."""
    found = []
    for line in lines:
        name, _, capability = line.partition(",")
        found.append((name.strip(), float(capability) if capability.strip().replace(".", "", 1).isdigit() else 0.0))
    if visible is None:
        return found
    wanted = [word.strip() for word in visible.split(",") if word.strip()]
    if all(word.isdigit() and int(word) < len(found) for word in wanted):
        return [found[int(word)] for word in wanted]
    return found[: len(wanted)]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
