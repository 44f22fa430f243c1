"""What a benchmark runs on and in which precision: what the processor or GPU has, said before any figure.

Every script imports this file, as it lies beside them; it times nothing.
"""

from transferscope.engine.machine import this_machine


def natural(device: str = "cpu") -> str:
    """The precision that `precision: auto` means here: no benchmark emulates bfloat16 unless it is asked to."""
    return this_machine().natural(device)[0]


def precisions(device: str = "cpu") -> tuple[str, ...]:
    """The precisions worth timing here."""
    return ("float32", "bfloat16") if this_machine().has_bfloat16(device) else ("float32",)


def say(precision: str, device: str = "cpu") -> None:
    """Print the processor or GPU, its instruction set and the precision of what is timed."""
    print(f"# {this_machine().describe(device)}; {precision}", flush=True)
