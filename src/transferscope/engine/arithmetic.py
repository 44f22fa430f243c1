"""What numbers a machine computes with: from what its processor and GPUs say they can do, never by timing."""

from collections.abc import Iterable
from pathlib import Path

from transferscope.devices import kind, on_gpu

PRECISIONS = ("float32", "bfloat16")
TOLD = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16", "svebf16")  # in the kernel's words
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16", "svebf16"})  # elsewhere torch emulates it, many times slower
CAPABILITY = 8.0  # of the first NVIDIA GPUs with bfloat16 (Ampere)


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str, ...]:
    """The extensions of `TOLD` that the processor has, as Linux names them; none where there is no such file.

    On macOS that is right, too: torch computes there without the library that uses bfloat16 instructions.
    """
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    said = {word for line in lines if line.partition(":")[0].strip() in ("flags", "Features") for word in line.split()}
    return tuple(name for name in TOLD if name in said)


def has_bfloat16(device: str, instructions: Iterable[str], capabilities: Iterable[float], others: bool = False) -> bool:
    """Whether `device` (cpu, cuda, cuda:1, xpu, ...) computes in bfloat16: a processor by its instructions, CUDA by the
    compute capability of every GPU, `others` by what they say."""
    if kind(device) == "cpu":
        return not BFLOAT16.isdisjoint(instructions)
    if kind(device) != "cuda":
        return others
    known = tuple(capabilities)
    return bool(known) and min(known) >= CAPABILITY


def natural(
    device: str, instructions: Iterable[str], capabilities: Iterable[float], others: bool = False
) -> tuple[str, str]:
    """What ``precision: auto`` means on a machine, and why: bfloat16 where there is hardware for it, else float32."""
    if has_bfloat16(device, instructions, capabilities, others):
        return "bfloat16", f"the {'GPU' if on_gpu(device) else 'processor'} computes in it"
    lacks = {
        "cpu": "the processor has no bfloat16 instructions, so that bfloat16 would be emulated",
        "cuda": "the GPU names no compute capability of 8.0 or more, so that bfloat16 would be emulated",
    }
    return "float32", lacks.get(kind(device), "torch does not tell whether the GPU computes in bfloat16")
