"""Small tasks for the engine's tests; importable by worker processes."""

import os
import signal
import time
from typing import Any

from transferscope.engine.step import Outside, task
from transferscope.engine.store import Artifact
from transferscope.engine.work import Interrupted, Work
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
    if how == "bug":
        raise RuntimeError("an unexpected\nerror")
    if how == "disk":
        raise OSError(28, "No space left on device", "/somewhere")
    os.kill(os.getpid(), signal.SIGKILL)
    return []


@task("count", version=1, resumes=True)
def count(*, to: int, work: Work) -> list[dict[str, Any]]:
    """Counts slowly, saving after every number; says where it began."""
    place = work.folder / "resume.txt"
    began = int(place.read_text()) if place.exists() else 0
    for n in range(began, to):
        time.sleep(0.02)
        place.write_text(str(n + 1))
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


@task("slow", version=1, cost=lambda p: float(p["cost"]))
def slow(*, cost: int, work: Work) -> list[dict[str, Any]]:
    return [{"at": time.monotonic()}]
