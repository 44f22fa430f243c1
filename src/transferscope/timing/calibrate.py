"""Calibration: how fast one network trains and evaluates on this machine, timed once and remembered."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferscope import devices
from transferscope.engine.arithmetic import PRECISIONS
from transferscope.engine.environment import worker_environment
from transferscope.engine.machine import this_machine
from transferscope.engine.step import canonical
from transferscope.errors import UserError
from transferscope.memo import Memo
from transferscope.models import anatomy
from transferscope.timing.step_time import COMPILED, Question

VERSION = 4  # raised when timings of old and new code cannot be compared
TIMEOUT = 600


@dataclass(frozen=True)
class StepTime:
    """Seconds of one training step, of evaluating one image, and of the very first of both (compiling, if any)."""

    step: float
    evaluation: float
    start: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """Step times by way; bytes of the weights; floating point operations of one image forward; FLOP/s of a matmul."""

    step_times: Mapping[str, StepTime]
    bytes: int
    flops: float
    matmul: Mapping[str, float]

    def epoch(self, way: str, batch_size: int, trained: float, evaluated: float) -> float:
        """Seconds of one epoch over `trained` images with `evaluated` images of evaluation after it."""
        time = self.step_times[way]
        return time.step * trained / batch_size + time.evaluation * evaluated

    def table(self, batch_size: int, reference: str) -> list[dict[str, Any]]:
        """One row a way: seconds, images a second, how many times faster than `reference`, and the floor of a step.

        The floor counts three forwards (one, and two of about its size backward) at the speed of a matrix product. A
        compiled way pays after `pays_after` steps: what it saves by then is what compiling took; never where None.
        """
        base, rows = self.step_times[reference], []
        for way, time in self.step_times.items():
            rate = self.matmul["bfloat16" if way.startswith("bfloat16") else "float32"]
            rows.append(
                {
                    "way": way,
                    "step_seconds": time.step,
                    "train_images_per_second": batch_size / time.step,
                    "eval_images_per_second": 1 / time.evaluation,
                    "train_ratio": base.step / time.step,
                    "eval_ratio": base.evaluation / time.evaluation,
                    "floor_seconds": 3 * self.flops * batch_size / rate,
                    "start_seconds": time.start,
                    "pays_after": self._pays_after(way),
                }
            )
        return rows

    def _pays_after(self, way: str) -> float | None:
        """Steps after which compiling a way has paid for itself."""
        if not way.endswith(COMPILED) or (eager := self.step_times.get(way.removesuffix(COMPILED))) is None:
            return None
        saved = eager.step - self.step_times[way].step
        return max(0.0, self.step_times[way].start - eager.start) / saved if saved > 0 else None


def calibrated(question: Question, memo: Path) -> Calibration:
    """The remembered timings, or new ones from a process with a worker's environment, which also tells how the network
    is cut into blocks (`anatomy.note`). UserError when it fails."""
    if (known := remembered(question, memo)) is not None:
        return known
    found = _ask(question)
    if (blocks := found.pop("cut")) is not None:
        anatomy.note(question.network, memo, blocks)
    return _calibration(_speeds(memo).first(key(question, VERSION), found))


def remembered(question: Question, memo: Path) -> Calibration | None:
    """The timings of an earlier time, if there are any."""
    found = _speeds(memo).read().get(key(question, VERSION))
    return None if found is None else _calibration(found)


def _speeds(memo: Path) -> Memo:
    return Memo(memo / "speed.json", indent=1)


def _calibration(found: Mapping[str, Any]) -> Calibration:
    step_times = {way: StepTime(**time) for way, time in found["paces"].items()}
    return Calibration(step_times, found["bytes"], found["flops"], found["matmul"])


def remembered_precision(question: Question, memo: Path) -> str | None:
    """What ``precision: auto`` meant in a store of earlier versions, which timed it once and for all; else None."""
    file = memo / "precision.json"
    found = Memo(file).read().get(f"{question.network} {question.image_size} {question.batch_size}")
    if found is not None and found not in PRECISIONS:
        raise UserError(f"{file}: '{found}' is not a precision; delete the file to have it decided by this machine.")
    return found


def key(question: Question, *more: int) -> str:
    """The name of a question about this machine: its processor, the GPUs if they are asked about, its torch."""
    machine = this_machine()
    gpu = machine.gpus if devices.on_gpu(question.device) else ()
    where = [machine.processor, list(gpu), importlib.metadata.version("torch"), *more]
    later = ("how", "vocabulary")  # where they say nothing, older names stay
    asked = {name: value for name, value in asdict(question).items() if name not in later or value}
    return hashlib.blake2b(canonical([asked, where])).hexdigest()[:24]


def process(module: str, question: Question) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a process started as workers are: allocator and OpenMP read settings at birth."""
    paths = os.pathsep.join(p for p in sys.path if p)  # a network of one's own is found where this process finds it
    environment = {**os.environ, **worker_environment(question.threads), "PYTHONPATH": paths}
    return [sys.executable, "-m", module, json.dumps(asdict(question))], environment


def _ask(question: Question) -> dict[str, Any]:
    """Time it in a process of its own."""
    command, environment = process("transferscope.timing.step_time", question)
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"Timing {question.network} took more than {TIMEOUT} s; set recipe.precision yourself."
        ) from None
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it was killed"])[-1].removeprefix("transferscope.errors.")
        if why.startswith("UserError: "):  # a sentence already
            raise UserError(why.removeprefix("UserError: "))
        raise UserError(f"{question.network} could not be timed at {question.image}: {why}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
