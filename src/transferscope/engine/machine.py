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


@dataclass(frozen=True)
class Machine:
    """`memory` in bytes; `gpus` are their names, in CUDA's order."""

    cores: int
    memory: int
    gpus: tuple[str, ...]
    processor: str
    system: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@cache
def this_machine() -> Machine:
    """Cores this process may use, memory within the container's limit, GPUs that CUDA would show."""
    return Machine(_cores(), _memory(), _gpus(), _processor(), platform.platform())


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _memory() -> int:
    total = int(psutil.virtual_memory().total)
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return total


def _gpus() -> tuple[str, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible == "" or visible == "-1" or not (smi := shutil.which("nvidia-smi")):
        return ()
    query = [smi, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    names = tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    return names if visible is None else names[: len([v for v in visible.split(",") if v.strip()])]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
