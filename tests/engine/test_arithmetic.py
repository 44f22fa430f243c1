"""What `precision: auto` means: from what a processor or GPU says it can do, the same on every machine of a kind."""

from dataclasses import replace
from pathlib import Path

import pytest

from transferscope.devices import Accelerators
from transferscope.engine import machine
from transferscope.engine.arithmetic import instructions, natural
from transferscope.engine.machine import Machine

ZEN_3 = "processor\t: 0\nmodel name\t: AMD EPYC 7R13\nflags\t\t: fpu sse2 avx avx2 fma vaes\n"
SKYLAKE = "model name\t: Intel Xeon\nflags\t\t: fpu avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni\n"
ZEN_4 = "model name\t: AMD EPYC 9R14\nflags\t\t: fpu avx avx2 avx512f avx512_bf16\n"
SAPPHIRE = "model name\t: Intel Xeon 8488C\nflags\t\t: avx2 avx512f avx512_bf16 amx_bf16 amx_tile amx_int8\n"
GRAVITON_2 = "processor\t: 0\nBogoMIPS\t: 243\nFeatures\t: fp asimd evtstrm aes crc32 atomics\n"
GRAVITON_3 = "processor\t: 0\nFeatures\t: fp asimd crc32 atomics sve svebf16 i8mm bf16\n"
PLAIN = Machine(cores=2, memory=10**10, gpus=(), processor="p", system="s")


@pytest.mark.parametrize(
    ("cpuinfo", "told", "precision"),
    [
        (ZEN_3, ("avx2",), "float32"),
        (SKYLAKE, ("avx2", "avx512f"), "float32"),  # AVX-512 alone emulates it
        (ZEN_4, ("avx2", "avx512f", "avx512_bf16"), "bfloat16"),
        (SAPPHIRE, ("avx2", "avx512f", "avx512_bf16", "amx_bf16"), "bfloat16"),
        (GRAVITON_2, ("asimd",), "float32"),
        (GRAVITON_3, ("asimd", "sve", "bf16", "svebf16"), "bfloat16"),
        ("flags\t\t: notbf16 xamx_bf16\nbugs\t\t: bf16\nmodel name\t: bf16\n", (), "float32"),
        ("", (), "float32"),
    ],
)
def test_a_processor_by_its_instructions(tmp_path: Path, cpuinfo: str, told: tuple[str, ...], precision: str) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert instructions(tmp_path / "cpuinfo") == told
    assert natural("cpu", told, ()) == natural("cpu", told, (9.0,))
    assert natural("cpu", told, ())[0] == precision


def test_without_proc_nothing_is_known_and_nothing_is_emulated(tmp_path: Path) -> None:
    assert instructions(tmp_path / "none") == ()
    assert natural("cpu", (), ()) == (
        "float32",
        "the processor has no bfloat16 instructions, so that bfloat16 would be emulated",
    )


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ((8.0,), "bfloat16"),
        ((9.0, 8.6), "bfloat16"),
        ((12.0,), "bfloat16"),
        ((7.5,), "float32"),
        ((9.0, 7.5), "float32"),
        ((), "float32"),
    ],
)
def test_gpus_by_the_least_of_them(capabilities: tuple[float, ...], precision: str) -> None:
    for device in ("cuda", "cuda:1"):
        assert natural(device, ("avx512_bf16",), capabilities)[0] == precision
    assert natural("cpu", ("avx512_bf16",), capabilities)[0] == "bfloat16", "asked about where training runs"


def test_gpus_without_compute_capabilities_by_what_they_say() -> None:
    assert natural("xpu:1", (), (), True) == ("bfloat16", "the GPU computes in it")
    for device in ("xpu", "mps:0"):
        said = natural(device, ("avx512_bf16",), (9.0,), False)
        assert said == ("float32", "torch does not tell whether the GPU computes in bfloat16")
    assert natural("cuda", (), (), True)[0] == "float32", "theirs are another matter"


def test_this_machine_knows_its_instructions_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.this_machine.cache_clear()
    monkeypatch.setattr(machine, "instructions", lambda: ("avx2", "avx512_bf16"))
    monkeypatch.setattr(machine.devices, "accelerators", lambda: Accelerators("cuda", ("old",)))
    try:
        here = machine.this_machine()
        assert here.has_bfloat16("cpu") and not here.has_bfloat16("cuda") and here.gpus == ("old",)
        assert here.describe("cpu").endswith(" (avx2, avx512_bf16)") and here.describe("cuda") == "1 x old"
    finally:
        machine.this_machine.cache_clear()
    assert replace(PLAIN, gpus=("A", "A", "B")).describe("cuda:0") == "2 x A, 1 x B" and PLAIN.describe("cpu") == "p"
