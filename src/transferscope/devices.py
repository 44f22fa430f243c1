"""Devices: which GPUs torch has here, of whatever make, and what each can do. Whoever asks about one asks here.

A device is named as torch names it: "cpu", "cuda:1" (NVIDIA, and AMD with ROCm), "xpu" (Intel), "mps" (Apple).
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("cuda", "xpu", "mps")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}  # what processes talk through that train one run together
# What drivers of GPUs leave in /dev: NVIDIA's (on Jetson nvmap, on WSL dxg), AMD's, and any that draws.
DRIVERS = ("nvidiactl", "nvidia0", "nvmap", "dxg", "kfd", "dri")
ANSWER = 120.0  # seconds that torch may take to look; a driver that hangs counts as none

Device: TypeAlias = "str | torch.device"


@dataclass(frozen=True)
class Accelerators:
    """The GPUs of a machine: their `kind` ("" where there are none), names in torch's order, compute capabilities
    where they have any (CUDA), and whether others say that they compute in bfloat16."""

    kind: str = ""
    names: tuple[str, ...] = ()
    capabilities: tuple[float, ...] = ()
    bfloat16: bool = False


@cache
def accelerators() -> Accelerators:
    """What torch finds, asked in a process of its own: torch takes seconds to load, which verbs that only look need
    not, and a driver that was woken here would be a burden to all processes that this one starts. Where nothing speaks
    of a GPU, and where torch fails or says nothing for two minutes, there is none."""
    if not _likely():
        return Accelerators()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__], capture_output=True, timeout=ANSWER, check=True, env=environment
        )
        said = json.loads(done.stdout.decode("utf-8", "replace").splitlines()[-1])
        return Accelerators(said["kind"], tuple(said["names"]), tuple(said["capabilities"]), said["bfloat16"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError):
        return Accelerators()


def _likely(folder: Path = Path("/dev")) -> bool:
    """Whether it is worth the seconds to ask torch: not of one built for CPUs, nor where no driver is seen."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return False
    except metadata.PackageNotFoundError:
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return any((folder / name).exists() for name in DRIVERS) or shutil.which("nvidia-smi") is not None


def found() -> Accelerators:
    """What torch says in this process of the first kind of GPU that there is."""
    for one in KINDS:
        module = _module(one)
        if not (count := module.device_count()):
            continue
        if one == "mps":  # which has no name of its own, but that of the processor it is a part of
            return Accelerators(one, (_chip(),) * count)
        names = tuple(str(module.get_device_name(number)) for number in range(count))
        if one == "cuda":
            known = [module.get_device_capability(number) for number in range(count)]
            return Accelerators(one, names, tuple(float(f"{major}.{minor}") for major, minor in known))
        computes = getattr(module, "is_bf16_supported", None)  # not in older releases
        return Accelerators(one, names, bfloat16=computes is not None and bool(computes(including_emulation=False)))
    return Accelerators()


def _chip() -> str:
    """What a Mac calls its chip: "Apple M3"."""
    try:
        said = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return "Apple GPU"
    return said.stdout.strip() or "Apple GPU"


def kind(device: Device) -> str:
    """The kind of a device, without its number."""
    return str(device).partition(":")[0]


def following(device: str, number: int) -> str:
    """The GPU so many places after `device`; the CPU after the CPU."""
    if not on_gpu(device):
        return device
    one, _, first = device.partition(":")
    return f"{one}:{int(first or 0) + number}"


def on_gpu(device: Device) -> bool:
    """Whether a device is a GPU."""
    return kind(device) in KINDS


def _module(kind: str) -> Any:
    """Torch's module for a kind of GPU."""
    import torch

    return getattr(torch, kind)


def synchronise(device: Device) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if on_gpu(device):
        module = _module(kind(device))
        module.synchronize(*(() if kind(device) == "mps" else (device,)))


def free_memory(device: Device) -> int:
    """Bytes of a GPU that are free: on a Mac, whose GPU shares the machine's memory, what is left of what torch is
    advised to take. 0 on a CPU."""
    if not on_gpu(device):
        return 0
    module = _module(kind(device))
    if kind(device) == "mps":
        return max(0, int(module.recommended_max_memory()) - int(module.driver_allocated_memory()))
    return int(module.mem_get_info(device)[0]) if hasattr(module, "mem_get_info") else 0


def peak_memory(device: Device) -> int:
    """The most bytes of a GPU that this process has held (on a Mac, where nobody counts, what it holds); 0 on a CPU."""
    if not on_gpu(device):
        return 0
    module = _module(kind(device))
    return int(module.driver_allocated_memory() if kind(device) == "mps" else module.max_memory_reserved(device))


def random_state(device: Device) -> "Tensor | None":
    """The state of a GPU's generator of random numbers; None on a CPU."""
    state: Tensor | None = _module(kind(device)).get_rng_state(device) if on_gpu(device) else None
    return state


def set_random_state(state: "Tensor", device: Device) -> None:
    """Put back what `random_state` gave."""
    _module(kind(device)).set_rng_state(state, device)


def seed(number: int, device: Device) -> None:
    """Seed the generator of one GPU, and of no other; nothing on a CPU."""
    if on_gpu(device):
        module = _module(kind(device))
        with nullcontext() if kind(device) == "mps" else module.device(device):
            module.manual_seed(number)


def pins(device: Device) -> bool:
    """Whether memory that is pinned travels to a device while it computes: it does to GPUs with memory of their own."""
    return on_gpu(device) and kind(device) != "mps"


def has_float64(device: Device) -> bool:
    """Whether a device computes in float64: Apple's do not."""
    return kind(device) != "mps"


def sum_type(device: Device) -> "torch.dtype":
    """What is added up in on a device: float64 where it has it, else float32."""
    import torch

    return torch.float64 if has_float64(device) else torch.float32


def exactly(tensor: "Tensor") -> "Tensor":
    """The tensor where float64 can be had: where it lies, or else on the CPU."""
    return tensor if has_float64(tensor.device) else tensor.cpu()


def exact(tensor: "Tensor") -> "Tensor":
    """The tensor in float64, where that can be had (`exactly`)."""
    import torch

    return exactly(tensor).to(torch.float64)


if __name__ == "__main__":
    print(json.dumps(asdict(found())))
