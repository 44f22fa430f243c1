"""Small tasks for the engine's tests; importable by worker processes."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from transferscope.atomic_files import write, write_json
from transferscope.engine.artifact import Artifact
from transferscope.engine.step import Outside, task
from transferscope.engine.task_context import Interrupted, Lost, Work
from transferscope.errors import UserError


@task("number", version=1)
def number(*, value: int, scale: float = 1.0, work: Work) -> list[dict[str, Any]]:
    (work.folder / "value.txt").write_text(str(value * scale))
    return [{"value": value * scale}]


@task("number", version=2)
def number_again(*, value: int, scale: float = 1.0, work: Work) -> list[dict[str, Any]]:
    return [{"value": value * scale}]


@task("number", version=1, neutral={"offset": 0})
def number_grown(*, value: int, scale: float = 1.0, offset: int = 0, work: Work) -> list[dict[str, Any]]:
    return [{"value": value * scale + offset}]


@task("number", version=1)
def number_other_default(*, value: int, scale: float = 2.0, work: Work) -> list[dict[str, Any]]:
    return [{"value": value * scale}]


@task("total", version=1)
def total(*, parts: list[Artifact], work: Work) -> list[dict[str, Any]]:
    return [{"total": sum(part.rows[0]["value"] for part in parts)}]


@task("read", version=1)
def read(*, source: Outside, work: Work) -> list[dict[str, Any]]:
    return [{"ref": source.ref}]


@task("fail", version=1)
def fail(*, how: str, work: Work) -> list[dict[str, Any]]:
    (work.folder / "half.txt").write_text("half")
    if how == "user":
        raise UserError("the sentence for the user")
    if how == "lost":
        raise Lost("a process was lost")
    if how == "bug":
        raise RuntimeError("an unexpected\nerror")
    if how == "library":
        raise ValueError("I/O error: No space left on device (os error 28)")
    if how == "disk":
        raise OSError(28, "No space left on device", "/somewhere")
    if how == "exit":
        sys.exit(0)
    if how == "loud":
        print("a last word")
        raise RuntimeError("loud")
    os.kill(os.getpid(), signal.SIGSEGV if how == "segfault" else signal.SIGKILL)
    return []


@task("twofold", version=1)
def twofold(*, value: int, work: Work) -> list[dict[str, Any]]:
    """Two files, one after the other, so that there is a moment at which one is there alone."""
    write_json(work.folder / "first.json", {"value": value})
    time.sleep(0.005)
    (work.folder / "second.bin").write_bytes(bytes([value % 256]) * 4096)
    return [{"value": value}]


@task("fill", version=1, resumes=True)
def fill(*, size: int, onto: str, work: Work) -> list[dict[str, Any]]:
    """A save of ten bytes, then a file of `size` bytes; `onto` is where it really lies ("" for its own place)."""
    (work.folder / "save.txt").write_text("0123456789")
    file = work.folder / "large.bin"
    file.unlink(missing_ok=True)
    if onto:
        file.symlink_to(onto)
    file.write_bytes(bytes(size))
    return [{"size": size}]


@task("wander", version=1)
def wander(*, work: Work) -> list[dict[str, Any]]:
    """Somebody's code that changes the working directory, before and after it writes."""
    os.chdir("/")
    (work.folder / "here.txt").write_text("here")
    return [{"there": str(Path.cwd())}]


@task("left", version=1, resumes=True)
def left(*, work: Work) -> list[dict[str, Any]]:
    """What a writer killed between its two steps leaves behind."""
    (work.folder / f".table.json.{'0a' * 16}").write_text("half")
    write_json(work.folder / "table.json", {"whole": True})
    return [{"files": len(list(work.folder.iterdir()))}]


@task("busy", version=1)
def busy(*, seconds: float, work: Work) -> list[dict[str, Any]]:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass
    return [{"seconds": seconds}]


@task("nap", version=1, cost=lambda p: float(p["seconds"]))
def nap(*, seconds: float, after: list[Artifact], work: Work) -> list[dict[str, Any]]:
    """Takes its time and no processor's."""
    time.sleep(seconds)
    return [{"value": seconds}]


@task("once", version=1)
def once(*, how: str, marks: str, work: Work) -> list[dict[str, Any]]:
    """Crashes, or hangs, as long as there is no file `marks`, which it makes."""
    mark = Path(marks)
    if not mark.exists():
        mark.touch()
        if how == "hang":
            threading.Event().wait()
        os.kill(os.getpid(), signal.SIGSEGV)
    return [{"tried": 2}]


@task("hang", version=1)
def hang(*, work: Work) -> list[dict[str, Any]]:
    threading.Event().wait()
    return []


@task("count", version=1, resumes=True)
def count(*, to: int, work: Work) -> list[dict[str, Any]]:
    """Counts slowly, saving after every number; says where it began."""
    place = work.folder / "resume.txt"
    began = int(place.read_text()) if place.exists() else 0
    for n in range(began, to):
        time.sleep(0.02)
        write(place, str(n + 1).encode())  # whole: a worker may be killed at any moment
        work.tell(done=n + 1, total=to)
        if work.stopping():
            raise Interrupted
    place.unlink(missing_ok=True)
    return [{"to": to, "began": began, "value": to}]


@task("threads", version=1)
def threads(*, work: Work) -> list[dict[str, Any]]:
    return [{"omp": os.environ["OMP_NUM_THREADS"], "threads": work.threads, "device": work.device, "pid": os.getpid()}]


@task("threads_again", version=1)
def threads_again(*, work: Work) -> list[dict[str, Any]]:
    return [{"pid": os.getpid()}]


@task("computes", version=1)
def computes(*, work: Work) -> list[dict[str, Any]]:
    import torch

    torch.set_num_threads(work.threads)
    return [{"threads": torch.get_num_threads()}]


@task("slow", version=1, cost=lambda p: float(p["cost"]))
def slow(*, cost: int, work: Work) -> list[dict[str, Any]]:
    return [{"at": time.monotonic()}]


@task("weights", version=1, sheds={"ends": ("epoch-1.bin",), "findings": ("*.bin",)})
def weights(*, seed: int, work: Work) -> list[dict[str, Any]]:
    """What a training leaves: its weights on the way and in the end, and a table."""
    for name in ("epoch-1", "final"):
        (work.folder / f"{name}.bin").write_bytes(f"{name} of {seed} ".encode() * 100)
    write_json(work.folder / "said.json", {"seed": seed})
    return [{"seed": seed}]


@task("bytes", version=1, needs=lambda params: "all" if params["name"].startswith("epoch") else "ends")
def bytes_of(*, run: Artifact, name: str, work: Work) -> list[dict[str, Any]]:
    """How many bytes one file of another result has."""
    return [{"bytes": run.file(name).stat().st_size}]
